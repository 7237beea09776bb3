"""Which library multiplies faster on this processor, found by trying."""

from __future__ import annotations

import time
from functools import cache

import torch
from torch import nn

from mmseg_ovs.models.layers import Linear

# A layer of a ViT-B; a product takes some milliseconds on one core.
_TOKENS, _CHANNELS = 1024, 768
_ROUNDS = 8
# Where the two are about equal, noise would choose.
_LEAST_GAIN = 1.15


def choose_onednn(model: nn.Module) -> bool | None:
    """Whether a model had better multiply in oneDNN.

    The first call takes about 200 ms.

    Returns:
        None: the two are about equal, or the model is not on a CPU.
    """
    parameter = next(model.parameters(), None)
    if parameter is None or parameter.device.type != 'cpu':
        return None
    return onednn_is_faster(torch.get_num_threads())


@cache
@torch.no_grad()
def onednn_is_faster(threads: int) -> bool | None:
    """Time a linear layer in both libraries by turns; once for a number of threads.

    Args:
        threads: How many PyTorch uses now.

    Returns:
        None: the two are about equal.
    """
    # without drawing random numbers, of which a run may count on its own
    x = torch.linspace(-1, 1, _TOKENS * _CHANNELS).view(_TOKENS, _CHANNELS)
    layer = nn.utils.skip_init(Linear, _CHANNELS, _CHANNELS)
    nn.init.constant_(layer.weight, 0.5)
    nn.init.zeros_(layer.bias)
    # The best of several runs, in processor time of this thread, which has its share of
    # the work: what else runs, in other processes and threads, counts little.
    best = {False: float('inf'), True: float('inf')}
    with torch.autocast('cpu', enabled=False):
        for _ in range(_ROUNDS):
            for layer.onednn in best:
                start = time.thread_time()
                layer(x)
                seconds = time.thread_time() - start
                best[layer.onednn] = min(best[layer.onednn], seconds)
    slower, faster = sorted(best, key=best.get, reverse=True)
    return faster if best[slower] > _LEAST_GAIN * best[faster] else None
