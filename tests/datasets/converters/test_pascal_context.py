"""PASCAL Context from generated files in its layout, read by the data sets."""

import json

import numpy as np
import pytest
from mmengine import Config
from mmseg.registry import DATASETS
from PIL import Image
from scipy.io import savemat

from mmseg_ovs.datasets.converters import (
    ConversionError,
    pascal_context,
    plan_context_60,
    plan_context_459,
    run,
)
from mmseg_ovs.datasets.converters.pascal_context import RAW_IDS_60
from mmseg_ovs.jobs import JobError
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.utils.rle import encode_mask
from tests.tool_loader import ROOT, load_tool

CONFIGS = ROOT / 'configs/_base_/datasets'
SIZE = (6, 8)  # height, width
NAMES = {'2008_000002': 'val', '2008_000003': 'val', '2008_000007': 'train'}


def mask_of(rows):
    mask = np.zeros(SIZE, dtype=bool)
    mask[rows] = True
    return mask


def annotation(image_id, raw, rows):
    counts = encode_mask(mask_of(rows))
    segmentation = dict(size=list(SIZE), counts=counts)
    return dict(image_id=image_id, category_id=raw, segmentation=segmentation)


@pytest.fixture
def voc(tmp_path):
    """VOC2010 with three images."""
    root = tmp_path / 'VOC2010'
    for folder in ('JPEGImages', 'trainval'):
        (root / folder).mkdir(parents=True)
    images, masks = [], []
    for name, split in NAMES.items():
        number = int(name.replace('_', ''))
        Image.new('RGB', SIZE[::-1]).save(root / 'JPEGImages' / f'{name}.jpg')
        raw = np.full(SIZE, 459, dtype=np.uint16)
        raw[0], raw[1], raw[2] = 1, 256, 257
        savemat(root / 'trainval' / f'{name}.mat', dict(LabelMap=raw))
        image = dict(image_id=number, file_name=f'{name}.jpg', phase=split)
        images.append(dict(image, height=SIZE[0], width=SIZE[1]))
        masks.append(annotation(number, 2, slice(0, 3)))  # aeroplane
        masks.append(annotation(number, 458, slice(2, 4)))  # wood, painted later
        masks.append(annotation(number, 0, slice(5, 6)))
    images.append(dict(images[0], image_id=9, file_name='x.jpg', phase='test'))
    content = dict(images=images, annos_segmentation=masks)
    (root / 'trainval_merged.json').write_text(json.dumps(content))
    return root


def build(name, root):
    cfg = Config.fromfile(
        ROOT / f'configs/_base_/datasets/{name}.py'
    ).test_dataloader.dataset
    return DATASETS.build(dict(cfg, data_root=str(root)))


def label_rows(dataset, index=0):
    """The label of every row of an image."""
    labels = dataset[index]['data_samples'].gt_sem_seg.data[0]
    assert (labels == labels[:, :1]).all()
    return labels[:, 0].tolist()


def test_60_and_59_classes(voc):
    report = run(plan_context_60(voc, 'val'))
    assert (report.converted, report.missing, report.failed) == (2, {}, {})
    with_background = build('context60', voc)
    assert len(with_background) == 2
    assert label_rows(with_background) == [1, 1, 59, 59, 0, 0]
    assert with_background.metainfo['classes'][59] == 'wood'
    assert label_rows(build('context59', voc)) == [0, 0, 58, 58, 255, 255]
    assert run(plan_context_60(voc, 'train')).converted == 1
    lists = voc / 'ImageSets' / 'SegmentationContext'
    assert (lists / 'train.txt').read_text() == '2008_000007\n'


def test_raw_ids_are_those_of_the_names():
    """The 59 are among the 459 by the same names, in mmseg's order."""
    all_names = Vocabulary.build('pascal_context_459').classes
    names = Vocabulary.build('pascal_context_60').classes
    assert [all_names[raw - 1] for raw in RAW_IDS_60[1:]] == list(names[1:])


