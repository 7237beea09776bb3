"""Whether the running code is being written down as a graph."""

from __future__ import annotations

import torch


def is_exporting() -> bool:
    """Whether ``torch.export`` is tracing.

    A graph holds every pass of a loop and every write into a buffer as nodes of its
    own. What is done piece by piece to save memory or time is done at once then.
    """
    # torch.compiler has had it since torch 2.7
    return getattr(torch.compiler, 'is_exporting', bool)()
