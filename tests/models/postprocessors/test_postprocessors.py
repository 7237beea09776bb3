"""Post-processors: each image by itself; PAMR against the plain way."""

import pytest
import torch

from mmseg_ovs.models.necks import CorrelationPooling
from mmseg_ovs.models.postprocessors import (
    PAMR,
    BackgroundCleaning,
    PixelPropagation,
    UncertainBackground,
    pixel_propagation,
)
from mmseg_ovs.models.postprocessors.base import ImagePostProcessor
from mmseg_ovs.models.postprocessors.pixel_propagation import rgb_to_lab
from mmseg_ovs.structures import VisualFeatures
from tests.models.module_tester import BOTH, ModuleTester, check_same_weights
from tests.tiny import POSTPROCESSORS, make
from tests.tool_loader import load_tool

plain_pamr = load_tool('tools/speed/plain_pamr.py').plain_pamr
plain_propagation = load_tool('tools/speed/plain_label_propagation.py')


def scores_and_features(batch=BOTH):
    draw = torch.Generator().manual_seed(1)
    shapes = [(6, 8, 10), (16, 8, 10), (2, 8, 10), (3, 8, 10)]
    scale = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)  # two ranges of values
    scores, maps, attention, image = (
        (scale * torch.rand(2, *shape, generator=draw))[batch] for shape in shapes
    )
    return scores, VisualFeatures((maps,), cls_attention=attention, image=85 * image)


class TestPostProcessors(ModuleTester):
    CONFIGS = POSTPROCESSORS

    def run(self, module, batch=BOTH):
        scores, features = scores_and_features(batch)
        if isinstance(module, ImagePostProcessor):
            images = zip(scores, features.image, strict=True)
            return [
                torch.stack([module.refine(s, module.prepare(i)) for s, i in images])
            ]
        text = torch.randn(6, 16, generator=torch.Generator().manual_seed(2))
        return [module(scores, features, text)]

    def test_scores_change(self, cfg):
        (refined,) = self.run(make(cfg))
        scores, _ = scores_and_features()
        assert refined.shape == scores.shape
        assert not torch.allclose(refined, scores)


def test_cleaning_needs_the_attention():
    scores, features = scores_and_features()
    features = features._replace(cls_attention=None)
    with pytest.raises(ValueError, match="extra_outputs=\\('cls_attention',\\)"):
        BackgroundCleaning()(scores, features, torch.randn(6, 16))


@pytest.mark.parametrize('dilations', [(1,), (1, 2, 4, 8, 12, 24)])
def test_plain_way(dilations):
    image = 255 * torch.rand(3, 33, 20)
    scores = torch.rand(5, 33, 20)
    pamr = PAMR(num_iter=4, dilations=dilations, class_chunk=2)
    refined = pamr.refine(scores, pamr.prepare(image))
    expected = plain_pamr(image, scores, dilations, 4)
    torch.testing.assert_close(refined, expected, rtol=1e-5, atol=1e-6)


def test_chunks_change_nothing():
    image, scores = 255 * torch.rand(3, 16, 16), torch.rand(7, 16, 16)
    prepared = PAMR().prepare(image)
    whole = PAMR(class_chunk=7).refine(scores, prepared)
    for chunk in (1, 3):
        refined = PAMR(class_chunk=chunk).refine(scores, prepared)
        torch.testing.assert_close(refined, whole, rtol=1e-6, atol=1e-7)


def test_unknown_stage():
    with pytest.raises(ValueError, match="'grid', 'window', 'image', 'output'"):
        PAMR(stage='grids')


@torch.no_grad()
def test_uncertain_places_of_no_object_are_background():
    processor = make(POSTPROCESSORS['uncertain background'])
    scores, features = scores_and_features()
    scores = (8 * scores).softmax(dim=1)
    scores[0, :, 0] = torch.tensor([0.0, 0.995, 0.005, 0, 0, 0])[:, None]
    out = processor(scores, features, torch.randn(6, 16))
    assert torch.equal(out[:, 1:], scores[:, 1:])
    weight = processor.bkg_decoder.weight.flatten()
    changed = 0
    for image in range(2):
        for place in range(80):
            patch = features.maps[0][image].flatten(1)[:, place]
            logit = weight @ patch / patch.norm() + processor.bkg_decoder.bias
            before, after = (x[image].flatten(1)[:, place] for x in (scores, out))
            empty = before.max() < 0.99 and logit <= 0
            assert after[0] == (1 if empty else before[0])
            changed += bool(empty)
    assert 0 < changed < 150 and torch.equal(out[0, :, 0], scores[0, :, 0])


def test_uncertain_background_without_its_map():
    processor = make(POSTPROCESSORS['uncertain background'], in_channels=9)
    scores, features = scores_and_features()
    with pytest.raises(ValueError, match=r'9 channels .* \(8, 10\), but it is \(16, 8'):
        processor(scores, features, torch.randn(6, 16))


def test_uncertain_background_and_its_neck_share_a_file(tmp_path):
    processor, path = UncertainBackground(), tmp_path / 'last.pt'
    both = {**CorrelationPooling().state_dict(), **processor.state_dict()}
    torch.save(dict(epoch=99, model_state_dict=both), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    loaded = UncertainBackground(init_cfg=init_cfg)
    loaded.init_weights()
    check_same_weights(loaded, processor)


@pytest.mark.parametrize('size', [(9, 12), (1, 4), (2, 2)])
def test_pixels_the_plain_way(size):
    """Also images smaller than the square of neighbours, in which names rest apart."""
    draw = torch.Generator().manual_seed(5)
    image = 255 * torch.rand(3, *size, generator=draw)
    image[:, :, 1:3] = 200.0  # equal colours
    scores = torch.rand(5, *size, generator=draw)
    spread = PixelPropagation(window=7, tau=0.2, class_chunk=2)
    refined = spread.refine(scores, spread.prepare(image))
    lab = rgb_to_lab(image.flatten(1) / 255).view_as(image)
    lab /= torch.tensor([100, 128, 128]).view(3, 1, 1)
    weights = plain_propagation.pixel_weights(lab, 7, 0.2)
    expected = plain_propagation.propagate(weights, scores.flatten(1)).float()
    torch.testing.assert_close(refined.flatten(1), expected, rtol=1e-4, atol=1e-4)


def test_bands_change_nothing(monkeypatch):
    draw = torch.Generator().manual_seed(5)
    image, scores = (255 * torch.rand(3, 9, 12, generator=draw), torch.rand(2, 9, 12))
    spread = PixelPropagation(window=5, tau=0.2)
    expected = spread.refine(scores, spread.prepare(image))
    monkeypatch.setattr(pixel_propagation, '_BAND_PIXELS', 7)
    refined = spread.refine(scores, spread.prepare(image))
    torch.testing.assert_close(refined, expected)


def test_lab_of_known_colours():
    """Values of the CIE's formulas for D65."""
    colours = torch.tensor(
        [[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 128 / 255, 0]]
    )
    expected = torch.tensor(
        [
            [100.0, 0, 0],
            [0, 0, 0],
            [53.24, 80.09, 67.20],
            [32.30, 79.19, -107.86],
            [46.23, -51.70, 49.90],
        ]
    )
    torch.testing.assert_close(rgb_to_lab(colours.T).T, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        (dict(window=4), 'odd and at least 3'),
        (dict(tau=0), 'tau has to be positive'),
        (dict(alpha=1.0), 'between 0 and 1'),
        (dict(iterations=0), 'at least 1'),
    ],
)
def test_settings_of_pixel_propagation(setting, message):
    with pytest.raises(ValueError, match=message):
        PixelPropagation(**setting)
