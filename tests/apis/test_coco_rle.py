"""Run-length masks: decoded they are the label map, and COCO's API reads them."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from tiny_model import WORDS, make_image, tiny_config

from mmseg_ovs.apis import OpenVocabInferencer, coco_rle
from mmseg_ovs.apis.coco_rle import CocoRleFile


def decoded(entries, shape):
    """The label map behind entries; every pixel has to be in exactly one mask."""
    labels = np.full(shape, -1)
    for entry in entries:
        mask = coco_mask.decode(entry['segmentation']).astype(bool)
        assert mask.shape == shape and (labels[mask] == -1).all()
        labels[mask] = entry['category_id']
    assert (labels >= 0).all()
    return labels


@pytest.mark.parametrize('shape', [(1, 1), (7, 300), (64, 48)])
@pytest.mark.parametrize('count', [1, 3, 400])
def test_decoding_gives_the_labels_back(shape, count):
    labels = np.random.default_rng(0).integers(0, count, shape)
    scores = np.random.default_rng(1).random((count, *shape), dtype=np.float32)
    entries = coco_rle(labels, [f'thing {i}' for i in range(count)], scores)
    assert np.array_equal(decoded(entries, shape), labels)
    for entry in entries:
        mask = labels == entry['category_id']
        rows, columns = np.nonzero(mask)
        x, y, width, height = entry['bbox']
        assert entry['category_name'] == f'thing {entry["category_id"]}'
        assert entry['area'] == mask.sum()
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())
        expected = scores[entry['category_id']][mask].mean()
        assert entry['score'] == pytest.approx(expected, rel=1e-5)


def test_without_scores_there_is_no_score():
    (entry,) = coco_rle(np.zeros((4, 4), int), ['sky'])
    assert 'score' not in entry


def test_the_file_of_a_call(checkpoint, tmp_path):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'')
    images = [make_image(), str(bad), make_image(24, 33, seed=2)]
    results = inferencer(
        images, WORDS, out_dir=tmp_path, return_scores=True, return_coco_rle=True
    )
    file = tmp_path / 'coco_rle.json'
    entries = json.loads(file.read_text())
    assert {entry['image_id'] for entry in entries} == {1, 3}  # as in the list given
    for place in (0, 2):
        own = [entry for entry in entries if entry['image_id'] == place + 1]
        labels = results['predictions'][place]
        assert np.array_equal(decoded(own, labels.shape), labels)
        assert {entry['file_name'] for entry in own} == {f'array {place}'}
        kept = [{k: entry[k] for k in results['coco_rle'][place][0]} for entry in own]
        assert kept == results['coco_rle'][place]
    assert results['coco_rle'][1] is None

    truth = COCO()
    truth.dataset = dict(
        images=[dict(id=1), dict(id=3)],
        categories=[dict(id=i, name=name) for i, name in enumerate(WORDS)],
    )
    truth.createIndex()
    loaded = truth.loadRes(str(file))
    assert len(loaded.getAnnIds()) == len(entries)


def test_an_interrupted_file_is_whole(tmp_path):
    file = CocoRleFile(tmp_path / 'a.json')
    file.add([dict(a=1), dict(b='ü')])
    assert not (tmp_path / 'a.json').exists()
    file.close()
    assert json.loads((tmp_path / 'a.json').read_bytes()) == [dict(a=1), dict(b='ü')]
    CocoRleFile(tmp_path / 'empty.json').close()
    assert json.loads((tmp_path / 'empty.json').read_text()) == []
