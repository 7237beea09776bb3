"""Chunked resize and arg max give the labels of the plain way, bit by bit."""

import pytest
import torch
from mmseg.models.utils import resize

from mmseg_ovs.models.utils import RunningArgmax, resize_argmax


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('size', [(237, 253), (20, 31), (164, 240)])
@pytest.mark.parametrize('chunk_mb', [1e-6, 1, 100])
def test_bit_equal_to_resize_and_argmax(size, align_corners, chunk_mb):
    scores = torch.randn(13, 20, 31)
    scores[5] = scores[2]  # ties go to the first
    kwargs = dict(mode='bilinear', align_corners=align_corners, warning=False)
    expected = resize(scores[None], size, **kwargs)[0].max(dim=0)
    argmax = RunningArgmax(size, scores.device)
    resize_argmax(scores[:4], argmax, 0, align_corners, chunk_mb)
    resize_argmax(scores[4:], argmax, 4, align_corners, chunk_mb)
    assert torch.equal(argmax.index, expected.indices)
    assert torch.equal(argmax.best, expected.values)
