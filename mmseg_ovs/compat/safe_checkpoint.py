"""Let ``torch.load(weights_only=True)`` read the checkpoints that mmengine writes.

mmengine 0.10.7 calls ``torch.load`` without ``weights_only``, which is True by default
from torch 2.6 on, and its checkpoints hold ``HistoryBuffer`` objects and numpy scalars
(open-mmlab/mmengine#1650). Those few types are allowed by name here; everything else
stays refused. ``HistoryBuffer`` pickles its statistics methods through
``builtins.getattr``, so a *guarded* getattr that resolves only those is registered.
"""

from __future__ import annotations

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.utils import digit_version
from numpy._core import multiarray


def _history_buffer_getattr(obj, name, *default):
    if obj is HistoryBuffer and name in HistoryBuffer._statistics_methods:
        return getattr(obj, name)
    raise TypeError(f'getattr({obj!r}, {name!r}) is refused in a checkpoint')


def allow_mmengine_checkpoints() -> None:
    """Allow the globals of mmengine's own checkpoints, and no others."""
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        return  # weights_only is False by default and names cannot be mapped
    HistoryBuffer()  # fills _statistics_methods
    allowed = [
        HistoryBuffer,
        np.ndarray,
        np.dtype,
        (_history_buffer_getattr, 'builtins.getattr'),
    ]
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        allowed.append((multiarray._reconstruct, f'{module}._reconstruct'))
        allowed.append((multiarray.scalar, f'{module}.scalar'))
    allowed += [type(np.dtype(code)) for code in ('f8', 'f4', 'i8', 'i4', 'u1', 'b1')]
    torch.serialization.add_safe_globals(allowed)
