"""Checkpoints of a whole model: what is completed and what is refused."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mmengine.model import BaseModule, BaseTTAModel, Sequential
from torch import nn

from mmseg_ovs.engine.hooks import CheckpointGuardHook
from mmseg_ovs.models.utils import (
    CheckpointError,
    PretrainedModule,
    complete_state,
    load_model_checkpoint,
    load_pretrained,
    parts_at_random,
    unwrap_model,
)
from tests.models.module_tester import check_same_weights


class Part(PretrainedModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.layer = nn.Linear(3, 2)


class Model(BaseModule):
    def __init__(self, backbone_file=None):
        super().__init__()
        cfg = backbone_file and dict(type='Pretrained', checkpoint=str(backbone_file))
        self.backbone = Part(cfg)
        self.head = Part()

    def test_step(self, data):
        return data


class Augmenting(BaseTTAModel):
    def merge_preds(self, samples):
        return samples


@pytest.fixture
def published(tmp_path):
    """A file with the backbone's weights, as its authors would publish them."""
    path = tmp_path / 'backbone.pth'
    torch.save(Part().state_dict(), path)
    return path


@pytest.fixture
def trained(published):
    return Model(published)


def save(model, path, drop='nothing', **more):
    state = {k: v for k, v in model.state_dict().items() if not k.startswith(drop)}
    torch.save(dict(state_dict=state, **more), path)
    return path


def test_loads_all_and_returns_the_meta(tmp_path, trained):
    path = save(trained, tmp_path / 'x.pth', meta=dict(iter=3))
    model = Model()
    assert load_model_checkpoint(model, path) == dict(iter=3)
    check_same_weights(model, trained)


def test_a_missing_part_brings_its_own_weights(tmp_path, trained, published):
    path = save(trained, tmp_path / 'x.pth', drop='backbone')
    model = Model(published)
    load_model_checkpoint(model, path)
    own = torch.load(published, weights_only=True)['layer.weight']
    assert torch.equal(model.backbone.layer.weight, own)
    assert torch.equal(model.head.layer.weight, trained.head.layer.weight)


def test_a_missing_part_of_random_weights_is_refused(tmp_path, trained, published):
    path = save(trained, tmp_path / 'x.pth', drop='head')
    with pytest.raises(CheckpointError, match=r'x.pth does not fit(.|\n)*head\.layer'):
        load_model_checkpoint(Model(published), path)


def test_in_a_training_run_a_missing_part_keeps_its_first_values(trained, published):
    model = Model(published)
    model.init_weights()
    first = model.head.layer.weight.clone()
    state = {k: v for k, v in trained.state_dict().items() if 'head' not in k}
    model.load_state_dict(complete_state(model, state, 'x'))
    assert torch.equal(model.head.layer.weight, first)


class Nested(BaseModule):
    """A part of several, of which some name their weights."""

    def __init__(self, *init_cfgs):
        super().__init__()
        self.backbone = Part()
        self.neck = Sequential(*(Part(cfg) for cfg in init_cfgs))


def test_a_network_inside_a_part_brings_its_own_weights(tmp_path, published):
    cfg = dict(type='Pretrained', checkpoint=str(published))
    trained = Nested(None, cfg)
    path = save(trained, tmp_path / 'x.pth', drop='neck.1.')
    model = Nested(None, cfg)
    load_model_checkpoint(model, path)
    own = torch.load(published, weights_only=True)['layer.weight']
    assert torch.equal(model.neck[1].layer.weight, own)
    assert torch.equal(model.neck[0].layer.weight, trained.neck[0].layer.weight)
    with pytest.raises(CheckpointError, match=r'2 missing: neck\.1\.layer'):
        load_model_checkpoint(Nested(None, None), path)
    started = Nested(None, None)
    started.init_weights()  # at random: no reason to leave a layer out
    with pytest.raises(CheckpointError, match=r'2 missing: neck\.1\.layer'):
        load_model_checkpoint(started, path)
    state = {**trained.state_dict()}
    state.pop('neck.1.layer.bias')
    with pytest.raises(CheckpointError, match=r'1 missing: neck\.1\.layer\.bias'):
        complete_state(Nested(None, cfg), state, 'x')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('backbone.layer.bias'), '1 missing: backbone.layer.bias'),
        (lambda s: s.update(new=torch.ones(1)), '1 unexpected: new'),
        (
            lambda s: s.update({'head.layer.bias': torch.ones(5)}),
            r'1 of another shape: head.layer.bias: checkpoint \(5,\), model \(2,\)',
        ),
        (lambda s: (s.clear(), s.update(new=torch.ones(1))), 'missing: backbone'),
    ],
    ids=['part of a part', 'unexpected', 'shape', 'another model'],
)
def test_anything_else_is_refused(trained, published, change, message):
    state = dict(trained.state_dict())
    change(state)
    with pytest.raises(CheckpointError, match=message):
        complete_state(Model(published), state, 'x')


def test_the_hook_completes_and_refuses(trained, published):
    model = Model(published)
    state = {f'module.{k}': v for k, v in trained.state_dict().items() if 'head' in k}
    checkpoint = dict(state_dict=state)
    runner = SimpleNamespace(model=Augmenting(model))
    CheckpointGuardHook().after_load_checkpoint(runner, checkpoint)
    found = {k.removeprefix('module.') for k in checkpoint['state_dict']}
    assert found == set(model.state_dict())
    checkpoint['state_dict']['loss.weight'] = torch.ones(1)
    with pytest.raises(CheckpointError, match='unexpected: loss.weight'):
        CheckpointGuardHook().after_load_checkpoint(runner, checkpoint)
    CheckpointGuardHook(allow=['^loss']).after_load_checkpoint(runner, checkpoint)
    # a handicap asks which names were met in training
    model.remember_training = trained_on = Mock()
    checkpoint['meta'] = dict(dataset_meta=dict(classes=('a', 'b')))
    CheckpointGuardHook(allow=['^loss']).after_load_checkpoint(runner, checkpoint)
    trained_on.assert_called_once_with(dict(classes=('a', 'b')))


def test_wrappers_are_looked_through(trained):
    assert unwrap_model(Augmenting(trained)) is trained
    assert unwrap_model(trained) is trained


def test_parts_at_random(published):
    assert parts_at_random(Model()) == ['backbone', 'head']
    assert parts_at_random(Model(published)) == ['head']


@pytest.mark.parametrize(
    ('key', 'method'),
    [
        ('sem_seg_head.predictor.prompt_tokens', 'PixelCLIP'),
        ('sem_seg_head.predictor.transformer.layers.0.weight', 'CAT-Seg'),
        ('decode_head.side_adapter_network.query_embed', 'SAN'),
        ('clip_image_encoder.clip_proj.ln.weight', 'TCL'),
        ('vision_model.encoder.stages.0.group_token', 'GroupViT'),
        ('visual.transformer.resblocks.0.ln_1.weight', 'CLIP'),
        ('rope_embed.periods', 'DINOv3'),
        ('blocks.0.attn.qkv.weight', 'a DINO backbone'),
    ],
)
@pytest.mark.parametrize('load', [load_pretrained, complete_state])
def test_a_file_of_another_method_is_named(load, key, method):
    state = {key: torch.ones(1), 'other': torch.ones(1)}
    args = (state, 'x.pth') if load is complete_state else (state,)
    with pytest.raises(CheckpointError, match=f'looks like a file of {method}'):
        load(Model(), *args)
