"""dino.txt's vision head: tokens in, tokens out, and the authors' files."""

import pytest
import torch

from mmseg_ovs.models.necks import DinoTxtVisionHead
from mmseg_ovs.models.utils import CheckpointError, load_pretrained
from mmseg_ovs.structures import VisualFeatures
from tests.models.module_tester import check_same_weights
from tests.tiny import BACKBONES, NECKS, make, shake

TINY = NECKS['dino.txt']
BACKBONE = dict(BACKBONES['DINOv3'], extra_outputs=('cls_token', 'registers'))


def features(**replaced):
    draw = torch.Generator().manual_seed(2)
    shapes = [(16, 3, 4), (16, 3, 4), (16,), (4, 16), (3, 48, 64)]
    *maps, token, registers, image = (
        torch.randn(2, *shape, generator=draw) for shape in shapes
    )
    before = VisualFeatures(tuple(maps), token, registers, image=image)
    return before._replace(**replaced)


@torch.no_grad()
def test_replaces_the_last_map_and_the_tokens():
    before, head = features(), make(TINY)
    # A LayerNorm without a learned scale and shift is the last step.
    head.ln_final.reset_parameters()
    after = head(before)
    assert torch.equal(after.maps[0], before.maps[0])
    assert after.image is before.image
    for new, old in (
        (after.maps[1], before.maps[1]),
        (after.cls_token, before.cls_token),
        (after.registers, before.registers),
    ):
        assert new.shape == old.shape and (new - old).abs().max() > 0.1
    mean = torch.cat([after.maps[1].mean(1).flatten(), after.cls_token.mean(1)])
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)


@torch.no_grad()
def test_blocks_see_no_positions_but_all_tokens():
    head = make(TINY)
    before = features()
    plain = head(before)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    mixed = before.maps[1].flatten(2)[:, :, order].view(2, 16, 3, 4)
    shuffled = head(before._replace(maps=(before.maps[0], mixed)))
    expected = plain.maps[1].flatten(2)[:, :, order].view(2, 16, 3, 4)
    torch.testing.assert_close(shuffled.maps[1], expected)
    torch.testing.assert_close(shuffled.cls_token, plain.cls_token)
    for name in ('cls_token', 'registers'):
        changed = head(before._replace(**{name: -getattr(before, name)}))
        assert (changed.maps[1] - plain.maps[1]).abs().max() > 1e-4, name


def test_published_size():
    with torch.device('meta'):
        head = DinoTxtVisionHead()
    shapes = {k: tuple(v.shape) for k, v in head.state_dict().items()}
    assert len(shapes) == 32
    assert sum(p.numel() for p in head.parameters()) == 25_326_336
    assert shapes['blocks.1.mlp.w1.weight'] == (2752, 1024)
    assert 'blocks.0.attn.qkv.bias' not in shapes


def published(head, layout):
    """A file as the authors publish it, from weights of ours."""
    state = head.state_dict()
    if layout == 'dinov2':
        return {k.replace('blocks.', 'block_list.'): v for k, v in state.items()}
    state = {f'visual_model.head.{k}': v for k, v in state.items()}
    return {**state, 'logit_scale': torch.ones(1), 'text_model.x': torch.ones(2)}


@pytest.mark.parametrize(
    ('layout', 'prefix'), [('dinov2', None), ('dinov3', 'visual_model.head')]
)
def test_published_files_load(layout, prefix):
    source, head = shake(make(TINY)), make(TINY)
    load_pretrained(head, published(source, layout), prefix)
    check_same_weights(head, source)


def test_a_prefix_that_does_not_fit():
    head = make(TINY)
    state = published(head, 'dinov3')
    text = {f'text_model.{i}': torch.ones(1) for i in range(len(state))}
    with pytest.raises(CheckpointError, match="fits under 'visual_model.head.'"):
        load_pretrained(head, {**state, **text})
    with pytest.raises(CheckpointError, match="no keys under 'visual_model.heads.'"):
        load_pretrained(head, state, 'visual_model.heads')


@pytest.mark.parametrize('missing', ['cls_token', 'registers'])
def test_a_backbone_that_hands_on_too_little(missing):
    message = rf"needs {missing} of the backbone: .*extra_outputs=\('cls_token', 'reg"
    with pytest.raises(ValueError, match=message):
        make(TINY)(features(**{missing: None}))


@torch.no_grad()
def test_a_backbone_without_registers():
    backbone = make(BACKBONE, num_registers=0)
    out = make(TINY)(backbone(torch.randn(1, 3, 16, 24)))
    assert out.maps[0].shape == (1, 16, 2, 3) and out.registers.shape == (1, 0, 16)


def test_frozen():
    assert not any(p.requires_grad for p in make(TINY, trainable=False).parameters())
