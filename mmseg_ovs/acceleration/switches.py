"""The switches by name, as arguments of commands, hooks and the inferencer."""

from __future__ import annotations

import argparse

from torch import nn

from .bfloat16 import run_in_bfloat16
from .compiled import compile_trunks
from .onednn import run_linears_in_onednn

# In the order in which they act: what is compiled comes last.
SWITCHES = {
    'onednn': (run_linears_in_onednn, 'run linear layers in oneDNN (CPU)'),
    'bf16': (run_in_bfloat16, 'compute in bfloat16'),
    'compile': (compile_trunks, 'compile the image trunks with torch.compile'),
}


def add_switches(parser: argparse.ArgumentParser) -> None:
    """Add ``--onednn``, ``--bf16`` and ``--compile`` to a command."""
    for name, (_, text) in SWITCHES.items():
        parser.add_argument(f'--{name}', action='store_true', help=text)


def chosen_switches(args: argparse.Namespace) -> dict[str, bool]:
    """The switches that a command line sets, as arguments of :func:`accelerate`."""
    return {name: True for name in SWITCHES if getattr(args, name)}


def accelerate(
    model: nn.Module, onednn: bool = False, bf16: bool = False, compile: bool = False
) -> None:
    """Switch a built segmentor over, for good; its weights stay as they are.

    Args:
        model: An :class:`OpenVocabSegmentor`, to be used for inference only.
        onednn: See :func:`run_linears_in_onednn`.
        bf16: See :func:`run_in_bfloat16`.
        compile: See :func:`compile_trunks`.
    """
    wanted = dict(onednn=onednn, bf16=bf16, compile=compile)
    for name, (switch, _) in SWITCHES.items():
        if wanted[name]:
            switch(model)
    model.acceleration = tuple(name for name in SWITCHES if wanted[name])
