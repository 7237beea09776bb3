"""A tiny model and the images that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config

WORDS = ('red disc', 'blue bar', 'sand')


def tiny_config(**test_cfg) -> Config:
    """ViT and text tower of a few thousand weights, pipeline with labels."""
    return Config(
        dict(
            default_scope='mmseg',
            model=dict(
                type='OpenVocabSegmentor',
                data_preprocessor=dict(
                    type='OpenVocabDataPreProcessor',
                    mean=[127.5] * 3,
                    std=[64.0] * 3,
                    bgr_to_rgb=True,
                ),
                backbone=dict(
                    type='DINOv3',
                    arch=dict(embed_dims=24, depth=2, num_heads=2, feed_forward='mlp'),
                    num_registers=0,
                    patch_size=8,
                    layer_scale=None,
                ),
                text_encoder=dict(
                    type='OpenCLIPTextEncoder',
                    model=dict(
                        embed_dim=24,
                        text_cfg=dict(context_length=16, width=16, heads=2, layers=1),
                    ),
                    templates='identity',
                ),
                decode_head=dict(
                    type='TextSimilarityHead', in_channels=24, text_channels=24
                ),
                test_cfg=test_cfg or dict(mode='whole'),
            ),
            test_dataloader=dict(
                dataset=dict(
                    type='BaseSegDataset',
                    pipeline=[
                        dict(type='LoadImageFromFile'),
                        dict(type='LoadAnnotations'),
                        dict(type='PackSegInputs'),
                    ],
                )
            ),
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
