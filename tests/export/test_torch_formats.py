"""Programs of torch.export and compiled libraries."""

import json
import shutil

import pytest
import torch
from torch._inductor import cpu_vec_isa

from mmseg_ovs.export import AotiFormat, ExportError, TorchFormat, export_model
from mmseg_ovs.export.formats import METADATA_FILE
from tests.tiny import SYSTEMS, WIDTH, build, talk2dino
from tests.tool_loader import run_process

COMPILER = pytest.mark.skipif(shutil.which('g++') is None, reason='needs g++')


def inputs(system, rows=4):
    return torch.randn(1, 3, 42, 42), torch.randn(rows, *SYSTEMS[system])


def test_a_program_runs_without_the_package(tmp_path):
    path = tmp_path / 'model.pt2'
    model = build(talk2dino, tmp_path)
    result = export_model(model, path, TorchFormat(), config='tiny')
    assert result.error < 1e-5
    image, text = inputs(talk2dino)
    torch.save((image, text), tmp_path / 'inputs.pt')
    code = f"""
import sys, torch
inputs = torch.load({str(tmp_path / 'inputs.pt')!r})
program = torch.export.load({str(path)!r}).module()
torch.save(program(*inputs), {str(tmp_path / 'scores.pt')!r})
assert not set(sys.modules) & {{'mmseg_ovs', 'mmseg', 'mmengine', 'mmcv'}}
"""
    run_process('-c', code, cwd=tmp_path)
    with torch.no_grad():
        expected = model.encode_decode(image, model.decode_head.project_text(text))
    scores = torch.load(tmp_path / 'scores.pt')
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    extra = {METADATA_FILE: ''}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra[METADATA_FILE]) == result.metadata
    assert result.metadata['config'] == 'tiny'


class Patches(torch.nn.Conv2d):
    """A backbone of one layer: compilers take their time for more."""

    def forward(self, x):
        return (super().forward(x),)


@pytest.mark.slow
@COMPILER
def test_a_compiled_library(tmp_path, monkeypatch):
    # The processor's vector instructions are tried out for ten seconds.
    monkeypatch.setattr(cpu_vec_isa, 'valid_vec_isa_list', list)
    path = tmp_path / 'model.pt2'
    model = build(talk2dino, tmp_path)
    model.backbone = Patches(3, WIDTH, 14, stride=14)
    result = export_model(model, path, AotiFormat())
    assert result.error < 1e-4
    image, text = inputs(talk2dino)
    library = torch._inductor.aoti_load_package(str(path))
    with torch.no_grad():
        expected = model.encode_decode(image, model.decode_head.project_text(text))
    torch.testing.assert_close(library(image, text), expected, rtol=0, atol=1e-4)
    assert library.get_metadata().items() >= result.metadata.items()


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(torch._inductor.config.cpp, 'cxx', ('no-such-compiler',))
    with pytest.raises(ExportError, match='found no compiler'):
        export_model(build(talk2dino, tmp_path), tmp_path / 'model.pt2', AotiFormat())
