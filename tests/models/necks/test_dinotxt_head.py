"""dino.txt's vision head: tokens in, tokens out, and the authors' files."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.necks import DinoTxtVisionHead
from mmseg_ovs.models.utils import CheckpointError
from mmseg_ovs.structures.visual_features import VisualFeatures

BACKBONE = dict(
    type='DINOv3',
    arch=dict(embed_dims=16, depth=2, num_heads=2, feed_forward='mlp'),
    extra_outputs=('cls_token', 'registers'),
    fit='resize',
)
TINY = dict(type='DinoTxtVisionHead', embed_dims=16, num_heads=2)


def tiny(**kwargs):
    torch.manual_seed(1)
    head = MODELS.build({**TINY, **kwargs})
    for name, parameter in head.named_parameters():
        if 'gamma' in name:
            parameter.data += 0.5
    return head.eval()


def features(**replaced):
    generator = torch.Generator().manual_seed(2)
    maps = tuple(torch.randn(2, 16, 3, 4, generator=generator) for _ in range(2))
    parts = dict(
        maps=maps,
        cls_token=torch.randn(2, 16, generator=generator),
        registers=torch.randn(2, 4, 16, generator=generator),
        image=torch.zeros(2, 3, 48, 64),
    )
    return VisualFeatures(**{**parts, **replaced})


@torch.no_grad()
def test_replaces_the_last_map_and_the_tokens():
    before = features()
    after = tiny()(before)
    assert torch.equal(after.maps[0], before.maps[0])
    assert after.image is before.image
    for new, old in (
        (after.maps[1], before.maps[1]),
        (after.cls_token, before.cls_token),
        (after.registers, before.registers),
    ):
        assert new.shape == old.shape and (new - old).abs().max() > 0.1
    # A LayerNorm without a learned scale and shift is the last step.
    mean = torch.cat([after.maps[1].mean(1).flatten(), after.cls_token.mean(1)])
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)


@torch.no_grad()
def test_blocks_see_no_positions_but_all_tokens():
    head = tiny()
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
    state = {k: v + 0.25 for k, v in head.state_dict().items()}
    if layout == 'dinov2':
        return {k.replace('blocks.', 'block_list.'): v for k, v in state.items()}
    state = {f'visual_model.head.{k}': v for k, v in state.items()}
    return {**state, 'logit_scale': torch.ones(1), 'text_model.x': torch.ones(2)}


@pytest.mark.parametrize('layout', ['dinov2', 'dinov3'])
def test_published_files_load(layout, tmp_path):
    source = tiny()
    path = tmp_path / 'head.pth'
    torch.save(published(source, layout), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    if layout == 'dinov3':
        init_cfg['prefix'] = 'visual_model.head'
    head = tiny(init_cfg=init_cfg)
    head.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(head.state_dict()[key], value + 0.25), key


def test_a_file_that_does_not_fit(tmp_path):
    path = tmp_path / 'head.pth'
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    torch.save(published(tiny(embed_dims=32), 'dinov2'), path)
    with pytest.raises(CheckpointError, match=r'qkv\.weight: checkpoint \(96, 32\)'):
        tiny(init_cfg=init_cfg).init_weights()
    torch.save(published(tiny(), 'dinov3'), path)
    with pytest.raises(CheckpointError, match='unexpected: visual_model.head'):
        tiny(init_cfg=init_cfg).init_weights()
    init_cfg['prefix'] = 'visual_model.heads'
    with pytest.raises(CheckpointError, match="no keys under 'visual_model.heads.'"):
        tiny(init_cfg=init_cfg).init_weights()


@pytest.mark.parametrize('missing', ['cls_token', 'registers'])
def test_a_backbone_that_hands_on_too_little(missing):
    message = rf"needs {missing} of the backbone: .*extra_outputs=\('cls_token', 'reg"
    with pytest.raises(ValueError, match=message):
        tiny()(features(**{missing: None}))


@torch.no_grad()
def test_a_backbone_without_registers():
    backbone = MODELS.build(dict(BACKBONE, num_registers=0)).eval()
    out = tiny()(backbone(torch.randn(1, 3, 32, 48)))
    assert out.maps[0].shape == (1, 16, 2, 3) and out.registers.shape == (1, 0, 16)


def test_frozen_or_trainable():
    assert not any(p.requires_grad for p in tiny(frozen=True).parameters())
    head = tiny().train()
    after = head(features())
    (after.maps[-1].sum() + after.cls_token.sum()).square().backward()
    assert all(p.grad is not None for p in head.parameters())


def test_serves_a_stock_segmentor():
    backbone = MODELS.build(dict(type='BackboneWithNeck', backbone=BACKBONE, neck=TINY))
    (maps,) = backbone(torch.randn(2, 3, 40, 33))
    assert maps.shape == (2, 16, 3, 3)


def test_whole_system(build_segmentor):
    """Head, tower and windows together; other words between two calls."""
    torch.manual_seed(3)
    tower = dict(width=16, depth=1, num_heads=2, embed_dims=16)
    model = build_segmentor(
        backbone=BACKBONE,
        neck=TINY,
        text_encoder=dict(type='DinoTxtTextEncoder', templates='simple', **tower),
        decode_head=dict(type='TextSimilarityHead', in_channels=16, text_channels=16),
        vocabulary=['cat', 'dog'],
        test_cfg=dict(
            mode='slide',
            crop_size=(40, 40),
            stride=(20, 20),
            window_softmax=True,
            keep_logits=True,
        ),
    )
    image = torch.randint(0, 256, (3, 50, 71))
    for names in (['cat', 'dog'], ['sky', ['tree', 'bush'], 'grass']):
        model.set_vocabulary(names)
        (sample,) = model.test_step(dict(inputs=[image], data_samples=None))
        scores = sample.seg_logits.data
        assert scores.shape == (len(names), 50, 71)
        assert torch.equal(sample.pred_sem_seg.data[0], scores.argmax(0))
        assert scores.min() > 0 and scores.sum(0).max() <= 1 + 1e-5