def test_459_classes(voc):
    report = run(plan_context_459(voc, 'val'))
    assert (report.converted, report.missing, report.failed) == (2, {}, {})
    dataset = build('context459', voc)
    assert len(dataset) == 2
    assert label_rows(dataset) == [0, 255, 256, 458, 458, 458]
    assert len(dataset.metainfo['classes']) == len(dataset.metainfo['palette']) == 459


def test_an_unlabelled_pixel_of_459_is_ignored(voc):
    raw = np.ones(SIZE, dtype=np.uint16)
    raw[3] = 0
    savemat(voc / 'trainval' / '2008_000002.mat', dict(LabelMap=raw))
    run(plan_context_459(voc, 'val'))
    assert label_rows(build('context459', voc)) == [0, 0, 0, 65535, 0, 0]


def test_lists_in_place_of_the_json(voc):
    run(plan_context_60(voc, 'val'))
    (voc / 'trainval_merged.json').unlink()
    assert run(plan_context_459(voc, 'val')).converted == 2
    with pytest.raises(ConversionError, match=r'neither .*json nor .*train\.txt'):
        plan_context_459(voc, 'train')
    with pytest.raises(ConversionError, match='trainval_merged.json is missing'):
        plan_context_60(voc, 'val')


def test_partial_downloads(voc):
    (voc / 'JPEGImages' / '2008_000002.jpg').unlink()
    (voc / 'trainval' / '2008_000003.mat').unlink()
    with pytest.raises(ConversionError, match='nothing to convert'):
        run(plan_context_459(voc, 'val'))
    assert plan_context_459(voc, 'val').missing == {
        '2008_000002': 'no 2008_000002.jpg in JPEGImages',
        '2008_000003': 'no 2008_000003.mat in trainval',
    }
    report = run(plan_context_60(voc, 'val'))
    assert list(report.missing) == ['2008_000002'] and report.converted == 1
    assert len(build('context60', voc)) == 1  # the list names what is there


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(LabelMap=np.full(SIZE, 460, np.uint16)), 'values 460 to 460, not 1 to'),
        (dict(Other=np.ones(SIZE)), 'no matrix LabelMap'),
        (dict(LabelMap=np.ones((2, 2), np.uint16)), '2 x 2 pixels, the image 8 x 6'),
    ],
)
def test_wrong_mats_are_reported(voc, content, message):
    savemat(voc / 'trainval' / '2008_000002.mat', content)
    report = run(plan_context_459(voc, 'val'))
    assert message in report.failed['2008_000002'] and report.converted == 1


def edit_json(root, change):
    path = root / 'trainval_merged.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_wrong_masks_are_reported(voc):
    def change(content):
        content['annos_segmentation'][0]['category_id'] = 3
        content['annos_segmentation'][3]['segmentation']['counts'] += '1'

    edit_json(voc, change)
    report = run(plan_context_60(voc, 'train'))
    assert report.converted == 1
    failed = run(plan_context_60(voc, 'val')).failed
    assert 'category 3 is none of the 59' in failed['2008_000002']
    assert 'ValueError' in failed['2008_000003']


def test_another_json_is_refused(voc):
    run(plan_context_60(voc, 'val'))
    edit_json(voc, lambda content: content['annos_segmentation'].pop())
    with pytest.raises(JobError, match='trainval_merged.json'):
        run(plan_context_60(voc, 'val'))


def test_a_foreign_json_is_refused(voc):
    for text in ('[]', '{"images": []}', 'no json'):
        (voc / 'trainval_merged.json').write_text(text)
        with pytest.raises(ConversionError, match='damaged, or not the json'):
            plan_context_60(voc, 'val')


def test_the_tools(voc, monkeypatch, capsys):
    monkeypatch.setattr(pascal_context, 'SPLITS', dict(train=1, val=2))
    context459, context60 = (
        load_tool(f'tools/dataset_converters/{name}.py').main
        for name in ('context459', 'context60')
    )
    assert context459([str(voc), '--splits', 'val']) == 0
    assert 'context459_val: 2 of 2 images' in capsys.readouterr().out
    (voc / 'trainval_merged.json').unlink()
    assert context60([str(voc), '--splits', 'val']) == 2
    assert 'trainval_merged.json is missing' in capsys.readouterr().err
