"""The demonstration runs whole, at a size that teaches the model nothing."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
from PIL import Image

from tests.tool_loader import run_tool

PANEL = 400  # side of an enlarged image
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def demo(tmp_path_factory):
    """Output folder and printed text of one run."""
    folder = tmp_path_factory.mktemp('demo')
    with redirect_stdout(io.StringIO()) as printed:
        run_tool(
            *('tools/demo.py', '--iters', 3, '--sizes', 16, 1, 6),
            *('--images', 2, '--controls', 'all'),
            *('--data-root', folder / 'data', '--out', folder / 'out'),
        )
    return folder / 'out', printed.getvalue()


def test_scores_of_model_and_controls(demo):
    out, printed = demo
    results = json.loads((out / 'results.json').read_text())
    scores = results['scores']
    assert list(scores) == [
        *('model', 'names shuffled', 'random vectors'),
        *('colour', 'colour, classes known', 'ceiling'),
    ]
    for name, row in scores.items():
        assert 0 <= row['mIoU_unseen'] <= 100, name
    # what follows from the images alone
    assert scores['ceiling']['mIoU'] > 85
    assert scores['colour, classes known']['mIoU'] > scores['colour']['mIoU'] > 0
    assert scores['ceiling']['mIoU'] > scores['colour, classes known']['mIoU']
    assert (out / 'table.txt').read_text().strip() in printed
    assert 'unseen things   |      8 |' in printed
    assert min(results['seconds'].values()) >= 0


def test_predictions_are_drawn(demo):
    out, _ = demo
    images = sorted((out / 'predictions').iterdir())
    assert [path.name for path in images] == ['00000.png', '00001.png']
    drawn = np.array(Image.open(images[0]))
    height, width = drawn.shape[:2]
    assert width > 3 * PANEL and height > PANEL  # three panels over a legend
    assert drawn.std() > 10


def test_every_stage_is_announced(demo):
    _, printed = demo
    stages = [line[4:] for line in printed.splitlines() if line.startswith('==> ')]
    assert len(stages) == 6
    summary = printed[printed.index('ceiling  ') :]
    assert all(stage in summary for stage in stages)
    assert '3/3 iterations' in printed
