"""A-847 from generated files in the layout of ADE20K_2021_17_01."""

import os
import pickle

import numpy as np
import pytest
from mmengine import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_ovs.datasets.converters import ConversionError, plan_ade20k_847, run
from mmseg_ovs.datasets.converters.ade20k_847 import class_numbers
from mmseg_ovs.datasets.converters.ade20k_847_ids import RAW_IDS
from tests.tool_loader import ROOT, load_tool

CONFIGS = ROOT / 'configs/_base_/datasets'
FOLDER = 'ADE20K_2021_17_01/images/ADE/{}/urban/street'


def encode(numbers: np.ndarray, instances: int = 3) -> np.ndarray:
    """Object numbers as colours: red 10 for each 256, green the rest, blue anything."""
    blue = np.arange(numbers.size).reshape(numbers.shape) % instances
    return np.stack([numbers // 256 * 10, numbers % 256, blue], -1).astype(np.uint8)


def add(root, split, number, numbers):
    """An image and its annotation; returns its row of the index."""
    part = {'train': 'training', 'val': 'validation'}[split]
    folder = root.parent / FOLDER.format(part)
    folder.mkdir(parents=True, exist_ok=True)
    name = f'ADE_{split}_{number:08d}'
    random = np.random.default_rng(number)
    image = random.integers(0, 256, (*numbers.shape, 3), dtype=np.uint8)
    Image.fromarray(image).save(folder / f'{name}.jpg')
    Image.fromarray(encode(numbers)).save(folder / f'{name}_seg.png')
    (folder / f'{name}_parts_1.png').write_bytes(b'not read')
    return FOLDER.format(part), f'{name}.jpg'


def write_index(root, rows):
    folders, names = zip(*rows, strict=True)
    index = dict(
        folder=list(folders),
        filename=list(names),
        objectPresence=np.zeros((3, len(rows))),
        objectnames=np.array(['axe', 'car'], dtype=object),
    )
    (root / 'index_ade20k.pkl').write_bytes(pickle.dumps(index))


@pytest.fixture
def ade(tmp_path):
    """Two validation images and a training image, with their index."""
    root = tmp_path / 'ADE20K_2021_17_01'
    # Train ids 0, 300, 846, an object outside the 847, and unlabelled.
    numbers = np.array([RAW_IDS[0], RAW_IDS[300], RAW_IDS[846], 1, 0])
    numbers = np.tile(numbers.repeat(8), (30, 1))
    rows = [
        add(root, 'val', 1, numbers),
        add(root, 'val', 2, numbers[:, ::-1]),
        add(root, 'train', 1, numbers),
    ]
    write_index(root, rows)
    return root


def test_ids_above_255_arrive_in_the_model_s_labels(ade, tmp_path):
    out = tmp_path / 'ADE20K_847'
    report = run(plan_ade20k_847(ade, out, 'val'))
    assert (report.converted, report.missing, report.failed) == (2, {}, {})
    expected = np.tile(np.array([0, 300, 846, 65535, 65535]).repeat(8), (30, 1))
    file = out / 'annotations/validation/ADE_val_00000001.png'
    np.testing.assert_array_equal(np.array(Image.open(file)), expected)

    cfg = Config.fromfile(
        ROOT / 'configs/_base_/datasets/ade20k_847.py'
    ).test_dataloader.dataset
    cfg.data_root = str(out)
    dataset = DATASETS.build(cfg)
    assert len(dataset) == 2
    sample = dataset[0]['data_samples']
    assert sample.img_path.endswith('images/validation/ADE_val_00000001.jpg')
    np.testing.assert_array_equal(sample.gt_sem_seg.data[0].numpy(), expected)
    assert dataset.metainfo['classes'][846].startswith('adding machine, ')


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [
        ((600, 1000), (512, 853)),
        ((1000, 600), (853, 512)),
        ((700, 700), (512, 512)),
        ((513, 513), (512, 512)),
        ((512, 900), (512, 900)),
        ((300, 2000), (300, 2000)),
    ],
)
def test_samples_with_both_sides_above_512_shrink(tmp_path, shape, expected):
    root = tmp_path / 'ADE20K_2021_17_01'
    numbers = np.full(shape, RAW_IDS[400])
    numbers[:, shape[1] // 2 :] = RAW_IDS[2]
    add(root, 'val', 1, numbers)
    run(plan_ade20k_847(root, tmp_path / 'out', 'val'))
    labels = np.array(
        Image.open(tmp_path / 'out/annotations/validation/ADE_val_00000001.png')
    )
    assert labels.shape == expected
    half = labels.shape[1] // 2
    assert set(np.unique(labels)) == {2, 400}  # nothing between two classes
    assert (labels[:, : half - 1] == 400).all() and (labels[:, half + 1 :] == 2).all()
    with Image.open(tmp_path / 'out/images/validation/ADE_val_00000001.jpg') as image:
        assert image.size == expected[::-1]


def test_numbers_of_the_colours():
    numbers = np.array([[0, 1, 255, 256, 3156, 6655]])
    np.testing.assert_array_equal(class_numbers(encode(numbers)), numbers)
    assert len(set(RAW_IDS)) == len(RAW_IDS) == 847
    assert 0 not in RAW_IDS


def test_a_partial_download_is_converted_and_what_lacks_is_named(ade, tmp_path):
    folder = tmp_path / FOLDER.format('validation')
    (folder / 'ADE_val_00000001_seg.png').unlink()
    report = run(plan_ade20k_847(ade, tmp_path / 'out', 'val'))
    assert report.converted == 1 and not report.complete
    assert report.missing == {
        'ADE_val_00000001': 'no ADE_val_00000001_seg.png in '
        'images/ADE/validation/urban/street'
    }
    assert '1998 more belong to the published split' in str(report)
    # Without the index as well, from the image that is there alone.
    (ade / 'index_ade20k.pkl').unlink()
    again = run(plan_ade20k_847(ade, tmp_path / 'out', 'val'))
    assert (again.made, again.missing) == (0, report.missing)


def test_cut_and_unequal_files_are_reported(ade, tmp_path):
    folder = tmp_path / FOLDER.format('validation')
    seg = folder / 'ADE_val_00000001_seg.png'
    seg.write_bytes(seg.read_bytes()[:-60])
    Image.new('RGB', (7, 7)).save(folder / 'ADE_val_00000002.jpg')
    report = run(plan_ade20k_847(ade, tmp_path / 'out', 'val')).failed
    assert 'OSError' in report['ADE_val_00000001']
    assert '7 x 7 pixels' in report['ADE_val_00000002']
    assert not list((tmp_path / 'out').rglob('*.png'))


class Evil:
    def __reduce__(self):
        return os.system, ('touch evil',)


def test_an_index_that_runs_code_is_refused(ade, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (ade / 'index_ade20k.pkl').write_bytes(pickle.dumps(dict(filename=Evil())))
    with pytest.raises(ConversionError, match=r'damaged: Unpickl.*it names .*system'):
        plan_ade20k_847(ade, tmp_path / 'out', 'val')
    assert not (tmp_path / 'evil').exists()


def test_a_damaged_index_is_refused(ade, tmp_path):
    for content in (b'', pickle.dumps(dict(folder=['x'])), pickle.dumps([1])):
        (ade / 'index_ade20k.pkl').write_bytes(content)
        with pytest.raises(ConversionError, match='Get it again; or delete it'):
            plan_ade20k_847(ade, tmp_path / 'out', 'val')


def test_wrong_folder(tmp_path):
    with pytest.raises(ConversionError, match='give the folder ADE20K_2021_17_01'):
        plan_ade20k_847(tmp_path, tmp_path / 'out', 'val')


def test_the_tool_writes_beside_its_source(ade, tmp_path, capsys):
    main = load_tool('tools/dataset_converters/ade20k_847.py').main
    assert main([str(ade), '--splits', 'val']) == 1
    assert (tmp_path / 'ADE20K_847/annotations/validation').is_dir()
    other = tmp_path / 'other'
    assert main([str(ade), '--splits', 'val', '--out', str(other)]) == 1
    assert (other / 'ade20k_847_val.sha256').is_file()
    assert 'ade20k_847_val: 2 of 2000 images' in capsys.readouterr().out
