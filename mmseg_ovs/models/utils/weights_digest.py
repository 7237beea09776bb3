"""Digest of the weights of modules, to know later what features were made with."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def weights_digest(*modules: nn.Module) -> str:
    """SHA-256 of all parameters and buffers, those that are not saved included."""
    digest = hashlib.sha256()
    for module in modules:
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            digest.update(f'{name} {value.dtype} {tuple(value.shape)}'.encode())
            data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            digest.update(data.numpy())
    return digest.hexdigest()
