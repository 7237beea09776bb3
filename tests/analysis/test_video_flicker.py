"""Moving shapes, and the table of strategies over them."""

import numpy as np
import pytest

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.datasets.shapes import CLASSES, compose_scene, render_scene
from mmseg_ovs.datasets.shapes_video import render_video
from tests.tiny import config, talk2dino
from tests.tool_loader import load_tool


def test_things_move_over_ground_that_stays():
    frames = list(render_video(0, 'val', 3, 40))
    again = list(render_video(0, 'val', 3, 40))
    assert all(
        np.array_equal(a.image, b.image) for a, b in zip(frames, again, strict=True)
    )
    image, labels = render_scene(compose_scene(0, 'val', 3))
    assert np.array_equal(frames[0].clean, image)
    assert np.array_equal(frames[0].labels, labels)
    differ = [(frame.labels != labels).mean() for frame in frames]
    assert 0 < differ[1] < 0.2 < differ[20]
    things = {*np.unique(labels)} - {255}
    assert things <= {*np.unique(frames[39].labels)}  # none leaves the picture
    noise = frames[5].image.astype(float) - frames[5].clean
    assert 10 < noise.std() < 20
    plain = next(render_video(0, 'val', 3, 1, noise=0, flicker=0))
    assert np.array_equal(plain.image, plain.clean)


def test_the_table(tmp_path):
    tool = load_tool('tools/analysis/video_flicker.py')
    cfg = config(talk2dino, tmp_path, CLASSES, test_cfg=dict(mode='whole'))
    inferencer = OpenVocabInferencer(cfg, device='cpu', allow_random=True)
    miou, right, flicker, seconds, temporal = tool.evaluate(
        inferencer, 'propagate', 'val', seed=0, videos=1, frames=2
    )
    assert 0 <= miou <= 100 and 0 <= right <= 100 and 0 <= flicker <= 100
    assert seconds > temporal > 0
    assert tool.evaluate(inferencer, 'none', 'val', 0, 1, 2)[4] == pytest.approx(0)
