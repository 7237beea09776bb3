"""Parameters frozen by name."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.utils import set_trainable

VIT = dict(
    type='DINOv3',
    arch=dict(embed_dims=16, depth=3, num_heads=2, feed_forward='mlp'),
    patch_size=8,
)


def vit(**kwargs):
    return MODELS.build({**VIT, **kwargs})


def trained(module):
    return {name for name, p in module.named_parameters() if p.requires_grad}


def test_words():
    names = {name for name, _ in vit().named_parameters()}
    model = vit()
    set_trainable(model, 'all')
    assert trained(model) == names
    set_trainable(model, 'attention')
    assert trained(model) == {name for name in names if '.attn.' in name}
    assert len(trained(model)) == 3 * 4
    set_trainable(model, 'none')
    assert trained(model) == set()


def test_the_attention_of_other_networks():
    clip = MODELS.build(
        dict(
            type='OpenCLIPTextEncoder',
            model=dict(
                embed_dim=8, text_cfg=dict(context_length=8, width=8, heads=2, layers=2)
            ),
            frozen=False,
        )
    )
    set_trainable(clip, 'attention')
    assert len(trained(clip)) == 2 * 4
    assert all('.attn.' in name for name in trained(clip))


def test_expressions():
    model = vit()
    set_trainable(model, [r'blocks\.2\.attn', '^norm'])
    assert {name.split('.attn')[0] for name in trained(model)} == {
        'blocks.2',
        'norm.weight',
        'norm.bias',
    }


def test_what_is_frozen_stays_frozen():
    model = vit(frozen_stages=2)
    set_trainable(model, 'attention')
    model.train()
    assert {name.split('.attn')[0] for name in trained(model)} == {'blocks.2'}
    set_trainable(model, 'all')
    assert len(trained(model)) == 4


def test_gradients_reach_what_is_trained():
    model = vit()
    set_trainable(model, 'attention')
    model.train()
    model(torch.randn(1, 3, 16, 24))[0].square().sum().backward()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == trained(model)


def test_mistakes():
    with pytest.raises(ValueError, match=r"one of \['all', 'attention', 'none'\]"):
        set_trainable(vit(), 'attn')
    with pytest.raises(ValueError, match=r"DINOv3 is trainable by 'q_proj'; names are"):
        set_trainable(vit(), ['attn', 'q_proj'])
