"""What makes two runs the same, and data that is not there."""

import pytest
from mmengine.config import Config

from mmseg_ovs.benchmark.identity import DataState, data_state, run_key
from mmseg_ovs.composition import MissingDataError
from mmseg_ovs.datasets.shapes import write_shapes
from tests.tool_loader import ROOT

CONFIG = ROOT / 'configs' / '_base_' / 'datasets' / 'shapes.py'


@pytest.fixture
def shapes(tmp_path):
    """A tiny set and its config."""
    write_shapes(tmp_path / 'shapes', seed=1, sizes=(1, 1, 3), workers=1)
    cfg = Config.fromfile(CONFIG)
    cfg.test_dataloader.dataset.data_root = str(tmp_path / 'shapes')
    cfg.weights = str(tmp_path / 'weights.pth')
    (tmp_path / 'weights.pth').write_bytes(b'one')
    return cfg


def test_data_is_known_by_its_content_wherever_it_lies(shapes, tmp_path):
    first = data_state(shapes)
    assert first.images == 3
    (tmp_path / 'shapes').rename(tmp_path / 'moved')
    shapes.test_dataloader.dataset.data_root = str(tmp_path / 'moved')
    assert data_state(shapes) == first
    image = next((tmp_path / 'moved' / 'annotations' / 'test').glob('*.png'))
    image.write_bytes(image.read_bytes() + b'\0')
    assert data_state(shapes).digest != first.digest


def test_missing_data_is_named(shapes, tmp_path):
    label = next((tmp_path / 'shapes' / 'annotations' / 'test').glob('*.png'))
    label.unlink()
    with pytest.raises(MissingDataError, match=f'1 of 6 files.*{label.name}'):
        data_state(shapes)
    shapes.test_dataloader.dataset.data_prefix.seg_map_path = 'no/such'
    with pytest.raises(MissingDataError, match='no/such is not there'):
        data_state(shapes)
    shapes.test_dataloader.dataset.data_root = 'nowhere'
    with pytest.raises(MissingDataError, match='nowhere is not there'):
        data_state(shapes)


def test_the_key_follows_config_weights_and_data(shapes, tmp_path):
    state = DataState(3, 'a')
    key = run_key(shapes, state)
    assert run_key(shapes, state) == key
    assert run_key(shapes, DataState(3, 'b')) != key

    shapes.test_dataloader.num_workers = 7  # only speed
    shapes.work_dir = 'elsewhere'
    assert run_key(shapes, state) == key

    (tmp_path / 'weights.pth').write_bytes(b'two')
    other = run_key(shapes, state)
    assert other != key
    shapes.test_evaluator[1].dilation_ratio = 0.01
    assert run_key(shapes, state) not in (key, other)
