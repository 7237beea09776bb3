"""Words of captions: NLTK's tagger without its downloads."""

import json
import shutil

import pytest
from tiny_models import CAPTIONS, save_tagger

from mmseg_ovs.jobs import JobError
from mmseg_ovs.pseudo_masks import (
    PseudoMaskError,
    load_tagger,
    read_captions,
    tag_captions,
)
from mmseg_ovs.pseudo_masks.shards import load_shard
from mmseg_ovs.pseudo_masks.tagging import TAGGER_NAME, tag_words


def test_tags_of_several_sentences_whatever_their_capitals(tagger):
    expected = [
        ('a', 'DT'),
        ('red', 'JJ'),
        ('dog', 'NN'),
        ('has', 'VBZ'),
        ('the', 'DT'),
        ('balls', 'NNS'),
    ]
    tagged = tag_words('A RED dog has The balls. Some cats!', tagger)
    assert tagged[:6] == expected
    assert [word for word, _ in tagged[6:]] == ['.', 'some', 'cats', '!']
    assert tagged[8][1] == 'NNS'


def test_the_same_tagger_is_found_through_nltk_data(tmp_path, monkeypatch, tagger):
    import nltk.data

    folder = tmp_path / 'taggers' / TAGGER_NAME
    monkeypatch.setattr(nltk.data, 'path', [str(tmp_path)])
    with pytest.raises(PseudoMaskError, match='nltk.downloader -d FOLDER'):
        load_tagger()
    save_tagger(folder)
    found = load_tagger()
    text = CAPTIONS[0][1]
    assert tag_words(text, found) == tag_words(text, tagger)


def test_a_tagger_folder_that_is_none(tmp_path):
    with pytest.raises(PseudoMaskError, match=r'weights\.json is missing'):
        load_tagger(tmp_path)
    good = save_tagger(tmp_path / 'good')
    for name, content, words in (
        ('weights', '{', 'cannot be read'),
        ('classes', '[]', 'no tagger'),
        ('tagdict', '[]', 'no tagger'),
    ):
        bad = tmp_path / name
        shutil.copytree(good, bad)
        (bad / f'{TAGGER_NAME}.{name}.json').write_text(content)
        with pytest.raises(PseudoMaskError, match=words):
            load_tagger(bad)


def test_records(tmp_path, images, tagger):
    items = read_captions(*images)
    assert [item.image_id for item in items] == list(range(100, 107))
    records = load_shard(tag_captions(items, tagger, tmp_path))
    assert [record['captions'] for record in records] == CAPTIONS
    assert records[0]['file_name'] == '000.png'
    words = [tuple(pair) for pair in records[0]['words']]
    assert ('ball', 'NN') in words
    assert len(words) == len(set(words))


def test_files_in_folders_keep_their_path(tmp_path, images):
    captions, folder = images
    shutil.copytree(folder, tmp_path / 'all' / 'train')
    content = json.loads(captions.read_text())
    for image in content['images']:
        image['file_name'] = f'train/{image["file_name"]}'
    (tmp_path / 'captions.json').write_text(json.dumps(content))
    items = read_captions(tmp_path / 'captions.json', tmp_path / 'all')
    assert items[0].file_name == 'train/000.png'


def test_bad_captions(tmp_path, images):
    captions, folder = images
    content = json.loads(captions.read_text())
    bad = tmp_path / 'captions.json'
    with pytest.raises(FileNotFoundError, match='does not exist'):
        read_captions(bad, folder)

    foreign = [*content['annotations'], dict(image_id=5, caption='A dog.')]
    bad.write_text(json.dumps(dict(content, annotations=foreign)))
    with pytest.raises(PseudoMaskError, match='for image 5, which is not among'):
        read_captions(bad, folder)

    gone = [*content['images'], dict(id=5, file_name='gone.png')]
    bad.write_text(json.dumps(dict(content, images=gone)))
    with pytest.raises(FileNotFoundError, match=r'gone\.png'):
        read_captions(bad, folder)


def test_other_captions_are_another_setting(tmp_path, images, tagger):
    items = read_captions(*images)
    tag_captions(items, tagger, tmp_path)
    with pytest.raises(JobError, match='differs in: images, captions'):
        tag_captions(items[:-1], tagger, tmp_path)


def test_nltk_is_asked_for_when_it_is_needed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, 'nltk.tag.perceptron', None)
    with pytest.raises(PseudoMaskError, match=r'pip install .mmseg_ovs\[pseudo_masks'):
        load_tagger()
