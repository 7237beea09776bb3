"""Which nouns are kept."""

import pytest

from mmseg_ovs.jobs import JobError
from mmseg_ovs.pseudo_masks import Part, PseudoMaskError, filter_nouns
from mmseg_ovs.pseudo_masks.filtering import read_nouns
from mmseg_ovs.pseudo_masks.lemmas import singular
from mmseg_ovs.pseudo_masks.shards import Item, describe_shard, write_shard


@pytest.mark.parametrize(
    'plural, expected',
    {
        'dogs': 'dog',
        'buses': 'bus',
        'boxes': 'box',
        'benches': 'bench',
        'dishes': 'dish',
        'dresses': 'dress',
        'horses': 'horse',
        'vases': 'vase',
        'babies': 'baby',
        'pies': 'pie',
        'ties': 'tie',
        'men': 'man',
        'women': 'woman',
        'snowmen': 'snowman',
        'people': 'person',
        'children': 'child',
        'knives': 'knife',
        'gloves': 'glove',
        'shoes': 'shoe',
        'potatoes': 'potato',
        't-shirts': 't-shirt',
        'glasses': 'glasses',
        'scissors': 'scissors',
        'sheep': 'sheep',
        'grass': 'grass',
        'tennis': 'tennis',
        'bus': 'bus',
        'us': 'us',
    }.items(),
)
def test_singulars_without_evidence(plural, expected):
    assert singular(plural, {}) == expected


@pytest.mark.parametrize(
    'plural, seen, expected',
    [
        ('magpies', 'magpie', 'magpie'),
        ('elves', 'elf', 'elf'),
        ('penknives', 'penknife', 'penknife'),
        ('crosses', 'cross', 'cross'),
        ('viruses', 'virus', 'virus'),
        ('headaches', 'headache', 'headache'),
        ('floes', 'floe', 'floe'),
    ],
)
def test_singulars_that_the_captions_use(plural, seen, expected):
    assert singular(plural, {seen: 1}) == expected


def tagged(folder, *images):
    """Tag stage of images whose words are given as 'word/TAG word/TAG'."""
    items = [
        Item(n, f'{n}.jpg', dict(words=sorted(w.split('/') for w in words.split())))
        for n, words in enumerate(images)
    ]
    facts = describe_shard('tags', Part(), len(items), dict(captions='x'))
    write_shard(folder / 'tags', facts, items, lambda i: dict(i.payload, captions=[]))


def nouns_of(folder, **kwargs):
    filter_nouns(folder, **kwargs)
    content = read_nouns(folder)
    names = {noun['id']: noun['name'] for noun in content['nouns']}
    return content, [[names[k] for k in image['nouns']] for image in content['images']]


def test_filter(tmp_path):
    tagged(
        tmp_path,
        'dog/NN dogs/NNS photo/NN red/NN mp3/NN x/NN',
        'dogs/NNS red/JJ tree/NN pizzas/NN pizza/NN',
        'cat/NN red/JJ trees/NNS pizza/NN -/NN t-shirt/NN ski-/NN',
        'the/DT',
    )
    content, nouns = nouns_of(tmp_path, min_images=2)
    # Plurals are one with their singular, within an image and over all.
    assert nouns == [['dog'], ['dog', 'pizza', 'tree'], ['pizza', 'tree'], []]
    assert content['nouns'] == [
        dict(id=1, name='dog', images=2),
        dict(id=2, name='pizza', images=2),
        dict(id=3, name='tree', images=2),
    ]
    assert content['dropped'] == dict(
        incomplete={'-': 1, 'mp3': 1, 'ski-': 1, 'x': 1},
        stop=dict(photo=1),
        other=dict(red=1),
        rare={'cat': 1, 't-shirt': 1},
    )
    assert content['setting']['captions'] == 'x'


def test_settings(tmp_path):
    tagged(tmp_path, 'dog/NN tree/NN photo/NN', 'dog/NN')
    _, nouns = nouns_of(tmp_path, min_images=1, stop_words=['tree'])
    assert nouns == [['dog', 'photo'], ['dog']]
    with pytest.raises(PseudoMaskError, match='none of 3 nouns is left, 2 occur'):
        filter_nouns(tmp_path, min_images=3)
    assert nouns_of(tmp_path, min_images=2)[1] == [['dog'], ['dog']]


def test_captions_without_any_noun(tmp_path):
    tagged(tmp_path, 'the/DT', 'a/DT')
    with pytest.raises(PseudoMaskError, match='none of 0 nouns'):
        filter_nouns(tmp_path)


def test_needs_the_stage_before(tmp_path):
    with pytest.raises(PseudoMaskError, match='no shards in .*tags'):
        filter_nouns(tmp_path)
    with pytest.raises(PseudoMaskError, match='run the filter stage'):
        read_nouns(tmp_path)
    (tmp_path / 'nouns.json').write_text('{')
    with pytest.raises(JobError, match='damaged'):
        read_nouns(tmp_path)
    (tmp_path / 'nouns.json').write_text('{}')
    with pytest.raises(JobError, match='does not hold format'):
        read_nouns(tmp_path)
    (tmp_path / 'nouns.json').write_text('{"format": "of another program"}')
    with pytest.raises(PseudoMaskError, match='filter again'):
        read_nouns(tmp_path)
