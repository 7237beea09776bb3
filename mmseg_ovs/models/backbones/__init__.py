"""Backbones: DINOv2, DINOv3 and CLIP on one ViT trunk, the towers of SAM, GroupViT."""

from .clip import OpenCLIPImageEncoder
from .clip_last_block import LastBlockCfg
from .dinov2 import DINOv2
from .dinov3 import DINOv3
from .groupvit import GroupViTImageEncoder
from .proxy_clip import ProxyCLIPImageEncoder
from .sam import SAMImageEncoder
from .vision_transformer import VisionTransformer

__all__ = [
    'DINOv2',
    'DINOv3',
    'GroupViTImageEncoder',
    'LastBlockCfg',
    'OpenCLIPImageEncoder',
    'ProxyCLIPImageEncoder',
    'SAMImageEncoder',
    'VisionTransformer',
]
