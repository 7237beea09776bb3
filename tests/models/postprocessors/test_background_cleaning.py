"""Background cleaning: every window by itself."""

import pytest
import torch

from mmseg_ovs.models.postprocessors import BackgroundCleaning
from mmseg_ovs.structures.visual_features import VisualFeatures


def test_batch_equals_single_windows():
    """The authors' form is right for one image at a time; a batch has to be too."""
    maps, attention = torch.randn(3, 16, 4, 5), torch.randn(3, 2, 4, 5)
    scores, text = torch.rand(3, 6, 4, 5), torch.randn(6, 16)
    cleaning = BackgroundCleaning()
    together = cleaning(scores, VisualFeatures((maps,), cls_attention=attention), text)
    for i in range(3):
        one = VisualFeatures((maps[i : i + 1],), cls_attention=attention[i : i + 1])
        alone = cleaning(scores[i : i + 1], one, text)
        torch.testing.assert_close(together[i : i + 1], alone)
    assert not torch.allclose(together, scores)


def test_needs_the_attention():
    features = VisualFeatures((torch.randn(1, 16, 2, 2),))
    with pytest.raises(ValueError, match="extra_outputs=\\('cls_attention',\\)"):
        BackgroundCleaning()(torch.rand(1, 3, 2, 2), features, torch.randn(3, 16))
