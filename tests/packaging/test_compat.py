"""The stand-in for mmcv's operators, safe checkpoints, and the missing-host error."""

import os
import pickle
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import save_file

import mmseg_ovs
from mmseg_ovs.compat import install_compat
from mmseg_ovs.models.utils import CheckpointError, read_state_dict
from tests.tool_loader import run_process

COMPAT = Path(mmseg_ovs.__file__).parent / 'compat'


def run_python(module: str, code: str, path: Path) -> str:
    """Run code in an interpreter that finds packages in ``path`` first.

    One compat module is there as ``alone``, without the package.
    """
    alone = f'import sys; sys.path.append({str(COMPAT)!r})\nimport {module} as alone\n'
    return run_process('-c', alone + code, PYTHONPATH=str(path)).stdout.strip()


@pytest.fixture
def stand_in():
    ext = pytest.importorskip('mmcv._ext')
    if not hasattr(ext, 'IS_STAND_IN'):
        pytest.skip('a full mmcv is installed')
    return ext


def test_missing_operator_raises_when_called_and_names_itself(stand_in):
    from mmcv.ops import nms

    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    with pytest.raises(NotImplementedError, match="'nms'.*compiled mmcv"):
        nms(boxes, torch.ones(1), 0.5)


def test_the_stand_in_does_not_pretend_to_have_dunder_attributes(stand_in):
    assert stand_in.__spec__.name == 'mmcv._ext'
    with pytest.raises(AttributeError):
        _ = stand_in.__wrapped__


@pytest.mark.parametrize(('compiled', 'used'), [(True, 'real'), (False, 'stand-in')])
def test_the_stand_in_steps_aside_for_a_compiled_module(tmp_path, compiled, used):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').touch()
    if compiled:
        (tmp_path / 'mmcv' / '_ext.py').write_text('WHO = "real"\n')
    code = (
        'alone.install_mmcv_ext()\nimport mmcv._ext as e\n'
        'print("stand-in" if hasattr(e, "IS_STAND_IN") else e.WHO)'
    )
    assert run_python('mmcv_ext', code, tmp_path) == used


def test_installing_twice_adds_one_finder():
    before = list(sys.meta_path)
    install_compat()
    assert sys.meta_path == before


def test_missing_host_is_named_with_the_remedy():
    code = (
        'alone._HOST = ("mmengine", "no_such_host")\n'
        'try:\n    alone.require_host()\nexcept ImportError as error:\n    print(error)'
    )
    message = run_python('host', code, COMPAT)
    assert 'no_such_host is not installed' in message
    assert "pip install 'mmseg_ovs[openmmlab]'" in message
    assert 'mmengine,' not in message


def test_mmengine_checkpoint_with_message_hub_loads(tmp_path):
    hub = MessageHub('packaging-test')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', torch.tensor(0.5))
    hub.update_info('iter', 7)
    path = tmp_path / 'iter_1.pth'
    torch.save(
        {'state_dict': {'w': torch.ones(2)}, 'message_hub': hub.state_dict()}, path
    )
    content = CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    buffer = content['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer)
    assert buffer.mean() == pytest.approx(1.0)
    assert buffer.min() == pytest.approx(0.5)
    assert content['message_hub']['runtime_info']['iter'] == 7


class _Call:
    """Pickles to a call of ``function(*args)``."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize(
    'make',
    [
        lambda marker: _Call(os.system, f'touch {marker}'),
        lambda marker: _Call(eval, f'open({str(marker)!r}, "w")'),
        # The getattr allowed for HistoryBuffer must not open the way to others.
        lambda marker: _Call(getattr, HistoryBuffer, '__init__'),
        lambda marker: _Call(getattr, torch.Tensor, 'numpy'),
    ],
    ids=['os.system', 'eval', 'getattr-dunder', 'getattr-other'],
)
def test_checkpoint_that_runs_code_is_refused(tmp_path, make):
    marker = tmp_path / 'was_run'
    path = tmp_path / 'evil.pth'
    torch.save({'state_dict': {'w': torch.ones(2)}, 'x': make(marker)}, path)
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        CheckpointLoader.load_checkpoint(str(path), map_location='cpu')
    assert not marker.exists()


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Address of a site on this machine, and the folder whose files it serves."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    folder = tmp_path / 'site'
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{server.server_port}', folder
        server.shutdown()


def test_files_of_one_name_from_several_addresses(site):
    address, folder = site
    for value, name in enumerate(('a', 'b')):
        (folder / name).mkdir(parents=True)
        state = dict(w=torch.full((2,), float(value)))
        torch.save(dict(state_dict=state), folder / name / 'pytorch_model.bin')
        save_file(state, folder / name / 'model.safetensors')
    for _ in range(2):
        for file in ('pytorch_model.bin', 'model.safetensors'):
            for value, name in enumerate(('a', 'b')):
                state = read_state_dict(f'{address}/{name}/{file}')
                assert torch.equal(state['w'], torch.full((2,), float(value)))
        for file in folder.glob('*/*'):
            file.unlink(missing_ok=True)  # what was downloaded is not asked for again
    with pytest.raises(CheckpointError, match='there is no such file'):
        read_state_dict(f'{address}/a/other.bin')


def test_an_address_that_runs_code_is_refused(site, tmp_path):
    address, folder = site
    folder.mkdir()
    marker = tmp_path / 'was_run'
    call = _Call(os.system, f'touch {marker}')
    torch.save({'state_dict': {'w': torch.ones(2)}, 'x': call}, folder / 'evil.pth')
    with pytest.raises(pickle.UnpicklingError):
        CheckpointLoader.load_checkpoint(f'{address}/evil.pth', map_location='cpu')
    with pytest.raises(CheckpointError, match='weights_only=True'):
        read_state_dict(f'{address}/evil.pth')
    assert not marker.exists()
