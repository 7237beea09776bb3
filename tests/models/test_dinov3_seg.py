"""dinov3.seg: what is trained of it, and both text halves."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from tests.models.module_tester import check_gradients
from tests.tiny import TEXT_ENCODERS, build, dinov3_seg


def parts(tower=True, upsampled=1, necks=False):
    """Parts of the model with other arguments."""
    system = dinov3_seg()
    (anyup, prior), head = system['neck'], system['decode_head']
    appearance = dict(head['appearance_guidance'], stride=8)
    return dict(
        backbone=dict(system['backbone'], trainable=tower),
        neck=[
            dict(anyup, output_size=upsampled, trainable=necks),
            dict(prior, trainable=necks),
        ],
        decode_head=dict(head, stride=8 // upsampled, appearance_guidance=appearance),
    )


@pytest.mark.parametrize(
    ('tower', 'upsampled', 'necks'),
    [('attention', 1, False), (True, 2, False), (False, 1, False), (False, 2, True)],
)
def test_gradients_reach_what_is_trained(tmp_path, tower, upsampled, necks):
    changes = parts(tower, upsampled, necks)
    model = build(dinov3_seg, tmp_path, **changes).train()
    trained = check_gradients(model, [model(torch.randn(2, 3, 32, 32))])
    found = {name for name in trained if name.startswith('backbone.')}
    whole = {n for n, _ in model.named_parameters() if n.startswith('backbone.')}
    attention = {name for name in whole if '.attn.' in name}
    assert found == {'attention': attention, True: whole, False: set()}[tower]
    others = {'decode_head', 'neck'} if necks else {'decode_head'}
    assert {name.split('.')[0] for name in trained - found} == others


def test_learning_rates(tmp_path):
    """The hundredth is for the image and text towers, not for the prior."""
    tower = dict(TEXT_ENCODERS['dino.txt'], part='both', trainable=True)
    model = build(dinov3_seg, tmp_path, text_encoder=tower, **parts(necks=True))
    rate = dict(lr_mult=0.01)
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=1.0),
            paramwise_cfg=dict(custom_keys=dict(backbone=rate, text_encoder=rate)),
        ),
    )
    rates = {}
    names = {id(p): n for n, p in model.named_parameters()}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            rates.setdefault(names[id(parameter)].split('.')[0], set()).add(group['lr'])
    assert rates == {
        'backbone': {0.01},
        'text_encoder': {0.01},
        'neck': {1.0},
        'decode_head': {1.0},
    }


@torch.no_grad()
def test_both_text_halves_count(tmp_path):
    tower = dict(TEXT_ENCODERS['dino.txt'], part='both')
    model = build(dinov3_seg, tmp_path, text_encoder=tower)
    features = model.extract_feat(torch.randn(1, 3, 32, 32))
    text = model.project_vocabulary()
    assert text.shape == (5, 2, 16)
    logits = model.decode_head(features, text)
    for half in (0, 1):
        changed = text.clone()
        changed[:, half] = text[:, half].roll(1, 0)
        assert (model.decode_head(features, changed) - logits).abs().max() > 1e-4
