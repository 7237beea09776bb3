"""Post-processors: each image by itself; PAMR against the plain way."""

import pytest
import torch

from mmseg_ovs.models.postprocessors import PAMR, BackgroundCleaning
from mmseg_ovs.models.postprocessors.base import ImagePostProcessor
from mmseg_ovs.structures import VisualFeatures
from tests.models.module_tester import BOTH, ModuleTester
from tests.tiny import POSTPROCESSORS, make
from tests.tool_loader import load_tool

plain_pamr = load_tool('tools/speed/plain_pamr.py').plain_pamr


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
    with pytest.raises(ValueError, match="'window', 'image', 'output'"):
        PAMR(stage='grid')
