"""Our modules against the authors' code, and the tool that says so."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mmseg_ovs.models.utils import CheckpointError
from tests.tool_loader import ROOT, run_process
from tools.dev.parity import Golden, GoldenFileError, check

FILES = sorted((ROOT / 'tests/data/golden').glob('*.safetensors'))
BACKBONE = ROOT / 'tests/data/golden/dinov2_vit_plain.safetensors'


def write(golden: Golden, path: Path) -> Path:
    tensors = {}
    for kind in ('weight', 'input', 'output'):
        for name, value in getattr(golden, f'{kind}s').items():
            tensors[f'{kind}.{name}'] = value.contiguous()
    save_file(tensors, path, {'config': json.dumps(golden.config)})
    return path


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_agrees_with_the_authors_code(path):
    comparison = check(path)
    assert comparison.problems == []
    assert comparison.relative <= comparison.tolerance


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_a_corrupted_weight_is_noticed(path, tmp_path):
    golden = Golden.read(path)
    unused = set(golden.config.get('unused_weights', ()))
    keys = [k for k in golden.weights if k not in unused and k.endswith('weight')]
    if golden.config['constructor'].get('cls', '').endswith('PAMR'):
        # its kernels are constants of the method; the input takes the blame instead
        golden.inputs['mask'] = golden.inputs['mask'] + 1e-3
    elif not keys:  # no weights: how logits are merged, how scores are propagated
        name = 'logits' if 'logits' in golden.inputs else 'clip_features'
        golden.inputs[name] = golden.inputs[name] + 1e-3
    else:
        weight = golden.weights[keys[-1]].clone()
        weight.view(-1)[0] += 0.05
        golden.weights[keys[-1]] = weight
    assert check(write(golden, tmp_path / path.name)).problems


def test_a_missing_weight_is_listed(tmp_path):
    golden = Golden.read(BACKBONE)
    del golden.weights['blocks.0.attn.qkv.weight']
    with pytest.raises(CheckpointError, match=r'missing: blocks\.0\.attn\.qkv\.weight'):
        check(write(golden, tmp_path / 'missing.safetensors'))


def test_an_output_we_do_not_compute_fails(tmp_path):
    golden = Golden.read(BACKBONE)
    golden.outputs['surprise'] = torch.zeros(1)
    problems = check(write(golden, tmp_path / 'more.safetensors')).problems
    assert problems == ['surprise is not computed']


def test_unknown_component_is_an_error(tmp_path):
    golden = Golden.read(BACKBONE)
    golden.config['component'] = 'perpetuum mobile'
    with pytest.raises(GoldenFileError, match='perpetuum mobile'):
        check(write(golden, tmp_path / 'unknown.safetensors'))


def test_command_line(tmp_path):
    """One line a file, exit code 1 if any fails."""
    pamr = next(path for path in FILES if 'pamr' in path.name)
    golden = Golden.read(pamr)
    golden.outputs['mask'] = golden.outputs['mask'] + 1
    wrong = write(golden, tmp_path / 'wrong.safetensors')
    done = run_process('tools/dev/check_parity.py', pamr, wrong, code=1)
    lines = done.stdout.strip().splitlines()
    assert lines[0].startswith(pamr.name) and lines[0].endswith('ok')
    assert 'FAILED' in lines[1]
    assert lines[2].startswith('1 of 2')
