"""From results to what the page shows and offers."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_ovs.apis import ImageSource, Prediction
from mmseg_ovs.demo.overlay import make_view
from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.visualization.sheet import LARGEST_PANEL

PALETTE = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]], np.uint8)


def predict(labels, scores=None, name='photos/a b.jpg', classes=('a', 'b', 'c', 'd')):
    sample = SegDataSample(pred_sem_seg=PixelData(data=torch.tensor(labels)[None]))
    if scores is not None:
        sample.seg_logits = PixelData(data=torch.tensor(scores))
    image = np.full((*labels.shape, 3), 7, np.uint8)
    source, vocabulary = ImageSource(name, image), Vocabulary.build(list(classes))
    return Prediction(source, vocabulary, PALETTE, image, sample)


def pixels(view):
    planes = np.frombuffer(
        gzip.decompress(Path(view['pixels']['path']).read_bytes()), '<u2'
    )
    return planes.reshape(-1, view['height'], view['width'])


def test_classes_present_the_largest_first(tmp_path):
    labels = np.array([[0, 2, 2, 2], [0, 2, 2, 3]])
    view = make_view(predict(labels, classes=['background', 'b', 'c', 'd']), tmp_path)
    assert json.loads(json.dumps(view['classes'])) == [
        dict(label=2, name='c', share=0.625, colour=[7, 8, 9], clear=False),
        dict(label=0, name='background', share=0.25, colour=[1, 2, 3], clear=True),
        dict(label=3, name='d', share=0.125, colour=[10, 11, 12], clear=False),
    ]
    assert (pixels(view) == labels).all() and view['score_range'] is None


def test_the_score_of_each_pixel_is_that_of_its_label(tmp_path):
    labels = np.arange(8).reshape(2, 4) % 3
    scores = np.random.default_rng(0).normal(size=(4, 2, 4)).astype(np.float32)
    view = make_view(predict(labels, scores), tmp_path)
    (low, high), (shown, steps) = view['score_range'], pixels(view)
    own = np.take_along_axis(scores, labels[None], 0)[0]
    assert (shown == labels).all()
    assert np.allclose(low + (high - low) * steps / 65535, own, atol=1e-4)
    equal = make_view(predict(labels, np.ones_like(scores)), tmp_path)
    assert equal['score_range'] == [1, 1]


def test_large_images_are_shown_smaller_with_the_true_shares(tmp_path):
    labels = np.zeros((100, 4 * LARGEST_PANEL), np.int64)
    labels[:, 3::4] = 1
    labels[0, 0] = 2
    view = make_view(predict(labels), tmp_path)
    assert pixels(view).shape == (1, 25, LARGEST_PANEL)
    assert Image.open(view['photo']['path']).size == (LARGEST_PANEL, 25)
    assert [entry['share'] for entry in view['classes']] == pytest.approx(
        [0.75, 0.25, 0], abs=1e-4
    )


def test_files(tmp_path):
    labels = np.array([[0, 2, 2, 2], [0, 2, 2, 3]])
    scores = np.arange(32, dtype=np.float32).reshape(4, 2, 4)
    view = make_view(predict(labels, scores), tmp_path)
    names = [view[kind]['orig_name'] for kind in ('mask', 'overlay', 'scores')]
    assert names == ['a_b-mask.png', 'a_b-overlay.jpg', 'a_b-scores.npz']
    assert (np.array(Image.open(view['mask']['path'])) == labels).all()
    assert Image.open(view['overlay']['path']).size == (4, 2)
    with np.load(view['scores']['path']) as content:
        assert (content['scores'] == scores).all()
        assert content['names'].tolist() == ['a', 'b', 'c', 'd']
    assert 'scores' not in make_view(predict(labels), tmp_path)


@pytest.mark.parametrize(
    'name', ['..', '../..', 'x' * 300, '日' * 300, 'a\0b.png', '/etc/passwd']
)
def test_the_name_of_an_upload_cannot_leave_the_folder(tmp_path, name):
    view = make_view(predict(np.zeros((2, 2), np.int64), name=name), tmp_path)
    mask = Path(view['mask']['path'])
    assert mask.parent == tmp_path and mask.is_file()
