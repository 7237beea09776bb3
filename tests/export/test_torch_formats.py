"""Programs of torch.export and compiled libraries."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from tiny_systems import SYSTEMS, build, cat_seg, dinotxt, talk2dino

from mmseg_ovs.export import AotiFormat, ExportError, TorchFormat, export_model
from mmseg_ovs.export.formats import METADATA_FILE

COMPILER = pytest.mark.skipif(shutil.which('g++') is None, reason='needs g++')


def inputs(system, rows=4):
    return torch.randn(1, 3, 42, 42), torch.randn(rows, *SYSTEMS[system])


def test_a_program_runs_without_the_package(tmp_path):
    path = tmp_path / 'model.pt2'
    model = build(dinotxt, tmp_path)
    result = export_model(model, path, TorchFormat(), config='tiny')
    assert result.error < 1e-5
    image, text = inputs(dinotxt)
    torch.save((image, text), tmp_path / 'inputs.pt')
    code = f"""
import sys, torch
inputs = torch.load({str(tmp_path / 'inputs.pt')!r})
program = torch.export.load({str(path)!r}).module()
torch.save(program(*inputs), {str(tmp_path / 'scores.pt')!r})
assert not set(sys.modules) & {{'mmseg_ovs', 'mmseg', 'mmengine', 'mmcv'}}
"""
    subprocess.run([sys.executable, '-c', code], check=True, cwd=tmp_path)
    with torch.no_grad():
        expected = model.encode_decode(image, model.decode_head.project_text(text))
    scores = torch.load(tmp_path / 'scores.pt')
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)
    extra = {METADATA_FILE: ''}
    torch.export.load(path, extra_files=extra)
    assert json.loads(extra[METADATA_FILE]) == result.metadata
    assert result.metadata['config'] == 'tiny'


def test_more_classes_than_take_part(tmp_path):
    """With a vocabulary in the graph, truncation is part of it."""
    model = build(cat_seg, tmp_path)
    model.decode_head.aggregator.pad_len = 3
    path = tmp_path / 'model.pt2'
    export_model(model, path, TorchFormat(), bake_vocabulary=True)
    image = torch.randn(1, 3, 40, 40)
    scores = torch.export.load(path).module()(image)
    with torch.no_grad():
        expected = model.decode_head(
            model.extract_feat(image), model.project_vocabulary()
        )
    assert (expected == -100).all(dim=3).all(dim=2).sum() == 2
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@COMPILER
def test_a_compiled_library(tmp_path):
    path = tmp_path / 'model.pt2'
    model = build(talk2dino, tmp_path)
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
