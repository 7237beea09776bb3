"""COCO-Object from generated pixel maps and instances in COCO's layout."""

import json
import shutil

import numpy as np
import pytest
from mmengine import Config
from mmseg.datasets import COCOStuffDataset
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ovs.datasets.converters import (
    ConversionError,
    coco_object,
    plan_coco_object,
    run,
)
from mmseg_ovs.datasets.converters.coco_object import _OF_CATEGORY
from mmseg_ovs.jobs import JobError
from tests.instance_file import encode
from tests.tool_loader import ROOT, load_tool

CONFIG = ROOT / 'configs/_base_/datasets/coco_object.py'
SIZE = (10, 16)


@pytest.fixture
def coco(tmp_path):
    for folder in ('images/val2017', 'annotations/val2017'):
        (tmp_path / folder).mkdir(parents=True)
    for number in (1, 2):
        name = tmp_path / 'images' / 'val2017' / f'{number:012d}.jpg'
        Image.new('RGB', SIZE[::-1]).save(name)
    return tmp_path


def add_map(root, number, rows):
    labels = np.zeros(SIZE, dtype=np.uint8)
    labels[: len(rows)] = np.array(rows)[:, None]
    path = root / 'annotations' / 'val2017' / f'{number:012d}.png'
    Image.fromarray(labels).save(path)
    return path


