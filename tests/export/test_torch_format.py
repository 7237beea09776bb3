"""Programs of torch.export."""

import json

import torch

from mmseg_ovs.export import TorchFormat, export_model
from mmseg_ovs.export.formats import METADATA_FILE
from tests.tiny import SYSTEMS, build, talk2dino
from tests.tool_loader import run_process


def test_a_program_runs_without_the_package(tmp_path):
    path = tmp_path / 'model.pt2'
    model = build(talk2dino, tmp_path)
    result = export_model(model, path, TorchFormat(), config='tiny')
    assert result.error < 1e-5
    image, text = torch.randn(1, 3, 42, 42), torch.randn(4, *SYSTEMS[talk2dino])
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
