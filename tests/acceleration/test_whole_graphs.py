"""The forward of a method is one graph: nothing in it is decided by values."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.models.segmentors import test_open_vocab_san as san
from tests.properties.test_device import MORE, pixelclip
from tests.tiny import (
    NAMES,
    SYSTEMS,
    build,
    cat_seg,
    clip_dinoiser,
    dinotxt,
    dinov3_seg,
    groupvit,
    lposs,
    naclip,
    ovs_dino,
    proxyclip,
    talk2dino,
    tcl,
)

# Method and the side of an image.
WHOLE = {
    talk2dino: 28,
    ovs_dino: 28,
    dinotxt: 32,
    cat_seg: 32,
    dinov3_seg: 32,
    naclip: 32,
    tcl: 32,
    clip_dinoiser: 32,
    groupvit: 40,
    lposs: 32,
    pixelclip: 32,
    proxyclip: 32,
}


def check(forward, *inputs):
    """The first call may load what the compiled ones need (ProxyCLIP's network)."""
    expected = forward(*inputs)
    graphs = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(forward, backend=graphs, fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(*inputs), expected)
    assert graphs.frame_count == 1


@pytest.mark.parametrize('system', WHOLE, ids=lambda system: system.__name__)
@torch.no_grad()
def test_a_forward_is_one_graph(system, tmp_path, monkeypatch):
    def forward(image, text):
        return model.run_head(model.extract_feat(image), text)

    monkeypatch.setitem(SYSTEMS, pixelclip, MORE[pixelclip])
    model = build(system, tmp_path)
    text = model.project_vocabulary(NAMES[:3])  # two chunks of classes
    check(forward, torch.randn(1, 3, WHOLE[system], WHOLE[system]), text)


@torch.no_grad()
def test_san_finds_masks_in_one_graph():
    def forward(image, text):
        (found,) = model.find_masks(image, text)
        return found.logits, found.text

    model = san.spread(san.build(vocabulary=NAMES))
    check(forward, torch.randn(1, 3, 64, 64), model.project_vocabulary(NAMES[:3]))
