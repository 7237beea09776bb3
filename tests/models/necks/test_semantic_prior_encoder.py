"""A further backbone's maps as guidance: order, size, weights, frozen or trained."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS

from mmseg_ovs.models.utils import complete_state
from mmseg_ovs.structures.visual_features import VisualFeatures

SAM = dict(
    type='SAMImageEncoder',
    arch=dict(embed_dims=16, depth=3, num_heads=2, global_attn_indexes=(0, 2)),
    img_size=56,
    patch_size=14,
    window_size=3,
    out_channels=8,
    out_indices=(0, 1),
)


def prior(**options):
    torch.manual_seed(4)
    cfg = dict(type='SemanticPriorEncoder', backbone=SAM)
    neck = MODELS.build({**cfg, **options})
    neck.init_weights()
    return neck.eval()


def features(height=56, width=56, **replaced):
    image = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(2))
    maps = (torch.randn(2, 16, height // 14, width // 14),)
    return VisualFeatures(**{**dict(maps=maps, image=image), **replaced})


def shapes(maps):
    return [tuple(m.shape[1:]) for m in maps]


@torch.no_grad()
def test_maps_are_appended():
    neck, before = prior(), features(56, 84)
    after = neck(before)
    assert after.maps[0] is before.maps[0] and after.image is before.image
    for one, other in zip(after.maps[1:], neck.prior(before.image), strict=True):
        assert torch.equal(one, other)
    assert shapes(after.maps) == [(16, 4, 6), (16, 4, 6), (16, 4, 6), (8, 4, 6)]


@torch.no_grad()
def test_input_size_and_strides():
    before = features(56, 84)
    larger = prior(input_size=(112, 112))(before)
    assert shapes(larger.maps[1:]) == [(16, 8, 8), (16, 8, 8), (8, 8, 8)]
    placed = prior(input_size=(112, 112), strides=(7, 3.5, 14))(before)
    assert shapes(placed.maps[1:]) == [(16, 8, 12), (16, 16, 24), (8, 4, 6)]
    for one, other in zip(placed.maps[1:], larger.maps[1:], strict=True):
        expected = F.interpolate(other, one.shape[-2:], mode='bilinear')
        torch.testing.assert_close(one, expected)


@torch.no_grad()
def test_strides_round_up_like_padding():
    neck, before = prior(strides=(14, 14, 14)), features(60, 57)
    assert shapes(neck(before).maps[1:]) == [(16, 5, 5), (16, 5, 5), (8, 5, 5)]


@torch.no_grad()
def test_any_backbone():
    cfg = dict(
        type='MixVisionTransformer',
        embed_dims=8,
        num_stages=2,
        num_layers=[1, 1],
        num_heads=[1, 2],
        patch_sizes=[7, 3],
        strides=[4, 2],
        sr_ratios=[2, 1],
        out_indices=(0, 1),
    )
    neck = MODELS.build(dict(type='SemanticPriorEncoder', backbone=cfg)).eval()
    assert shapes(neck(features()).maps[1:]) == [(8, 14, 14), (16, 7, 7)]
    extra = dict(
        type='DINOv3',
        arch=dict(embed_dims=16, depth=1, num_heads=2, feed_forward='mlp'),
        extra_outputs=('cls_token',),
    )
    neck = MODELS.build(dict(type='SemanticPriorEncoder', backbone=extra)).eval()
    after = neck(features(64, 64))
    assert shapes(after.maps[1:]) == [(16, 4, 4)] and after.cls_token is None


def test_frozen_or_trained():
    neck, before = prior().train(), features()
    assert not neck.prior.training and not any(
        p.requires_grad for p in neck.parameters()
    )
    image = before.image.requires_grad_()
    assert not neck(before._replace(image=image)).maps[-1].requires_grad
    neck = prior(frozen=False).train()
    assert neck.prior.training
    sum(m.square().sum() for m in neck(before).maps[1:]).backward()
    assert all(p.grad is not None for p in neck.prior.parameters())


def test_mistakes():
    with pytest.raises(ValueError, match='looks at the image.*came without it'):
        prior()(features(image=None))
    with pytest.raises(
        ValueError, match=r'returns 3 map\(s\), but there are 2 strides'
    ):
        prior(strides=(14, 7))(features())


# --------------------------------------------------------------------- weights
class Model(BaseModule):
    """A neck of two in a row, as in a segmentor."""

    def __init__(self, backbone):
        super().__init__()
        self.neck = MODELS.build(
            [
                dict(type='AnyUp', output_size=1, qk_dim=8),
                dict(type='SemanticPriorEncoder', backbone=backbone),
            ]
        )


@pytest.fixture
def published(tmp_path):
    """The prior's config with a file that is a whole SAM."""
    state = {f'image_encoder.{k}': v + 1 for k, v in prior().prior.state_dict().items()}
    state['mask_decoder.x'] = torch.ones(1)
    torch.save(state, tmp_path / 'sam.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'sam.pth'))
    return dict(SAM, init_cfg=init_cfg)


def test_weights_by_the_backbones_init_cfg(published):
    expected = {k: v + 1 for k, v in prior().prior.state_dict().items()}
    neck = prior(backbone=published)
    for key, value in neck.prior.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_a_checkpoint_may_leave_the_prior_out(published):
    """At test time nothing has been initialised before the checkpoint comes."""
    trained = Model(published)
    trained.init_weights()
    state = {k: v for k, v in trained.state_dict().items() if '.prior.' not in k}
    assert len(state) > 10
    model = Model(published)
    model.load_state_dict(complete_state(model, state, 'x'))
    for key, value in trained.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key


# ------------------------------------------------------------------- with heads
def segmentor(build_segmentor, neck=(), **head):
    guidance = [
        dict(index=i, channels=16, stride=14, upsampled_channels=6) for i in (2, 1)
    ]
    head = dict(
        dict(
            type='CostAggregationHead',
            in_channels=16,
            in_index=0,
            stride=14,
            appearance_guidance=dict(index=3, channels=8),
            decoder_guidance=guidance,
            aggregator=dict(
                channels=16,
                num_layers=1,
                num_heads=2,
                window_size=3,
                text_guidance_dims=8,
                appearance_guidance_dims=8,
                decoder_dims=(16, 16),
                decoder_guidance_dims=(8, 4),
            ),
        ),
        **head,
    )
    return build_segmentor(
        neck=dict(dict(type='SemanticPriorEncoder', backbone=SAM), **dict(neck)),
        decode_head=head,
    )


@torch.no_grad()
def test_the_head_takes_maps_by_index(build_segmentor):
    model = segmentor(build_segmentor)
    image = torch.randn(1, 3, 56, 70)
    text = torch.randn(5, 1, 16)
    before = model.extract_feat(image)
    logits = model.decode_head(before, text)
    assert logits.shape == (1, 5, 16, 20)
    for i in range(4):
        maps = [m + (i == j) * torch.randn_like(m) for j, m in enumerate(before.maps)]
        changed = model.decode_head(before._replace(maps=tuple(maps)), text)
        assert (changed - logits).abs().max() > 1e-5, i


@torch.no_grad()
def test_strides_that_do_not_fit_the_head(build_segmentor):
    finer = dict(backbone=dict(SAM, patch_size=7, img_size=28))
    model = segmentor(build_segmentor, finer)
    image, text = torch.randn(1, 3, 56, 56), torch.randn(5, 1, 16)
    message = r'Guidance of the spatial blocks has to be \(8, 4, 4\).* got \(8, 8, 8\)'
    with pytest.raises(ValueError, match=message):
        model.decode_head(model.extract_feat(image), text)
    with pytest.raises(ValueError, match=r'Guidance of decoder stage 1 has to be'):
        strides = dict(strides=(14, 28, 14))
        model = segmentor(build_segmentor, strides)
        model.decode_head(model.extract_feat(image), text)
    with pytest.raises(ValueError, match=r'its stride 21 is no multiple'):
        segmentor(
            build_segmentor, appearance_guidance=dict(index=3, channels=8, stride=21)
        )


@torch.no_grad()
def test_a_head_that_waits_for_more_maps(build_segmentor):
    model = segmentor(build_segmentor)
    model.neck = None
    text = torch.randn(5, 1, 16)
    with pytest.raises(
        ValueError, match=r'Guidance by map 3, but there are 1 map\(s\)'
    ):
        model.decode_head(model.extract_feat(torch.randn(1, 3, 56, 56)), text)