def rectangle(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def crowd(left, right):
    """Uncompressed run lengths of full columns."""
    height, width = SIZE
    runs = [left * height, (right - left) * height, (width - right) * height]
    return dict(size=list(SIZE), counts=runs)


def write_instances(root, annotations, categories=tuple(_OF_CATEGORY)):
    defaults = dict(image_id=1, iscrowd=0)
    content = dict(
        images=[
            dict(id=n, file_name=f'{n:012d}.jpg', height=SIZE[0], width=SIZE[1])
            for n in (1, 2)
        ],
        categories=[dict(id=category) for category in categories],
        annotations=[
            dict(defaults, id=i, **fields) for i, fields in enumerate(annotations)
        ],
    )
    path = root / 'annotations' / 'instances_val2017.json'
    path.write_text(json.dumps(content))


def labels_of(root, number):
    path = root / 'annotations/val2017' / f'{number:012d}_instanceTrainIds.png'
    return np.array(Image.open(path))


def test_pixel_maps(coco):
    # person, hair drier, toothbrush; first and last stuff; unlabelled
    add_map(coco, 1, [0, 88, 89, 91, 181, 255])
    add_map(coco, 2, [12])
    # What mmseg's converter of COCO-Stuff leaves beside them is no raw map.
    (coco / 'annotations/val2017/000000000001_labelTrainIds.png').write_bytes(b'')
    report = run(plan_coco_object(coco, 'val'))
    assert (report.converted, report.missing, report.failed) == (2, {}, {})
    assert labels_of(coco, 1)[:6, 0].tolist() == [1, 79, 80, 0, 0, 0]
    assert labels_of(coco, 2)[0, 0] == 12

    cfg = Config.fromfile(CONFIG).test_dataloader.dataset
    dataset = DATASETS.build(dict(cfg, data_root=str(coco)))
    names = dataset.metainfo['classes']
    assert len(dataset) == 2 and names[79] == 'hair drier' and names[12] == 'stop sign'
    label = dataset[0]['data_samples'].gt_sem_seg.data[0]
    assert label[:6, 0].tolist() == [1, 79, 80, 0, 0, 0]


def test_categories_are_in_the_order_of_the_class_names():
    assert list(_OF_CATEGORY.values()) == list(range(1, 81))
    names = COCOStuffDataset.METAINFO['classes']
    for category, name in ((1, 'person'), (13, 'stop sign'), (90, 'toothbrush')):
        assert names[_OF_CATEGORY[category] - 1] == name


@pytest.mark.parametrize('value', [11, 90, 182, 254])
def test_numbers_never_used_are_reported(coco, value):
    add_map(coco, 1, [value])
    add_map(coco, 2, [0])
    report = run(plan_coco_object(coco, 'val'))
    assert f'the value {value}, which is none' in report.failed['000000000001']
    assert report.converted == 1


def test_small_instances_lie_on_large_ones_and_on_crowds(coco):
    write_instances(
        coco,
        [
            dict(category_id=18, area=4, segmentation=[rectangle(0, 0, 2, 2)]),
            dict(category_id=1, area=80, segmentation=[rectangle(0, 0, 8, 10)]),
            dict(category_id=3, area=30, iscrowd=1, segmentation=crowd(6, 12)),
            # An object in two parts, and run lengths as a string.
            dict(
                category_id=90,
                area=6,
                segmentation=[rectangle(13, 0, 14, 3), rectangle(15, 0, 16, 3)],
            ),
            dict(category_id=2, area=1, segmentation=compressed(7, 5)),
        ],
    )
    report = run(plan_coco_object(coco, 'val', 'instances'))
    assert report.converted == 2
    labels = labels_of(coco, 1)
    assert labels[0, :6].tolist() == [17, 17, 1, 1, 1, 1]
    assert labels[0, 6:13].tolist() == [1, 1, 3, 3, 3, 3, 0]
    assert labels[0, 13:].tolist() == [80, 0, 80]
    assert labels[5, 7] == 2 and labels[5, 6] == 1
    assert not labels_of(coco, 2).any()  # an image without instances


def compressed(column, row):
    mask = np.zeros(SIZE)
    mask[row, column] = 1
    return dict(size=list(SIZE), counts=encode(mask))


def test_partial_downloads(coco):
    add_map(coco, 1, [0])
    add_map(coco, 3, [0])
    report = run(plan_coco_object(coco, 'val'))
    assert report.converted == 1
    assert report.missing == {
        '000000000002': 'no 000000000002.png in annotations/val2017',
        '000000000003': 'no 000000000003.jpg in images/val2017',
    }
    assert '4997 more belong to the published split' in str(report)


def test_the_two_sources_are_not_mixed(coco):
    add_map(coco, 1, [0])
    run(plan_coco_object(coco, 'val'))
    write_instances(coco, [])
    with pytest.raises(JobError, match='differs in: .*source'):
        run(plan_coco_object(coco, 'val', 'instances'))


def test_unusable_sources(coco):
    with pytest.raises(ConversionError, match='no folder .*train2017'):
        plan_coco_object(coco, 'train')
    with pytest.raises(ConversionError, match='instances_val2017.json is missing'):
        plan_coco_object(coco, 'val', 'instances')
    write_instances(coco, [], categories=(1, 2))
    with pytest.raises(ConversionError, match="categories are not COCO's 80"):
        plan_coco_object(coco, 'val', 'instances')
    write_instances(coco, [dict(category_id=1)])
    with pytest.raises(ConversionError, match=r"damaged.*KeyError: 'area'"):
        plan_coco_object(coco, 'val', 'instances')


def test_the_tool_tells_by_its_exit_code_what_lacks(coco, monkeypatch, capsys):
    main = load_tool('tools/dataset_converters/coco_object.py').main
    add_map(coco, 1, [0])
    second = add_map(coco, 2, [0])
    for folder in ('images', 'annotations'):
        shutil.copytree(coco / folder / 'val2017', coco / folder / 'train2017')
    second.unlink()
    assert main([str(coco), '--splits', 'val']) == 1
    out = capsys.readouterr().out
    assert 'coco_object_val: 1 of 5000 images' in out
    assert '4998 more belong' in out
    add_map(coco, 2, [0])
    monkeypatch.setattr(coco_object, 'SPLITS', dict(train=2, val=2))
    assert main([str(coco)]) == 0
    assert 'coco_object_train: 2 of 2 images (2 made now)' in capsys.readouterr().out
    # One split cannot be planned; the other is done all the same.
    shutil.rmtree(coco / 'images' / 'train2017')
    assert main([str(coco)]) == 2
    captured = capsys.readouterr()
    assert 'train: there is no folder' in captured.err
    assert 'coco_object_val: 2 of 2 images (0 made now)' in captured.out
    assert main([str(coco), '--source', 'instances']) == 2
    assert 'instances_val2017.json is missing' in capsys.readouterr().err
