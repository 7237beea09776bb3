"""Pairs of image and caption features computed beforehand."""

from __future__ import annotations

import bisect
import os
from itertools import accumulate
from pathlib import Path
from typing import Any

from mmseg.registry import DATASETS
from safetensors import safe_open
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_ovs.jobs import require_same

from .feature_files import FeatureFileError
from .feature_shards import open_shard, read_manifest, shard_setting


@DATASETS.register_module()
class FeaturePairsDataset(Dataset):
    """Features written by ``tools/extract_features.py``, one sample a caption.

    Shards are memory-mapped and a sample is read when it is asked for, so memory does
    not grow with the number of pairs. Samples are ``dict(visual, text)`` as
    :class:`~mmseg_ovs.models.segmentors.FeatureAlignment` takes them: unit head
    embeddings (heads, C) and a raw text embedding (D,), float32. Use
    ``collate_fn=dict(type='default_collate')``.

    How the features were made is kept under ``metainfo['features']``, which mmengine
    writes into the checkpoints.

    Args:
        data_root: Folder of the shards and their manifest.

    Raises:
        JobError: The manifest or a shard is missing or damaged, a shard was made in
            another setting, or counts and shapes are not the manifest's.
    """

    def __init__(self, data_root: str | os.PathLike) -> None:
        self.data_root = Path(data_root).expanduser()
        manifest = read_manifest(self.data_root)
        self.metainfo = dict(features=manifest['setting'])
        self.paths = [self.data_root / s['file'] for s in manifest['shards']]
        for path, record in zip(self.paths, manifest['shards'], strict=True):
            self._check(path, record)
        counts = [shard['text'][0] for shard in manifest['shards']]
        self._ends = list(accumulate(counts))
        if len(self) != manifest.get('captions') or not counts:
            raise FeatureFileError(
                f'{self.data_root} holds {len(self)} captions, its manifest says '
                f'{manifest.get("captions")}: extract the features again'
            )
        self._open: dict[int, safe_open] = {}

    def _check(self, path: Path, record: dict[str, Any]) -> None:
        """Compare the header of a shard with the manifest."""
        file = open_shard(path)
        shapes = {k: file.get_slice(k).get_shape() for k in ('visual', 'text')}
        pairs = file.get_slice('picture').get_shape()
        expected = {k: record[k] for k in ('visual', 'text')}
        if shapes != expected or pairs != [record['text'][0]]:
            raise FeatureFileError(
                f'{path} holds features of shapes {shapes}, its manifest says '
                f'{expected}: extract the features again'
            )
        require_same(
            path,
            shard_setting(file),
            self.metainfo['features'],
            'This is not what its manifest says: extract the features again',
        )

    def __len__(self) -> int:
        """Number of captions."""
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """``visual`` (heads, C) and ``text`` (D,), float32."""
        if not 0 <= index < len(self):
            raise IndexError(f'sample {index} of {len(self)}')
        number = bisect.bisect_right(self._ends, index)
        if number not in self._open:
            self._open[number] = open_shard(self.paths[number])
        file = self._open[number]
        row = index - (self._ends[number - 1] if number else 0)
        image_index = int(file.get_slice('picture')[row])
        return dict(
            visual=file.get_slice('visual')[image_index].float(),
            text=file.get_slice('text')[row].float(),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Workers that are spawned open the shards themselves."""
        return {**self.__dict__, '_open': {}}
