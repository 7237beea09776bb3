"""Compatibility with the host libraries, installed when mmseg_ovs is imported."""

from .host import require_host

require_host()  # before the imports below, which would fail without saying what to do

from .downloads import register_downloads  # noqa: E402
from .mmcv_ext import install_mmcv_ext  # noqa: E402
from .safe_checkpoint import allow_mmengine_checkpoints  # noqa: E402


def install_compat() -> None:
    """Install every compatibility measure; safe to call more than once."""
    install_mmcv_ext()
    allow_mmengine_checkpoints()
    register_downloads()


__all__ = [
    'allow_mmengine_checkpoints',
    'install_compat',
    'install_mmcv_ext',
    'register_downloads',
    'require_host',
]
