"""Parity of our modules with the authors' code, from golden files."""

from pathlib import Path

import torch

from .anyup import run_anyup
from .catseg import run_clip, run_sliding_window
from .clip_dinoiser import run_dinoiser
from .clip_protocol import run_protocol
from .clip_variants import run_dense, run_tower
from .cost_aggregation import (
    run_aggregator,
    run_class_block,
    run_decoder_stage,
    run_spatial_block,
)
from .dino import run_backbone
from .dinotxt import run_dinotxt
from .golden import Comparison, Golden, GoldenFileError, compare
from .groupvit import run_groupvit
from .lposs import run_lposs
from .pixelclip import run_pixelclip
from .sam import run_image_encoder
from .san import run_san
from .talk2dino import run_pamr, run_projection, run_segmentation
from .tcl import run_tcl

# Counterparts by component and the last part of the official constructor's name.
RUNNERS = {
    ('anyup', 'AnyUp'): run_anyup,
    ('catseg', 'Aggregator'): run_aggregator,
    ('catseg', 'CLIP'): run_clip,
    ('catseg', 'ClassTransformerLayer'): run_class_block,
    ('catseg', 'SwinTransformerBlockWrapper'): run_spatial_block,
    ('catseg', 'Up'): run_decoder_stage,
    ('catseg', 'inference_sliding_window'): run_sliding_window,
    ('clip_dinoiser', 'CLIP_DINOiser'): run_dinoiser,
    ('clip_protocol', 'CLIPForSegmentation'): run_protocol,
    ('clip_protocol', 'NACLIP'): run_protocol,
    ('clip_variants', 'MaskClip'): run_dense,
    ('clip_variants', 'VisionTransformer'): run_tower,
    ('dinotxt', 'DINOTxt'): run_dinotxt,
    ('dinotxt', 'DinoTxt'): run_dinotxt,
    ('dinov2', 'DinoVisionTransformer'): run_backbone,
    ('dinov3', 'DinoVisionTransformer'): run_backbone,
    ('groupvit', 'GroupViTModel'): run_groupvit,
    ('groupvit', 'MultiLabelContrastive'): run_groupvit,
    ('pixelclip', 'PixelCLIP'): run_pixelclip,
    ('lposs', 'slide_inference'): run_lposs,
    ('sam', 'ImageEncoderViT'): run_image_encoder,
    ('san', 'mmseg MultimodalEncoderDecoder'): run_san,
    ('talk2dino', 'PAMR'): run_pamr,
    ('talk2dino', 'from_config'): run_projection,
    ('talk2dino', ''): run_segmentation,
    ('tcl', 'TCL'): run_tcl,
}


@torch.no_grad()
def check(path: str | Path, weights_dir: str | Path | None = None) -> Comparison:
    """Build our counterpart of a golden file, run it and compare every output.

    Args:
        path: Golden file.
        weights_dir: Folder of published weights for files that hold none; by default
            the folder ``weights`` beside the folder of the file.

    Raises:
        GoldenFileError: The file is unreadable or of an unknown component.
    """
    golden = Golden.read(path, weights_dir)
    component = golden.config.get('component')
    name = str(golden.constructor.get('cls', ''))
    if (component, name.split('.')[-1]) not in RUNNERS:
        raise GoldenFileError(
            f'{path}: no counterpart for component {component!r} '
            f'({name or "no constructor"})'
        )
    return compare(golden, RUNNERS[component, name.split('.')[-1]](golden))


__all__ = ['Comparison', 'Golden', 'GoldenFileError', 'check', 'compare']
