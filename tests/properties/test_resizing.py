"""Resize and arg max in chunks: the plain way, for any sizes."""

import torch
from examples import many
from hypothesis import given
from hypothesis import strategies as st
from mmseg.models.utils import resize

from mmseg_ovs.models.utils import RunningArgmax, resize_argmax

sides = st.integers(1, 90)
sizes = st.tuples(sides, sides)


@many
@given(
    rows=st.integers(1, 12),
    source=sizes,
    target=sizes,
    align_corners=st.booleans(),
    chunk_mb=st.floats(1e-6, 0.3),
    cut=st.integers(0, 12),
    seed=st.integers(0, 2**32 - 1),
    ties=st.booleans(),
)
def test_labels_are_those_of_the_plain_way(
    rows, source, target, align_corners, chunk_mb, cut, seed, ties
):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(rows, *source, generator=draw)
    if ties:
        scores = scores.round()
    argmax = RunningArgmax(target, scores.device)
    for start, part in ((0, scores[:cut]), (cut, scores[cut:])):
        resize_argmax(part, argmax, start, align_corners, chunk_mb)

    kwargs = dict(mode='bilinear', align_corners=align_corners, warning=False)
    # PyTorch has other kernels for several channels, which may differ in the last bit.
    plain = resize(scores[:, None], target, **kwargs)[:, 0]
    expected = plain.max(dim=0)
    assert torch.equal(argmax.best, expected.values)
    assert torch.equal(argmax.index, expected.indices)

    together = resize(scores[None], target, **kwargs)[0]
    best = together.max(dim=0)
    torch.testing.assert_close(argmax.best, best.values)
    chosen = together.gather(0, argmax.index[None])[0]
    torch.testing.assert_close(chosen, best.values)


@many
@given(size=sizes, value=st.floats(-1e3, 1e3, width=32), align_corners=st.booleans())
def test_a_constant_stays_what_it_is(size, value, align_corners):
    argmax = RunningArgmax(size, torch.device('cpu'))
    scores = torch.stack([torch.full((5, 7), value - 1), torch.full((5, 7), value)])
    resize_argmax(scores, argmax, 0, align_corners)
    assert argmax.index.eq(1).all()
    torch.testing.assert_close(argmax.best, torch.full(size, value))
