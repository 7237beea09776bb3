"""Golden files: inputs, official weights and the outputs of the authors' code.

A file is a safetensors file with ``weight.<official key>``, ``input.<name>``,
``output.<name>`` and JSON metadata ``config`` that names the official constructor and
the tolerance.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from mmseg.registry import MODELS
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from mmseg_ovs.models.text_encoders import save_embeddings


class GoldenFileError(ValueError):
    """A golden file that cannot be read or that names an unknown component."""


@dataclass
class Golden:
    """One golden file.

    Attributes:
        path: The file.
        config: Its metadata.
        weights: State dict under the official names.
        inputs: Inputs by name.
        outputs: Outputs of the authors' code by name.
        weights_dir: Folder of published weights.
    """

    path: Path
    config: dict
    weights: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    weights_dir: Path

    @property
    def constructor(self) -> dict:
        """The official class and its arguments."""
        return self.config.get('constructor', {})

    @property
    def kwargs(self) -> dict:
        """Arguments of the official constructor."""
        return self.constructor['kwargs']

    @classmethod
    def read(cls, path: str | Path, weights_dir: str | Path | None = None) -> Golden:
        """Read a file; the weights are in ``../weights`` beside its folder by default.

        Raises:
            GoldenFileError: It is missing, damaged, or has no ``config``.
        """
        try:
            with safe_open(path, 'pt') as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise GoldenFileError(f'{path} cannot be read: {error}') from error
        if 'config' not in metadata:
            raise GoldenFileError(f"{path} is no golden file: no metadata 'config'")
        groups: dict[str, dict] = dict(weight={}, input={}, output={})
        for key, value in tensors.items():
            kind, _, name = key.partition('.')
            if kind not in groups:
                raise GoldenFileError(f'{path} has a tensor of unknown kind: {key}')
            groups[kind][name] = value
        path, config = Path(path), json.loads(metadata['config'])
        weights_dir = Path(weights_dir or path.absolute().parents[1] / 'weights')
        return cls(path, config, *groups.values(), weights_dir)


@dataclass
class Comparison:
    """Our outputs against a file's.

    Attributes:
        name: Name of the file.
        absolute: Largest absolute difference over all outputs.
        relative: Largest difference over the largest stored value of its output.
        tolerance: What ``relative`` may reach.
        problems: Outputs that are missing, of another shape, not equal where they have
            to be, or outside the tolerance.
    """

    name: str
    absolute: float
    relative: float
    tolerance: float
    problems: list[str]

    def __str__(self) -> str:
        verdict = 'FAILED: ' + '; '.join(self.problems) if self.problems else 'ok'
        return (
            f'{self.name:<34} abs {self.absolute:.1e}  rel {self.relative:.1e}  '
            f'tolerance {self.tolerance:.0e}  {verdict}'
        )


def compare(golden: Golden, ours: dict[str, Tensor]) -> Comparison:
    """Compare every output of a golden file."""
    tolerance = float(golden.config['tolerance'])
    largest = dict(absolute=0.0, relative=0.0)
    problems = []
    for name, reference in golden.outputs.items():
        if name not in ours:
            problems.append(f'{name} is not computed')
            continue
        value = ours[name]
        if value.shape != reference.shape:
            problems.append(
                f'{name} is {tuple(value.shape)}, not {tuple(reference.shape)}'
            )
            continue
        if not reference.is_floating_point():
            if not torch.equal(value, reference):
                problems.append(f'{name} differs')
            continue
        absolute = (value.double() - reference.double()).abs().max().item()
        scale = max(reference.abs().max().item(), torch.finfo(torch.float32).tiny)
        relative = absolute / scale
        if not relative <= tolerance:  # also catches NaN
            problems.append(f'{name} is off by {relative:.1e}')
        largest['absolute'] = max(largest['absolute'], absolute)
        largest['relative'] = max(largest['relative'], relative)
    return Comparison(
        golden.path.name, **largest, tolerance=tolerance, problems=problems
    )


def build_segmentor(
    names: list[str], text: Tensor, decode_head: dict, test_cfg: dict, **parts: dict
) -> nn.Module:
    """A segmentor of given text vectors; its backbone is for the caller to replace."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'text.safetensors'
        save_embeddings(path, names, text)
        cfg = dict(
            type='OpenVocabSegmentor',
            backbone=dict(type='DINOv3', arch='small'),
            text_encoder=dict(type='PrecomputedTextEncoder', path=str(path)),
            decode_head=decode_head,
            vocabulary=names,
            test_cfg=dict(test_cfg, keep_logits=True),
        )
        return MODELS.build(dict(cfg, **parts)).eval()


def tokens_of(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) as tokens (B, h * w, C)."""
    return maps.flatten(2).transpose(1, 2)
