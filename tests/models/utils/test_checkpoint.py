"""Reading checkpoints; files that do not fit are in tests/properties."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmseg_ovs.models.utils import (
    CheckpointError,
    load_model_checkpoint,
    load_pretrained,
    read_state_dict,
)
from tests.tiny import BACKBONES, make


@pytest.fixture
def state():
    return {'weight': torch.randn(2, 3), 'bias': torch.randn(2)}


def test_formats_and_wrappers(tmp_path, state):
    torch.save(state, tmp_path / 'plain.pth')
    wrapped = dict(state_dict={f'module.{k}': v for k, v in state.items()}, epoch=3)
    torch.save(wrapped, tmp_path / 'wrapped.pth')
    save_file(state, tmp_path / 'safe.safetensors')
    for name in ('plain.pth', 'wrapped.pth', 'safe.safetensors'):
        layer = nn.Linear(3, 2)
        load_pretrained(layer, tmp_path / name)
        assert torch.equal(layer.weight, state['weight'])


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match='No checkpoint at .*nowhere.pth'):
        read_state_dict(tmp_path / 'nowhere.pth')


def test_prefix(state):
    layer = nn.Linear(3, 2)
    load_pretrained(layer, {f'proj.{k}': v for k, v in state.items()}, prefix='proj')
    assert torch.equal(layer.bias, state['bias'])
    with pytest.raises(CheckpointError, match="no keys under 'head.'"):
        load_pretrained(layer, state, prefix='head')


def below(prefix, state):
    return {prefix + k: v for k, v in state.items()}


@pytest.mark.parametrize(
    'write',
    [
        lambda s: dict(teacher=below('backbone.', s)),
        lambda s: dict(teacher={**below('backbone.', s), 'head.weight': s['bias']}),
        lambda s: below('_orig_mod.', s),
        lambda s: dict(module=below('module._orig_mod.', s)),  # DeepSpeed
        lambda s: {**below('module.', s), 'n_averaged': torch.tensor(3)},
        lambda s: dict(state_dict=below('model.backbone.', s)),  # Lightning
    ],
)
def test_what_training_scripts_add_is_recognised(state, write):
    layer = nn.Linear(3, 2)
    load_pretrained(layer, write(state))
    assert torch.equal(layer.weight, state['weight'])


def test_several_networks_in_a_file(state, warned):
    both = {**below('student.', state), **below('teacher.', state)}
    with pytest.raises(CheckpointError, match="'student.' and under 'teacher.'"):
        load_pretrained(nn.Linear(3, 2), both)
    many = {**below('net.', state), **below('x.a.', state), 'x.b': state['bias']}
    many = {k.replace('x.a.bias', 'x.a.c'): v for k, v in many.items()}
    with pytest.raises(CheckpointError, match="under 'net.': say which with prefix"):
        load_pretrained(nn.Linear(3, 2), many)
    assert not warned
    load_pretrained(nn.Linear(3, 2), {**below('net.', state), 'x': state['bias']})
    assert len(warned) == 1 and 'left out 1 others (x' in warned[0]


def test_averaged_weights_beside_the_raw_ones(state, warned):
    raw = {k: torch.zeros_like(v) for k, v in state.items()}
    layer = nn.Linear(3, 2)
    load_pretrained(layer, dict(model=raw, model_ema=state))
    assert not layer.weight.any() and "prefix='model_ema'" in warned[0]
    load_pretrained(layer, dict(model=raw, model_ema=state), prefix='model_ema')
    assert torch.equal(layer.weight, state['weight'])
    # mmengine's own: the averaged ones are in 'state_dict'
    load_pretrained(layer, dict(state_dict=state, ema_state_dict=raw, message_hub={}))
    assert torch.equal(layer.weight, state['weight']) and len(warned) == 1


@pytest.mark.parametrize('wrapper', ['net', 'ema', 'model_ema'])
def test_an_unknown_wrapper(state, wrapper):
    layer = nn.Linear(3, 2)
    load_pretrained(layer, {wrapper: state, 'epoch': 3, 'args': dict(model='vit')})
    assert torch.equal(layer.weight, state['weight'])
    with pytest.raises(CheckpointError, match=f'several state dicts: {wrapper}, other'):
        load_pretrained(layer, {wrapper: state, 'other': state})


def test_a_student_beside_the_teacher(state, warned):
    load_pretrained(nn.Linear(3, 2), dict(student=state, teacher=state))
    assert "also holds weights under ['student']" in warned[0]


def test_several_whole_models(tmp_path):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    both = below('student.', model.state_dict()) | below('teacher.', model.state_dict())
    torch.save(both, tmp_path / 'a.ckpt')
    with pytest.raises(CheckpointError, match="'student.' and under 'teacher.'"):
        load_model_checkpoint(model, tmp_path / 'a.ckpt')


@pytest.mark.parametrize('prefix', ['model.', 'model.net.'])
def test_prefix_of_a_whole_model(tmp_path, prefix):
    model, other = (nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)) for _ in 'ab')
    state = below(prefix, other.state_dict()) | {'criterion.weight': torch.ones(1)}
    torch.save(dict(state_dict=state), tmp_path / 'a.ckpt')
    load_model_checkpoint(model, tmp_path / 'a.ckpt')
    assert torch.equal(model[0].weight, other[0].weight)


def test_dinov2_of_another_size_or_in_chunks():
    cfg = BACKBONES['DINOv2']
    other = make(cfg, img_size=112).state_dict()
    backbone = make(cfg, img_size=56)
    with pytest.raises(CheckpointError, match='8 x 8 patches: set img_size=112'):
        load_pretrained(backbone, other)
    own = {k: torch.randn_like(v) for k, v in backbone.state_dict().items()}
    load_pretrained(
        backbone, {k.replace('blocks.', 'blocks.0.'): v for k, v in own.items()}
    )
    assert torch.equal(backbone.norm.weight, own['norm.weight'])
    with pytest.raises(CheckpointError, match='file is a shard'):
        load_pretrained(backbone, {**own, 'norm.weight': torch.empty(0)})


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_not_finite_are_refused(tmp_path, state, value):
    state['bias'][1] = value
    torch.save(state, tmp_path / 'diverged.pth')
    for load in (load_pretrained, load_model_checkpoint):
        layer = nn.Linear(3, 2)
        with pytest.raises(CheckpointError, match=r'diverged\.pth .* 1 of 2 .*: bias'):
            load(layer, tmp_path / 'diverged.pth')
        assert layer.bias.isfinite().all()
