"""A segmentor to a file, checked against the segmentor before it is left behind."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mmseg_ovs.models.segmentors import OpenVocabSegmentor

from .capture import capture
from .errors import ExportError
from .formats import Format, OnnxFormat, Run
from .inputs import GraphInputs
from .metadata import describe
from .score_graph import ScoreGraph, row_limit, vector_shape


@dataclass(frozen=True)
class Export:
    """What came of an export.

    Attributes:
        path: The file.
        metadata: The strings in it.
        error: Largest difference from the segmentor's own scores.
        peak: Largest score of the segmentor, in absolute value, to judge it by.
        seconds: Time of the segmentor and of the file for the same inputs.
    """

    path: Path
    metadata: Mapping[str, str]
    error: float
    peak: float
    seconds: tuple[float, float]


def export_model(
    model: nn.Module,
    path: str | os.PathLike,
    form: Format | None = None,
    size: Sequence[int] | None = None,
    batch: int | None = 1,
    rows: int | None = None,
    bake_vocabulary: bool = False,
    tolerance: float = 1e-4,
    config: str = '',
) -> Export:
    """Write image tower, necks and head of a segmentor as one graph.

    Nothing is written unless the file gives the segmentor's results.

    Args:
        model: An ``OpenVocabSegmentor`` with its weights.
        path: The file to write.
        form: Its kind; by default ONNX.
        size: Height and width of the images. None: as in the model's inference.
        batch: Number of images; None: any.
        rows: Number of text rows; None: any that the model takes.
        bake_vocabulary: Keep the model's vocabulary in the graph instead of an input.
        tolerance: Largest difference allowed.
        config: Name of the config, for the metadata.

    Raises:
        ExportError: A tool is missing, a part of the model cannot be exported, or the
            file gives other results; says what to do about it.
    """
    form, path = form or OnnxFormat(), Path(path).expanduser()
    form.check_tools()
    if path.suffix != form.suffix:
        raise ExportError(f'The file has to end in {form.suffix}: {path}')
    model.eval()
    graph, inputs = _lay_out(model, size, batch, rows, bake_vocabulary)
    try:
        with torch.no_grad():
            scores = graph(*inputs.example())
    except ValueError as error:
        raise ExportError(
            f'The model does not take images of {graph.size}: {error}'
        ) from error
    metadata = describe(model, graph, inputs, tuple(scores.shape[-2:]), config)
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder, because ONNX puts large weights into a second file that it names.
    with tempfile.TemporaryDirectory(prefix='.export-', dir=path.parent) as folder:
        temporary = Path(folder) / path.name
        _write(graph, inputs, form, temporary, metadata)
        error, peak, seconds = _compare(graph, form.load(temporary), inputs)
        if not error <= tolerance:  # NaN is no match
            raise ExportError(
                f'The {form.suffix} file differs from the model by {error:.2e} in '
                f'scores up to {peak:.2e}, more than the tolerance {tolerance:g}: '
                'nothing was written'
            )
        for file in sorted(Path(folder).iterdir(), key=lambda f: f == temporary):
            os.replace(file, path.with_name(file.name))
    return Export(path, metadata, error, peak, seconds)


def _lay_out(
    model: nn.Module,
    size: Sequence[int] | None,
    batch: int | None,
    rows: int | None,
    bake_vocabulary: bool,
) -> tuple[ScoreGraph, GraphInputs]:
    """The module to export, and its inputs."""
    if not isinstance(model, OpenVocabSegmentor):
        raise ExportError(
            f'{type(model).__name__} cannot be exported: only models that score a grid '
            'of patches can (OpenVocabSegmentor)'
        )
    aggregator = getattr(model.decode_head, 'aggregator', None)
    if getattr(aggregator, 'keep_classes', None):
        raise ExportError(
            'How many classes keep_classes leaves depends on the image, and a graph is '
            'for a fixed number: set model.decode_head.aggregator.keep_classes=None'
        )
    if bake_vocabulary:
        if model.vocabulary is None:
            raise ExportError('The model has no vocabulary that could be kept')
        with torch.no_grad():
            text = model.text_encoder(model.vocabulary).clone()
        graph = ScoreGraph(model, size, text)
        return graph, GraphInputs(graph.size, batch)
    if getattr(model.text_encoder, 'template_average', None) == 'synonyms':
        raise ExportError(
            "The text encoder averages synonyms (template_average='synonyms'), so a "
            'vector belongs to a whole vocabulary: keep one in the graph (--vocabulary)'
        )
    graph, limit = ScoreGraph(model, size), row_limit(model)
    return graph, GraphInputs(graph.size, batch, vector_shape(model), rows, limit)


def _write(
    graph: ScoreGraph,
    inputs: GraphInputs,
    form: Format,
    path: Path,
    metadata: Mapping[str, str],
) -> None:
    """Trace and write."""
    try:
        program = capture(graph, inputs.example(), inputs.dynamic_shapes())
        form.write(program, path, metadata, inputs.sides)
    except Exception as error:  # whatever tracing and translation may raise
        raise ExportError(_failure(error, graph, inputs)) from error


def _failure(error: Exception, graph: ScoreGraph, inputs: GraphInputs) -> str:
    names = {id(module): name for name, module in graph.named_modules() if name}
    part = 'The model'
    for frame, _ in traceback.walk_tb(error.__traceback__):  # ends where it failed
        module = frame.f_locals.get('self')
        if id(module) in names:
            part = f'{names[id(module)]} ({type(module).__name__})'
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = f'{type(error).__name__}: {" ".join(lines[:3])}'
    advice = ''
    if inputs.free:
        free = ' and '.join(inputs.free)
        advice = f'. The sizes left open are: {free}; try fixed ones'
    return f'{part} cannot be exported: {reason}{advice}'


def _compare(
    graph: ScoreGraph, run: Run, inputs: GraphInputs
) -> tuple[float, float, tuple[float, float]]:
    """Largest difference, largest score, and seconds of both, on random inputs.

    Sizes that are left open are tried with other values than they were traced with.
    """
    error = peak = 0.0
    for batch, rows in ((None, None), (1, 1), (3, 4)):
        args = inputs.example(batch, rows, seed=rows or 0)
        expected, ours = _timed(graph, args)
        actual, theirs = _timed(run, args)
        if actual.shape != expected.shape:
            raise ExportError(
                f'The file gives {tuple(actual.shape)} where the model gives '
                f'{tuple(expected.shape)}'
            )
        error = max(error, (actual - expected).abs().max().item())
        peak = max(peak, expected.abs().max().item())
        if not inputs.free:
            break
    return error, peak, (ours, theirs)


def _timed(run: Run, args: Sequence[Tensor]) -> tuple[Tensor, float]:
    """Result and seconds of the second of two runs."""
    with torch.no_grad():
        run(*args)
        start = time.perf_counter()
        result = run(*args)
        return result, time.perf_counter() - start
