"""Necks of both kinds, alone, in a row and inside a backbone."""

import pytest
import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS

from mmseg_ovs.models.necks import FeatureNeck
from tests.tiny import BACKBONES


@MODELS.register_module()
class DoublesMaps(BaseModule):
    def forward(self, maps):
        return tuple(2 * m for m in maps)


@MODELS.register_module()
class AddsTheMeanColour(FeatureNeck):
    def forward(self, features):
        colour = features.image.mean(dim=(1, 2, 3))[:, None, None, None]
        return features._replace(maps=tuple(m + colour for m in features.maps))


@pytest.fixture
def image():
    return torch.randn(2, 3, 56, 56) + 1


@torch.no_grad()
def test_necks_of_both_kinds_run_in_order(build_segmentor, image):
    plain = build_segmentor().extract_feat(image)
    order = [dict(type='DoublesMaps'), dict(type='AddsTheMeanColour')]
    model = build_segmentor(neck=order)
    colour = image.mean(dim=(1, 2, 3))[:, None, None, None]
    features = model.extract_feat(image)
    assert torch.equal(features.maps[0], 2 * plain.maps[0] + colour)
    assert torch.equal(features.cls_attention, plain.cls_attention)
    model = build_segmentor(neck=order[::-1])
    expected = 2 * (plain.maps[0] + colour)
    assert torch.allclose(model.extract_feat(image).maps[0], expected)


@torch.no_grad()
def test_backbone_with_neck(image):
    neck = dict(type='AddsTheMeanColour')
    cfg = dict(type='BackboneWithNeck', backbone=BACKBONES['DINOv2'], neck=neck)
    model = MODELS.build(cfg)
    (maps,) = model(image)
    colour = image.mean(dim=(1, 2, 3))[:, None, None, None]
    assert torch.equal(maps, model.backbone(image)[0] + colour)
