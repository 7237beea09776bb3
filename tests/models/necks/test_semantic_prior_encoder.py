"""A further backbone's maps as guidance: order, size, weights, frozen or trained."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_ovs.structures import VisualFeatures
from tests.tiny import BACKBONES, HEADS, NECKS, SAM, STOCK_BACKBONES, make

PRIOR = dict(
    NECKS['prior'], backbone=dict(SAM, img_size=56, patch_size=14, out_indices=(0, 1))
)


def prior(**options):
    return make(PRIOR, **options)


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
def test_images_normalised_for_another_network():
    pixels = 255 * torch.rand(2, 3, 56, 56, generator=torch.Generator().manual_seed(1))

    def normalised(mean, std):
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
        return features(image=(pixels - mean) / std)

    clip = dict(mean=[122.77, 116.75, 104.09], std=[68.5, 66.63, 70.32])
    imagenet = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
    expected = prior()(normalised(**imagenet)).maps[1:]
    found = prior(**clip)(normalised(**clip)).maps[1:]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (prior()(normalised(**clip)).maps[1] - expected[0]).abs().max() > 1e-2


@torch.no_grad()
def test_any_backbone():
    neck = make(NECKS['prior'], backbone=STOCK_BACKBONES['MixVisionTransformer'])
    maps = neck(features(64, 64)).maps
    assert shapes(maps[1:]) == [(8, 16, 16), (8, 8, 8), (16, 4, 4), (16, 2, 2)]
    extra = dict(BACKBONES['DINOv3'], extra_outputs=('cls_token',))
    after = make(NECKS['prior'], backbone=extra)(features(64, 64))
    assert shapes(after.maps[1:]) == [(16, 8, 8)] and after.cls_token is None


def test_frozen_or_trained():
    neck, before = prior().train(), features()
    assert not neck.prior.training and not any(
        p.requires_grad for p in neck.parameters()
    )
    image = before.image.requires_grad_()
    assert not neck(before._replace(image=image)).maps[-1].requires_grad
    neck = prior(trainable=True).train()
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


# ------------------------------------------------------------------- with heads
def segmentor(build_segmentor, **changes):
    head = dict(HEADS['dinov3.seg'], text_parts=1, prompt_channels=1, stride=14)
    head['text_channels'] = 20  # of the segmentor's text vectors
    head['decoder_guidance'] = [dict(g, stride=14) for g in head['decoder_guidance']]
    return build_segmentor(neck=PRIOR, decode_head={**head, **changes})


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
def test_maps_that_do_not_fit_the_head(build_segmentor):
    model = segmentor(build_segmentor)
    image, text = torch.randn(1, 3, 56, 56), torch.randn(5, 1, 16)
    for options, message in (
        (
            dict(backbone=dict(PRIOR['backbone'], patch_size=7, img_size=28)),
            r'Guidance of the spatial blocks has to be \(8, 4, 4\).* got \(8, 8, 8\)',
        ),
        (dict(strides=(14, 28, 14)), r'Guidance of decoder stage 1 has to be'),
    ):
        model.neck = prior(**options)
        with pytest.raises(ValueError, match=message):
            model.decode_head(model.extract_feat(image), text)
    model.neck = None
    with pytest.raises(ValueError, match=r'Guidance by map 3, but there are 1 map'):
        model.decode_head(model.extract_feat(image), text)
    with pytest.raises(ValueError, match=r'its stride 21 is no multiple'):
        wrong = dict(index=3, channels=8, stride=21)
        segmentor(build_segmentor, appearance_guidance=wrong)
