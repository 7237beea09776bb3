"""Safetensors files that are the same bytes for the same content."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor


def tensor_file(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file whose metadata are sorted by name.

    The library writes them in an order that differs from run to run.

    Args:
        tensors: By name; contiguous, on the CPU.
        metadata: Strings by name.
    """
    content = save(dict(tensors))
    (length,) = struct.unpack('<Q', content[:8])
    header = json.loads(content[8 : 8 + length])
    header = {'__metadata__': dict(sorted(metadata.items())), **header}
    text = json.dumps(header, ensure_ascii=False, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)  # the data begin at a multiple of 8
    return struct.pack('<Q', len(text)) + text + content[8 + length :]
