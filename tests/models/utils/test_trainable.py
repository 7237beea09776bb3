"""Parameters frozen by name."""

from functools import partial

import pytest
import torch

from mmseg_ovs.models.utils import set_trainable
from tests.models.module_tester import check_gradients
from tests.tiny import BACKBONES, TEXT_ENCODERS, make

IMAGE = BACKBONES['DINOv3']
TEXT = dict(TEXT_ENCODERS['open_clip'], trainable=True)


def trained(module):
    return {name for name, p in module.named_parameters() if p.requires_grad}


@pytest.mark.parametrize('tower', [IMAGE, TEXT], ids=['image', 'text'])
def test_words(tower):
    names = {name for name, _ in make(tower).named_parameters()}
    expected = {
        True: names,
        'attention': {name for name in names if '.attn.' in name},
        'blocks': {name for name in names if 'blocks.' in name},
        False: set(),
    }
    assert len(expected['attention']) == 2 * 4
    assert 0 < len(expected['blocks']) < len(names)
    for word, parts in expected.items():
        model = make(tower)
        set_trainable(model, word)
        assert trained(model) == parts, word


@pytest.mark.parametrize('tower', [IMAGE, TEXT], ids=['image', 'text'])
def test_queries_and_values_without_keys(tower):
    """CAT-Seg's tuning, although the three are parts of one weight."""
    model = make(tower)
    run = partial(model, torch.randn(1, 3, 16, 24))
    if tower is TEXT:
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
    assert changed == 2


def test_expressions():
    model = make(IMAGE)
    set_trainable(model, [r'blocks\.1\.attn', '^norm'])
    parts = {name.split('.attn')[0] for name in trained(model)}
    assert parts == {'blocks.1', 'norm.weight', 'norm.bias'}


def test_what_is_frozen_stays_frozen():
    model = make(IMAGE, frozen_stages=1)
    set_trainable(model, 'attention')
    names = check_gradients(model.train(), model(torch.randn(1, 3, 16, 24)))
    assert {name.split('.attn')[0] for name in names} == {'blocks.1'}
    set_trainable(model, True)
    assert trained(model) == names and len(names) == 4


def test_mistakes():
    with pytest.raises(ValueError, match='True, False, one of .*attention.*query'):
        set_trainable(make(IMAGE), 'attn')
    with pytest.raises(ValueError, match=r"DINOv3 is trainable by 'q_proj'; names are"):
        set_trainable(make(IMAGE), ['attn', 'q_proj'])
