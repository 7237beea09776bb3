"""The forward of a method is one graph: nothing in it is decided by values."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.tiny import (
    NAMES,
    build,
    cat_seg,
    clip_dinoiser,
    dinotxt,
    dinov3_seg,
    groupvit,
    naclip,
    ovs_dino,
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
}


@pytest.mark.parametrize('system', WHOLE, ids=lambda system: system.__name__)
@torch.no_grad()
def test_a_forward_is_one_graph(system, tmp_path):
    def forward(image, text):
        return model.run_head(model.extract_feat(image), text)

    model = build(system, tmp_path)
    text = model.project_vocabulary(NAMES[:3])  # two chunks of classes
    image = torch.randn(1, 3, WHOLE[system], WHOLE[system])
    graphs = CompileCounter()
    torch._dynamo.reset()
    compiled = torch.compile(forward, backend=graphs, fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(image, text), forward(image, text))
    assert graphs.frame_count == 1
