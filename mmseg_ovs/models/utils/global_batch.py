"""What a loss needs to be that of the whole batch when processes hold parts of it.

DDP and FSDP average the gradients of the processes. That is the gradient of the whole
batch only for a loss that is a mean over parts of equal size. These functions
correct the others. With one process they change nothing.
"""

from __future__ import annotations

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor, nn


def gather_batch(x: Tensor) -> Tensor:
    """Rows of all processes, in the order of their ranks.

    For a loss between samples, which *every* process computes of all rows: the average
    of the processes' gradients is then the gradient of that loss.

    Args:
        x: (B, ...), of the same shape on every process.

    Returns:
        (processes x B, ...), with a gradient for the own rows.
    """
    return x if get_world_size() == 1 else _GatherBatch.apply(x)


class _GatherBatch(torch.autograd.Function):
    """All rows forward; backward the own ones, as if the processes' losses were one."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.rows = slice(get_rank() * len(x), (get_rank() + 1) * len(x))
        return torch.cat(all_gather(x.contiguous()))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        # The others' rows get theirs there; averaging divides by the processes.
        return gradient[ctx.rows] * get_world_size()


def loss_of_batch(
    loss: nn.Module, logits: Tensor, targets: Tensor, ignore_index: int
) -> Tensor:
    """A loss of MMSegmentation as this process's part of that of the whole batch.

    A process with more valid pixels (if the loss is an average over those,
    ``avg_non_ignore``) or with more rows than others weighs more.

    Args:
        loss: A loss that averages over its rows.
        logits: (B, ...).
        targets: (B, ...).
        ignore_index: Target of pixels that do not count.
    """
    value = loss(logits, targets, ignore_index=ignore_index)
    if get_world_size() == 1:
        return value
    valid = len(targets)
    if getattr(loss, 'avg_non_ignore', False):
        valid = int((targets != ignore_index).sum())
    average = torch.tensor(float(valid), dtype=torch.float64, device=value.device)
    all_reduce(average, 'mean')
    return value * (valid / float(average)) if average else value


def weighted_loss_of_batch(
    loss: nn.Module,
    logits: Tensor,
    targets: Tensor,
    ignore_index: int,
    weights: Tensor,
) -> Tensor:
    """The weighted mean of a loss over its rows, each evaluated by itself.

    A process whose weights sum to more than those of others weighs more.

    Args:
        loss: A loss that averages over its rows.
        logits: (B, ...).
        targets: (B, ...).
        ignore_index: Target of pixels that do not count.
        weights: (B,), at least 0. If all are 0, so is the loss.
    """
    weights = weights.to(logits)
    rows = [
        loss(x[None], y[None], ignore_index=ignore_index)
        for x, y in zip(logits, targets, strict=True)
    ]
    total = weights.sum()
    if get_world_size() > 1:
        all_reduce(total, 'mean')
    tiny = torch.finfo(total.dtype).tiny
    return (torch.stack(rows) * weights).sum() / total.clamp(min=tiny)


def in_any_process(flags: Tensor, device: torch.device) -> Tensor:
    """Flags (N,), bool, on the CPU, that are set in any process.

    Args:
        flags: Of this process, on the CPU.
        device: Where processes exchange tensors.
    """
    if get_world_size() == 1:
        return flags
    counts = flags.to(device, torch.int32)
    all_reduce(counts, 'max')
    return counts.cpu().bool()
