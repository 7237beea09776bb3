"""What a graph's user has to know, as strings in its file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import nn

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.version import __version__

from .inputs import GraphInputs
from .score_graph import ScoreGraph, left_out

_TEXT_INPUT = (
    "Input 'text' is the tensor 'embeddings' of the file that `python "
    'tools/encode_vocabulary.py {config} --vocabulary NAME --out FILE.safetensors` '
    "writes, or some of its rows; the names of the rows are in the file's metadata, "
    "key 'names', as JSON. Any number of rows{limit}."
)
_TEXT_INSIDE = 'The text vectors are in the graph: output row i is of rows[i].'


def describe(
    model: nn.Module,
    graph: ScoreGraph,
    inputs: GraphInputs,
    grid: tuple[int, int],
    config: str,
) -> dict[str, str]:
    """The metadata of a file; values that are no text are JSON.

    Args:
        model: The segmentor.
        graph: What was exported of it.
        inputs: Sizes of the inputs.
        grid: Height and width of the score maps.
        config: Name of the config.
    """
    facts = dict(
        mmseg_ovs=__version__,
        config=config,
        size=graph.size,
        grid=grid,
        stride=[side / cells for side, cells in zip(graph.size, grid, strict=True)],
        **_pixels(model.data_preprocessor),
        output='scores' if graph.activated else 'logits',
        activation_after_resize='none'
        if graph.activated
        else type(graph.decode_head.activation).__name__.lower(),
        align_corners=graph.decode_head.align_corners,
        not_in_graph=left_out(model),
        test_cfg=dict(model.test_cfg or {}),
    )
    if (model.test_cfg or {}).get('seen_handicap'):
        facts.update(trained_names=model.trained_names)
    if inputs.vector is None:
        facts.update(_classes(model.vocabulary), text=_TEXT_INSIDE)
    else:
        limit = '' if inputs.max_rows is None else f' up to {inputs.max_rows}'
        if inputs.rows is not None:
            limit = f': {inputs.rows}, no more and no less'
        facts.update(
            vector=inputs.vector,
            text=_TEXT_INPUT.format(config=config or 'CONFIG', limit=limit),
        )
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in facts.items()
    }


def _pixels(preprocessor: nn.Module) -> Mapping[str, object]:
    """Order of channels, mean and standard deviation of an image of 0..255."""
    mean, std = [0.0] * 3, [1.0] * 3
    if getattr(preprocessor, '_enable_normalize', False):
        mean, std = (
            getattr(preprocessor, name).flatten().tolist() for name in ('mean', 'std')
        )
    # Pipelines load BGR; the preprocessor turns it around or does not.
    channels = 'RGB' if getattr(preprocessor, 'channel_conversion', False) else 'BGR'
    return dict(channels=channels, mean=mean, std=std)


def _classes(vocabulary: Vocabulary) -> Mapping[str, object]:
    """Classes, rows and which class each row is of."""
    facts: dict[str, object] = dict(
        classes=vocabulary.classes,
        rows=vocabulary.rows,
        row_to_class=vocabulary.row_to_class.tolist(),
    )
    for name in ('background_label', 'background_score'):
        if getattr(vocabulary, name) is not None:
            facts[name] = getattr(vocabulary, name)
    return facts
