"""The switches by name, as arguments of commands, hooks and the inferencer."""

from __future__ import annotations

import argparse

from torch import nn

from .bfloat16 import run_in_bfloat16
from .compiled import compile_trunks
from .freed_memory import keep_freed_memory
from .onednn import run_linears_in_onednn
from .probe import choose_onednn


def add_switches(parser: argparse.ArgumentParser) -> None:
    """Add ``--[no-]onednn``, ``--bf16`` and ``--compile`` to a command."""
    parser.add_argument(
        '--onednn',
        action=argparse.BooleanOptionalAction,
        help='run linear layers in oneDNN, or in MKL (CPU; default: what is faster '
        'here)',
    )
    parser.add_argument('--bf16', action='store_true', help='compute in bfloat16')
    parser.add_argument(
        '--compile',
        action='store_true',
        help='compile the image trunks with torch.compile',
    )


def chosen_switches(args: argparse.Namespace) -> dict[str, bool]:
    """The switches that a command line sets, as arguments of :func:`accelerate`."""
    given = {'onednn': args.onednn, 'bf16': args.bf16 or None}
    given['compile'] = args.compile or None
    return {name: value for name, value in given.items() if value is not None}


def accelerate(
    model: nn.Module,
    onednn: bool | None = None,
    bf16: bool = False,
    compile: bool = False,
) -> None:
    """Switch a built segmentor over, for good; its weights stay as they are.

    What was switched is noted in ``model.acceleration``. On a CPU freed memory is kept,
    see :func:`keep_freed_memory`.

    Args:
        model: An :class:`OpenVocabSegmentor` on its device, to be used for inference
            only.
        onednn: See :func:`run_linears_in_onednn`. None: what is faster on this
            processor, see :func:`choose_onednn`; if neither is, layers stay as built.
        bf16: See :func:`run_in_bfloat16`.
        compile: See :func:`compile_trunks`.
    """
    if all(parameter.device.type == 'cpu' for parameter in model.parameters()):
        keep_freed_memory()
    onednn = choose_onednn(model) if onednn is None else onednn
    if onednn is not None:
        run_linears_in_onednn(model, onednn)
    if bf16:
        run_in_bfloat16(model)
    if compile:  # the last, as it takes in the others
        compile_trunks(model)
    library = {None: None, True: 'onednn', False: 'no-onednn'}[onednn]
    done = library, bf16 and 'bf16', compile and 'compile'
    model.acceleration = tuple(name for name in done if name)
