"""A model that knows six colours by name: its answers are known beforehand."""

import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.models.text_encoders import save_embeddings

COLOURS = {
    'red': (255, 0, 0),
    'crimson': (220, 20, 60),
    'green': (0, 255, 0),
    'blue': (0, 0, 255),
    'yellow': (255, 255, 0),
    'grey': (140, 140, 140),
}


@MODELS.register_module()
class ColourPatches(BaseModule):
    """Features are the mean colours of patches of 4 x 4.

    Args:
        pause: Seconds that it takes, in which other threads run.
    """

    def __init__(self, pause: float = 0) -> None:
        super().__init__()
        self.pause = pause

    def forward(self, inputs: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) to a tuple of (B, 3, H / 4, W / 4)."""
        time.sleep(self.pause)
        return (F.avg_pool2d(inputs, 4),)


def write_config(folder: Path, rest: str = '', **model) -> Path:
    """A config file of the model and the rest, with the vectors beside it."""
    vectors = torch.tensor(list(COLOURS.values())).float() - 127.5
    save_embeddings(folder / 'colours.safetensors', list(COLOURS), vectors)
    parts = dict(
        type='OpenVocabSegmentor',
        data_preprocessor=dict(
            type='OpenVocabDataPreProcessor',
            mean=[127.5] * 3,
            std=[127.5] * 3,
            bgr_to_rgb=True,
        ),
        backbone=dict(type='ColourPatches'),
        text_encoder=dict(
            type='PrecomputedTextEncoder', path=str(folder / 'colours.safetensors')
        ),
        decode_head=dict(type='TextSimilarityHead', in_channels=3, text_channels=3),
        test_cfg=dict(mode='whole'),
    )
    path = folder / f'colours{len(list(folder.glob("*.py")))}.py'
    path.write_text(
        "default_scope = 'mmseg'\n"
        "custom_imports = dict(imports=['mmseg_ovs', 'colour_model'])\n"
        f'model = {parts | model!r}\n{rest}\n'
    )
    return path


def stripes(*names: str, height: int = 32, width: int = 24) -> np.ndarray:
    """Upright stripes of colours, each ``width`` wide, uint8 RGB."""
    row = np.repeat(np.array([COLOURS[n] for n in names], np.uint8), width, axis=0)
    return np.broadcast_to(row, (height, *row.shape)).copy()
