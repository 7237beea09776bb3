"""What the backbones share: architecture tables, output indices, sides of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

FITS = ('pad', 'resize', 'crop', 'error')


def resolve_arch(arch: str | dict, archs: dict[str, dict]) -> dict:
    """Entry of an architecture table, or the caller's own dict of the same keys."""
    if isinstance(arch, dict):
        required = set.intersection(*map(set, archs.values()))
        if not required <= set(arch):
            raise ValueError(f'A custom arch needs {sorted(required)}, got {arch}')
        return dict(arch)
    if arch not in archs:
        raise ValueError(f'Unknown arch {arch!r}; known: {sorted(archs)} or a dict')
    return dict(archs[arch])


def resolve_out_indices(
    out_indices: int | Sequence[int], depth: int
) -> tuple[int, ...]:
    """Block indices counted from the start.

    Raises:
        ValueError: One of them names no block.
    """
    indices = [out_indices] if isinstance(out_indices, int) else list(out_indices)
    resolved = tuple(i + depth if i < 0 else i for i in indices)
    if any(not 0 <= i < depth for i in resolved):
        raise ValueError(
            f'out_indices {indices} do not name blocks of a ViT with {depth} '
            f'blocks; use 0..{depth - 1} or -{depth}..-1'
        )
    return resolved


def check_frozen_stages(frozen_stages: int, depth: int) -> int:
    """The argument of a backbone with so many blocks, or a ValueError."""
    if not -1 <= frozen_stages <= depth:
        raise ValueError(
            f'frozen_stages has to be in -1..{depth}, got {frozen_stages}: the '
            f'backbone has {depth} blocks'
        )
    return frozen_stages


def check_fit(fit: str) -> str:
    """The argument of :func:`fit_to_patches`, or a ValueError."""
    if fit not in FITS:
        raise ValueError(f'fit has to be one of {FITS}, got {fit!r}')
    return fit


def fit_to_patches(x: Tensor, size: int, fit: str) -> Tensor:
    """Bring the sides of images (B, 3, H, W) to multiples of the patch.

    Args:
        x: Images.
        size: Side of a patch in pixels.
        fit: Zero 'pad' at the right and bottom, 'resize' (bicubic, up to the next
            multiple, as dino.txt does), 'crop' the rest (as DINOv3's patch convolution
            does) or 'error' (as DINOv2 does).

    Raises:
        ValueError: The sides are no multiples under 'error', or nothing would be left
            under 'crop'.
    """
    height, width = x.shape[-2:]
    right, bottom = -width % size, -height % size
    if not right and not bottom:
        return x
    if fit == 'pad':
        return F.pad(x, (0, right, 0, bottom))
    if fit == 'resize':
        target = (height + bottom, width + right)
        return F.interpolate(x, size=target, mode='bicubic')
    if fit == 'error':
        raise ValueError(
            f'Image sides {height} x {width} are no multiples of the patch size '
            f"{size}; resize the image or build the backbone with fit='pad'"
        )
    if min(height, width) < size:
        raise ValueError(
            f'An image of {height} x {width} has a side smaller than one patch '
            f"({size}) and fit='crop' leaves no pixel; use fit='pad' or "
            "'resize', or a larger image"
        )
    return x[..., : height - height % size, : width - width % size]
