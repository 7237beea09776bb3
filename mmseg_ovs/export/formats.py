"""The kinds of files: written from a traced program, and run again."""

from __future__ import annotations

import json
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from mmengine.utils import digit_version
from torch import Tensor
from torch.export import ExportedProgram

from .errors import ExportError

OPSET = 18
# With older ones nothing was tried.
OLDEST_TORCH = '2.12'
# What an .pt2 file of torch.export keeps the metadata under.
METADATA_FILE = 'metadata.json'

Run = Callable[..., Tensor]


class Format(metaclass=ABCMeta):
    """A kind of file.

    Attributes:
        suffix: How its files end.
    """

    suffix: str

    def check_tools(self) -> None:
        """Raise an :class:`ExportError` if something is not installed."""
        if digit_version(torch.__version__) < digit_version(OLDEST_TORCH):
            raise ExportError(
                f'Export needs PyTorch {OLDEST_TORCH} or newer, this is '
                f'{torch.__version__}'
            )

    @abstractmethod
    def write(
        self,
        program: ExportedProgram,
        path: Path,
        metadata: Mapping[str, str],
        sides: Mapping[str, str | None],
    ) -> None:
        """Translate a traced program and write it.

        Args:
            program: The program.
            path: The file.
            metadata: Strings to keep in it.
            sides: Names of the inputs, and of the free first side of each, if it is
                free.
        """

    @abstractmethod
    def load(self, path: Path) -> Run:
        """A file as a function of images and, if it takes them, text vectors."""


class OnnxFormat(Format):
    """ONNX, run by onnxruntime on the CPU.

    Args:
        opset: Version of the operator set.
    """

    suffix = '.onnx'

    def __init__(self, opset: int = OPSET) -> None:
        self.opset = opset

    def check_tools(self) -> None:
        super().check_tools()
        try:
            import onnx
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ImportError as error:
            raise ExportError(
                f'ONNX needs {error.name}, which is not installed: '
                "pip install 'mmseg_ovs[export]'"
            ) from error
        newest = onnx.defs.onnx_opset_version()
        if not OPSET <= self.opset <= newest:
            raise ExportError(
                f'opset has to be in {OPSET}..{newest} (the oldest that PyTorch '
                f'writes and the newest of the installed onnx), got {self.opset}'
            )

    def write(
        self,
        program: ExportedProgram,
        path: Path,
        metadata: Mapping[str, str],
        sides: Mapping[str, str | None],
    ) -> None:
        translated = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=self.opset,
            verbose=False,
            input_names=list(sides),
            output_names=['scores'],
            dynamic_shapes={n: {0: s} if s else {} for n, s in sides.items()},
        )
        translated.model.metadata_props.update(metadata)
        translated.save(path)  # weights beyond 1.5 GiB go into a file beside it

    def load(self, path: Path) -> Run:
        import onnxruntime  # optional

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(
            path, options, providers=['CPUExecutionProvider']
        )
        names = [value.name for value in session.get_inputs()]

        def run(*inputs: Tensor) -> Tensor:
            arrays = {n: t.numpy() for n, t in zip(names, inputs, strict=True)}
            return torch.from_numpy(session.run(None, arrays)[0])

        return run


class TorchFormat(Format):
    """``torch.export``: a program that PyTorch runs without this package."""

    suffix = '.pt2'

    def write(
        self,
        program: ExportedProgram,
        path: Path,
        metadata: Mapping[str, str],
        sides: Mapping[str, str | None],
    ) -> None:
        extra = {METADATA_FILE: json.dumps(dict(metadata))}
        torch.export.save(program, path, extra_files=extra)

    def load(self, path: Path) -> Run:
        return torch.export.load(path).module()


FORMATS = {'onnx': OnnxFormat, 'torch': TorchFormat}
