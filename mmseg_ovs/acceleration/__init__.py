"""Switches that make inference faster without another model or other weights."""

from .bfloat16 import run_in_bfloat16
from .compiled import compile_trunks
from .freed_memory import keep_freed_memory, return_freed_memory
from .onednn import run_linears_in_onednn
from .probe import choose_onednn
from .switches import accelerate, add_switches, chosen_switches

__all__ = [
    'accelerate',
    'add_switches',
    'choose_onednn',
    'chosen_switches',
    'compile_trunks',
    'keep_freed_memory',
    'return_freed_memory',
    'run_in_bfloat16',
    'run_linears_in_onednn',
]
