"""Read checkpoints of addresses as safely as files, each under a name of its own.

mmengine 0.10.7 leaves them to ``torch.hub``, which unpickles anything in them and takes
a file that it has of this name, whatever its address: ``pytorch_model.bin`` of one
model for that of another.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from filelock import FileLock
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import load_file


def read_address(url: str, map_location: Any = None, **unused: Any) -> dict[str, Any]:
    """Read a checkpoint, after a download if it is not there yet.

    It lies in the folder of ``torch.hub``; the processes of a machine download it once.

    Args:
        url: Address (http, https) of a safetensors or torch file.
        map_location: As for ``torch.load``.
        **unused: What mmengine's own loaders take.

    Raises:
        OSError: It cannot be downloaded.
        UnpicklingError: It holds more than tensors and plain values.
    """
    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir(), 'checkpoints')
    path = path / f'{sha256(url.encode()).hexdigest()[:12]}-{name}'
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f'{path}.lock'):
        if not path.is_file():
            print(f'Downloading {url} to {path}', flush=True)
            torch.hub.download_url_to_file(url, path)
    if path.suffix == '.safetensors':
        return load_file(path)
    return torch.load(path, map_location=map_location, weights_only=True)


def register_downloads() -> None:
    """Let mmengine read addresses in this way."""
    prefixes = ['http://', 'https://']
    CheckpointLoader.register_scheme(prefixes, read_address, force=True)
