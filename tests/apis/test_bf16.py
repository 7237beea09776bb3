"""bfloat16: nearly the same labels, and float32 wherever scores are compared."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from tiny_model import WORDS, make_image, tiny_config

from mmseg_ovs.apis import OpenVocabInferencer, find_config
from tests.tool_loader import load_tool


@pytest.fixture(scope='module')
def images():
    return [make_image(112, 96, seed=seed) for seed in range(4)]


def both(cfg, checkpoint=None):
    torch.manual_seed(0)
    full = OpenVocabInferencer(cfg, checkpoint, 'cpu', allow_random=True)
    bf16 = OpenVocabInferencer(cfg, checkpoint, 'cpu', bf16=True, allow_random=True)
    bf16.model.load_state_dict(full.model.state_dict())
    return full, bf16


def changed(first, second):
    """Share of pixels whose label differs."""
    return np.mean(
        [(a.labels != b.labels).mean() for a, b in zip(first, second, strict=True)]
    )


def test_labels_hardly_change_and_scores_are_float32(checkpoint, images):
    full, bf16 = both(tiny_config(), checkpoint)
    a = full(images, WORDS, keep_scores=True)
    b = bf16(images, WORDS, keep_scores=True, batch_size=2)
    assert len(np.unique([result.labels for result in a])) > 1
    assert changed(a, b) < 0.03
    for exact, result in zip(a, b, strict=True):
        scores, rounded = exact.scores, result.scores
        assert rounded.dtype == np.float32
        assert 0 < np.abs(scores - rounded).max() < 0.05
        # Had the scores themselves been rounded to 8 bits, few would remain.
        assert len(np.unique(rounded)) > 0.9 * len(np.unique(scores))


def test_text_is_not_rounded(checkpoint):
    full, bf16 = both(tiny_config(), checkpoint)
    vectors = []
    for inferencer in (full, bf16):
        with torch.no_grad():
            vectors.append(inferencer.model.project_vocabulary(WORDS))
    assert torch.equal(*vectors)


def test_weights_stay_as_they_are(checkpoint):
    full, bf16 = both(tiny_config(), checkpoint)
    assert full.model.state_dict().keys() == bf16.model.state_dict().keys()
    assert {p.dtype for p in bf16.model.parameters()} == {torch.float32}


def with_anyup():
    cfg = tiny_config()
    cfg.model.neck = [
        dict(type='FPN', in_channels=[16], out_channels=16, num_outs=1),
        dict(type='AnyUp', qk_dim=16, num_heads=2, kernel_size_lfu=3),
    ]
    return cfg


def at_random(name):
    """A shipped config whose parts load nothing."""
    cfg = Config.fromfile(find_config(name))
    load_tool('tools/speed/chain.py').without_weights(cfg.model)
    return cfg


@pytest.mark.parametrize(
    'cfg',
    [
        with_anyup(),
        at_random('ovs-dino_tiny_shapes-112x112'),
        at_random('dinov3-seg_tiny_shapes-112x112'),
    ],
    ids=['anyup', 'ovs-dino', 'dinov3-seg'],
)
def test_necks_and_heads_run_in_it_too(images, cfg):
    full, bf16 = both(cfg)
    a = full(images[0], WORDS, keep_scores=True).scores
    b = bf16(images[0], WORDS, keep_scores=True).scores
    assert b.dtype == np.float32
    assert 0 < np.abs(a - b).max() < 0.1 * np.abs(a).max()
