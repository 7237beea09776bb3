"""A tiny model and the images that the tests of this folder share."""

import copy
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

from tests.tiny import BACKBONES, HEADS, PIXELS, TEXT_ENCODERS

WORDS = ('red disc', 'blue bar', 'sand')
COLOURS = [[200, 30, 30], [40, 40, 220], [220, 200, 120]]  # of the training data


def tiny_config(**test_cfg) -> Config:
    """DINOv3 with a text tower of its own, and a pipeline with labels."""
    model = dict(
        type='OpenVocabSegmentor',
        data_preprocessor=PIXELS,
        backbone=dict(BACKBONES['DINOv3'], num_registers=0, layer_scale=None),
        text_encoder=dict(TEXT_ENCODERS['open_clip'], templates='identity'),
        decode_head=HEADS['text similarity'],
        test_cfg=test_cfg or dict(mode='whole'),
    )
    steps = ('LoadImageFromFile', 'LoadAnnotations', 'PackSegInputs')
    data = dict(type='BaseSegDataset', pipeline=[dict(type=step) for step in steps])
    return Config(
        dict(
            default_scope='mmseg',
            model=copy.deepcopy(model),
            test_dataloader=dict(dataset=data),
        )
    )


def make_image(height: int = 40, width: int = 56, seed: int = 0) -> np.ndarray:
    """Blocks of colour, uint8 BGR."""
    blocks = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(blocks, (width, height), interpolation=cv2.INTER_NEAREST)


def write_clip(
    path: Path, frames: int, codec: str = 'mp4v', size: tuple[int, int] = (40, 56)
) -> Path:
    """A video of ``frames`` images, five a second."""
    fourcc = cv2.VideoWriter_fourcc(*codec)
    writer = cv2.VideoWriter(str(path), fourcc, 5, size[::-1])
    for seed in range(frames):
        writer.write(make_image(*size, seed=seed))
    writer.release()
    return path
