"""A tiny segmentor whose text vectors come from a file."""

import pytest
import torch
from mmseg.registry import MODELS

from tests.tiny import PIXELS, config, talk2dino

NAMES = [f'thing {i}' for i in range(12)]


@pytest.fixture
def build_segmentor(tmp_path):
    """Builds a Talk2DINO without PAMR; arguments replace parts of its config."""

    def build(**parts):
        torch.manual_seed(3)
        defaults = dict(
            data_preprocessor=dict(PIXELS, size=(56, 56)),
            backbone=dict(talk2dino()['backbone'], layer_scale=None),
            postprocessors=[],
        )
        cfg = config(talk2dino, tmp_path, NAMES, **{**defaults, **parts})
        model = MODELS.build(cfg.model)
        model.init_weights()
        return model.eval()

    return build
