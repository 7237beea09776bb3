"""Backbones: DINOv2 and DINOv3 on one ViT trunk."""

from .dinov2 import DINOv2
from .dinov3 import DINOv3
from .vision_transformer import VisionTransformer

__all__ = ['DINOv2', 'DINOv3', 'VisionTransformer']
