"""A tiny segmentor whose text vectors come from a file, and a named CLIP."""

import json

import open_clip
import pytest
import torch
from mmseg.registry import MODELS

from tests.tiny import CLIP_VISION, PIXELS, WIDTH, config, talk2dino

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


@pytest.fixture(scope='session')
def named_clip(tmp_path_factory):
    """A tiny CLIP that open_clip knows by name, also with ``-quickgelu``."""
    folder = tmp_path_factory.mktemp('open_clip')
    vision = dict(CLIP_VISION, width=64, head_width=64)
    text = dict(width=64, heads=1, layers=2)
    config = dict(embed_dim=WIDTH, vision_cfg=vision, text_cfg=text)
    quick = dict(config, quick_gelu=True)
    for name, content in [('tiny-clip', config), ('tiny-clip-quickgelu', quick)]:
        (folder / f'{name}.json').write_text(json.dumps(content))
        open_clip.add_model_config(folder / f'{name}.json')
    return 'tiny-clip'
