"""COCO data sets and YOLO's texts: decoded they are the label map."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools.coco import COCO
from tiny_model import WORDS, make_image, tiny_config

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.apis.class_masks import class_masks
from mmseg_ovs.apis.coco import CocoFile, coco_dataset
from mmseg_ovs.apis.result_folder import ResultFolderError
from mmseg_ovs.apis.yolo import yolo_data_file, yolo_text
from mmseg_ovs.structures import Vocabulary


def labels_of(coco, image_id, shape, numbers):
    """The label map behind annotations, which do not overlap; -1: none."""
    labels = np.full(shape, -1)
    for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image_id)):
        mask = coco.annToMask(annotation).astype(bool)
        assert mask.shape == shape and (labels[mask] == -1).all()
        assert annotation['area'] == mask.sum() and annotation['iscrowd'] == 0
        rows, columns = np.nonzero(mask)
        x, y, width, height = annotation['bbox']
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width - 1, y + height - 1) == (columns.max(), rows.max())
        labels[mask] = numbers[annotation['category_id']]
    return labels


def as_coco(data_set, path):
    path.write_text(json.dumps(data_set))
    return COCO(str(path))


@pytest.mark.parametrize('polygons', [False, True])
@pytest.mark.parametrize('background', [None, 0, 1])
@pytest.mark.parametrize('shape', [(1, 1), (7, 90), (64, 48)])
def test_pycocotools_reads_the_labels_back(tmp_path, shape, background, polygons):
    names = ['sky', 'tree', 'a road']
    synonyms = [() if i == background else (n,) for i, n in enumerate(names)]
    score = None if background is None else 0.5
    vocabulary = Vocabulary(tuple(names), tuple(synonyms), background, score)
    labels = np.random.default_rng(0).integers(0, 3, shape)
    scores = np.random.default_rng(1).random((3, *shape), dtype=np.float32)
    masks = class_masks(labels, vocabulary, scores)
    data_set = coco_dataset(vocabulary, 'a.jpg', shape, masks, polygons)
    coco = as_coco(data_set, tmp_path / 'coco.json')
    kept = [name for i, name in enumerate(names) if i != background]
    categories = coco.loadCats(coco.getCatIds())
    assert {c['id']: c['name'] for c in categories} == dict(enumerate(kept, 1))
    numbers = {number: names.index(name) for number, name in enumerate(kept, 1)}
    read = labels_of(coco, 1, shape, numbers)
    assert np.array_equal(read, np.where(labels == background, -1, labels))
    for annotation in data_set['annotations']:
        label = numbers[annotation['category_id']]
        expected = scores[label][labels == label].mean()
        assert annotation['score'] == pytest.approx(expected, rel=1e-5)


def test_without_scores_there_is_no_score():
    vocabulary = Vocabulary.build(['sky'])
    (mask,) = class_masks(np.zeros((4, 4), int), vocabulary)
    data_set = coco_dataset(vocabulary, 'a.jpg', (4, 4), [mask])
    assert 'score' not in data_set['annotations'][0]


def test_the_files_of_a_call(checkpoint, tmp_path):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    bad = tmp_path / 'bad.png'
    bad.write_bytes(b'')
    images = [make_image(), str(bad), make_image(24, 33, seed=2)]
    formats = ('coco', 'coco-polygons', 'yolo')
    results = inferencer(images, WORDS, out_dir=tmp_path, formats=formats)
    for name in ('coco.json', 'coco_polygons.json'):
        coco = COCO(str(tmp_path / name))
        entries = coco.loadImgs([1, 2])
        assert [e['file_name'] for e in entries] == ['array_0.png', 'array_2.png']
        assert coco.getAnnIds() == [*range(1, len(coco.getAnnIds()) + 1)]
        for image, place in zip(entries, (0, 2), strict=True):
            labels = results[place].labels
            assert (image['height'], image['width']) == labels.shape
            numbers = {number: number - 1 for number in coco.getCatIds()}
            read = labels_of(coco, image['id'], labels.shape, numbers)
            assert np.array_equal(read, labels)
    own = results[0].to_coco()
    assert own['images'][0]['file_name'] == 'array 0'
    written = json.loads((tmp_path / 'coco.json').read_text())
    assert own['annotations'] == written['annotations'][: len(own['annotations'])]
    data = yaml.safe_load((tmp_path / 'yolo' / 'data.yaml').read_text())
    assert data['names'] == dict(enumerate(WORDS))
    labels = sorted(p.name for p in (tmp_path / 'yolo' / 'labels').iterdir())
    assert labels == ['array_0.txt', 'array_2.txt']
    with pytest.raises(ResultFolderError, match="format 'xml': there are coco, "):
        inferencer(images, WORDS, out_dir=tmp_path, formats=['xml'])
    with pytest.raises(ValueError, match='give out_dir'):
        inferencer(images, WORDS, formats=formats)


def test_a_text_of_another_name_than_its_image(checkpoint, tmp_path, warned):
    inferencer = OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')
    for name in ('b.png', 'a b.png', 'c d.png'):
        Image.fromarray(make_image()).save(tmp_path / name)
    images = [str(tmp_path / 'b.png')]
    inferencer(images, WORDS, out_dir=tmp_path / 'out', formats=['yolo'])
    assert not warned
    images += [str(tmp_path / 'a b.png'), str(tmp_path / 'c d.png')]
    inferencer(images, WORDS, out_dir=tmp_path / 'out2', formats=['yolo'])
    (message,) = warned
    assert 'is that of a b.png' in message and 'Rename' in message


def test_yolo_texts_fill_to_the_labels():
    import cv2

    vocabulary = Vocabulary.build(
        dict(source=['sky: "blue"', 'tree'], background=dict(type='threshold', value=0))
    )
    labels = np.kron(np.random.default_rng(3).integers(0, 3, (9, 7)), np.ones((8, 8)))
    labels = labels.astype(int)
    filled = np.zeros((labels.shape[0], labels.shape[1]), int)
    for line in yolo_text(class_masks(labels, vocabulary)).splitlines():
        number, *numbers = line.split()
        ring = np.array(numbers, float).reshape(-1, 2) * labels.shape[::-1]
        assert ring.min() >= 0 and (ring <= labels.shape[::-1]).all()
        # OpenCV counts from the middle of pixels and fills up to the borders.
        enlarged = np.zeros(4 * np.array(labels.shape), np.uint8)
        cv2.fillPoly(enlarged, [(4 * ring).round().astype(np.int32)], 1)
        filled[enlarged[2::4, 2::4] > 0] = int(number) + 1
    assert (filled == labels).all()
    names = yaml.safe_load(yolo_data_file(vocabulary))['names']
    assert names == {0: 'sky: "blue"', 1: 'tree'}


def test_an_interrupted_file_is_whole(tmp_path):
    vocabulary = Vocabulary.build(['ü'])
    file = CocoFile(tmp_path / 'a.json', vocabulary)
    file.add('a.jpg', (4, 4), class_masks(np.zeros((4, 4), int), vocabulary))
    assert not (tmp_path / 'a.json').exists()
    file.close()
    assert len(json.loads((tmp_path / 'a.json').read_bytes())['annotations']) == 1
    CocoFile(tmp_path / 'empty.json', vocabulary).close()
    empty = json.loads((tmp_path / 'empty.json').read_text())
    assert empty['images'] == empty['annotations'] == []
