"""AnyUp learns from crops."""

import pytest
import torch
from mmseg.registry import MODELS

from tests.tiny import BACKBONES, PIXELS

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def build(**changes):
    torch.manual_seed(0)
    neck = dict(type='AnyUp', output_size=1, qk_dim=8, num_heads=2)
    cfg = dict(type='CropReconstruction', backbone=BACKBONES['DINOv3'], neck=neck)
    return MODELS.build(dict(cfg, data_preprocessor=PIXELS, **changes))


def test_only_the_upsampler_learns_and_is_saved():
    model = build()
    assert {key.split('.')[0] for key in model.state_dict()} == {'neck'}
    grid = model.backbone.maps(IMAGES)[-1].shape[-1]
    assert model(IMAGES).shape[-2:] == (2 * grid, 2 * grid)
    losses = model(IMAGES, mode='loss')
    assert set(losses) == {'loss_cosine', 'loss_mse'}
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.neck.parameters())
    assert any(p.grad.any() for p in model.neck.parameters())


def test_the_target_is_the_crop_at_the_place_of_the_window(monkeypatch):
    """An upsampler that looks the enlarged crop up has no loss."""
    model = build()
    coarse = model.backbone.maps(IMAGES)[-1]
    fine = torch.nn.functional.interpolate(IMAGES, scale_factor=2)

    def maps(images):
        if torch.equal(images, IMAGES):
            return [coarse]
        return [torch.nn.functional.avg_pool2d(images, images.shape[-1] // side)]

    side = coarse.shape[-1]
    exact = torch.nn.functional.avg_pool2d(fine, fine.shape[-1] // (2 * side))
    monkeypatch.setattr(model.backbone, 'maps', maps)
    monkeypatch.setattr(model.neck, 'upsample', lambda *_: exact)
    losses = model(IMAGES, mode='loss')
    assert sum(losses.values()) < 0.02


def test_bad_input():
    with pytest.raises(ValueError, match='scale has to be at least 2'):
        build(scale=1)
    with pytest.raises(ValueError, match="cannot 'predict'"):
        build()(IMAGES, mode='predict')
    with pytest.raises(ValueError, match='change size or scale'):
        build(scale=3)(IMAGES, mode='loss')
