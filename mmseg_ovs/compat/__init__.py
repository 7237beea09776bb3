"""Compatibility with the host libraries, installed when mmseg_ovs is imported."""

from .mmcv_ext import install_mmcv_ext
from .safe_checkpoint import allow_mmengine_checkpoints


def install_compat() -> None:
    """Install every compatibility measure; safe to call more than once."""
    install_mmcv_ext()
    allow_mmengine_checkpoints()


__all__ = ['allow_mmengine_checkpoints', 'install_compat', 'install_mmcv_ext']
