"""Read checkpoints of addresses as safely as files, each under a name of its own.

mmengine 0.10.7 leaves them to ``torch.hub``, which unpickles anything in them and takes
a file that it has of this name, whatever its address: ``pytorch_model.bin`` of one
model for that of another. It has no ``hf://``.
"""

from __future__ import annotations

from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from safetensors.torch import load_file


def read_address(url: str, map_location: Any = None, **unused: Any) -> dict[str, Any]:
    """Read a checkpoint, after a download if it is not there yet.

    Args:
        url: Address of a safetensors or torch file: ``https://host/file``, perhaps with
            ``#sha256=...``, or ``hf://owner/name/file`` on the Hugging Face Hub.
        map_location: As for ``torch.load``.
        **unused: What mmengine's own loaders take.

    Raises:
        AddressError: The address has another form.
        DownloadError: It cannot be downloaded, or is not the published file.
        UnpicklingError: It holds more than tensors and plain values.
    """
    # which need the rest of the package
    from mmseg_ovs.weights import DownloadError, local_file

    path = local_file(url)
    try:
        if path.suffix == '.safetensors':
            return load_file(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError:
        raise
    except Exception as error:  # of any kind: the unpickler reads what bytes there are
        raise DownloadError(
            f'{url} cannot be read ({error}). The file {path} is truncated or no '
            'checkpoint: remove it, and it is downloaded again'
        ) from error


def register_downloads() -> None:
    """Let mmengine read addresses in this way."""
    prefixes = ['http://', 'https://', 'hf://']
    CheckpointLoader.register_scheme(prefixes, read_address, force=True)
