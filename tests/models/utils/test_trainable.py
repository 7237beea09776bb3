"""Parameters frozen by name."""

from functools import partial

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.utils import set_trainable

VIT = dict(
    type='DINOv3',
    arch=dict(embed_dims=16, depth=3, num_heads=2, feed_forward='mlp'),
    patch_size=8,
)
TEXT_TOWER = dict(
    type='OpenCLIPTextEncoder',
    model=dict(
        embed_dim=8, text_cfg=dict(context_length=8, width=8, heads=2, layers=2)
    ),
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
    clip = MODELS.build(dict(TEXT_TOWER, frozen=False))
    set_trainable(clip, 'attention')
    assert len(trained(clip)) == 2 * 4
    assert all('.attn.' in name for name in trained(clip))


@pytest.mark.parametrize('tower', ['image', 'text'])
def test_queries_and_values_without_keys(tower):
    """CAT-Seg's tuning, though the three lie in one weight."""
    torch.manual_seed(0)
    if tower == 'image':
        model = vit()
        run = partial(model, torch.randn(1, 3, 16, 24))
    else:
        model = MODELS.build(dict(TEXT_TOWER, frozen=False))
        run = partial(model.encode, ['a word'])
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    set_trainable(model, 'query_value')
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=1e-9
    )
    for _ in range(2):
        optimizer.zero_grad()
        run()[0].square().sum().backward()
        optimizer.step()
    changed = 0
    for name, p in model.named_parameters():
        if not name.endswith(('attn.qkv.weight', 'attn.in_proj_weight')):
            assert torch.equal(p, before[name]), name
            continue
        query, key, value = (p - before[name]).chunk(3)
        assert query.abs().max() > 0 and value.abs().max() > 0
        assert not key.any()
        changed += 1
    assert changed == (3 if tower == 'image' else 2)


def test_blocks_without_what_is_around_them():
    model = vit()
    set_trainable(model, 'blocks')
    assert trained(model) == {
        name for name, _ in vit().named_parameters() if name.startswith('blocks.')
    }
    clip = MODELS.build(dict(TEXT_TOWER, frozen=False))
    set_trainable(clip, 'blocks')
    assert trained(clip) == {
        name for name, _ in clip.named_parameters() if '.resblocks.' in name
    }


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
    with pytest.raises(ValueError, match='one of .*all.*attention.*query_value'):
        set_trainable(vit(), 'attn')
    with pytest.raises(ValueError, match=r"DINOv3 is trainable by 'q_proj'; names are"):
        set_trainable(vit(), ['attn', 'q_proj'])
