"""Backbones: DINOv2 and DINOv3 on one ViT trunk, SAM's image encoder."""

from .dinov2 import DINOv2
from .dinov3 import DINOv3
from .sam import SAMImageEncoder
from .vision_transformer import VisionTransformer

__all__ = ['DINOv2', 'DINOv3', 'SAMImageEncoder', 'VisionTransformer']
