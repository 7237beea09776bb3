"""The forms of CLIP's last block against their plain definitions."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from tests.tiny import BACKBONES, CLIP_VISION, make

ONE_BLOCK = dict(BACKBONES['CLIP']['model'], vision_cfg=dict(CLIP_VISION, layers=1))
GRID = (4, 3)
ATTENTION_ONLY = dict(residual=None, feed_forward=False)


def encoder(last_block, **kwargs):
    return make(BACKBONES['CLIP'], model=ONE_BLOCK, last_block=last_block, **kwargs)


def image():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(2, 3, *(8 * side for side in GRID), generator=generator)


def plainly(model, attention, std=None, residual='token', feed_forward=True):
    """A map (B, C, h, w) by attention matrices of every head."""
    tokens, grid = model.embed(image())
    block = model.blocks[0]
    q, k, v = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)
    heads = block.attn.num_heads
    parts = dict(q=q, k=k, v=v)
    bias = torch.zeros(tokens.shape[1], tokens.shape[1])
    places = list(itertools.product(range(grid[0]), range(grid[1])))
    for (i, a), (j, b) in itertools.product(enumerate(places), repeat=2):
        if std is not None:
            distance = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
            bias[1 + i, 1 + j] = torch.tensor(-distance / (2 * std**2)).exp()
    out = []
    for head in range(heads):
        part = slice(head * q.shape[-1] // heads, (head + 1) * q.shape[-1] // heads)
        total = 0
        for left, right in attention:
            logits = parts[left][..., part] @ parts[right][..., part].transpose(1, 2)
            logits = logits / (part.stop - part.start) ** 0.5 + bias
            total = total + logits.softmax(dim=-1)
        total = total if attention else torch.eye(tokens.shape[1])
        out.append(total @ v[..., part])
    out = block.attn.proj(torch.cat(out, dim=-1))
    if residual:
        out = out + (tokens if residual == 'token' else tokens[:, :1])
    if feed_forward:
        out = out + block.mlp(block.norm2(out))
    return model.norm_tokens(out)[:, 1:].transpose(1, 2).unflatten(2, grid)


@pytest.mark.parametrize(
    ('last_block', 'plain'),
    [
        (None, dict(attention=['qk'])),
        ('maskclip', dict(attention=[])),
        ('catseg', dict(attention=[], residual='class')),
        ('sclip', dict(attention=['qq', 'kk'])),
        ('naclip', dict(attention=['kk'], std=5.0, **ATTENTION_ONLY)),
        ('clearclip', dict(attention=['qq'], **ATTENTION_ONLY)),
        (
            dict(attention=('q', 'k', 'v'), neighbourhood_std=0.8, residual='class'),
            dict(attention=['qq', 'kk', 'vv'], std=0.8, residual='class'),
        ),
        (
            dict(preset='naclip', neighbourhood_std=1.7, residual='token'),
            dict(attention=['kk'], std=1.7, feed_forward=False),
        ),
        (
            dict(attention='qk', neighbourhood_std=2.0, feed_forward=False),
            dict(attention=['qk'], std=2.0, feed_forward=False),
        ),
    ],
)
@torch.no_grad()
def test_definition(last_block, plain):
    model = encoder(last_block)
    torch.testing.assert_close(model(image())[0], plainly(model, **plain))


def test_every_form_takes_the_weights_of_clip():
    plain = encoder(None).state_dict()
    for last_block in ('maskclip', 'naclip', dict(ATTENTION_ONLY)):
        assert encoder(last_block).state_dict().keys() == plain.keys()


@torch.no_grad()
def test_positions_by_scale_factors():
    """The sampling step is native / (side + 0.1), as in DINO's code."""
    model = encoder('maskclip', position_offset=0.1)
    positions = model.position_tokens((5, 7))
    native = model.pos_embed[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
    expected = F.interpolate(native, scale_factor=(5.1 / 4, 7.1 / 4), mode='bicubic')
    torch.testing.assert_close(positions[:, 1:], expected.flatten(2).transpose(1, 2))
    by_size = encoder('maskclip').position_tokens((5, 7))
    assert (positions - by_size).abs().max() > 1e-3
    assert torch.equal(model.position_tokens((4, 4)), model.pos_embed)
