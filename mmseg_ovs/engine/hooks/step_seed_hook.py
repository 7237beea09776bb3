"""Randomness of a training step that depends on nothing before it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed all generators before each step from the run's seed, the step and the rank.

    mmengine does not save the state of generators, so a resumed training draws other
    numbers than an undisturbed one. With this hook they are the same, for what the
    model draws. What the pipeline draws is the same if it runs in loader processes
    (``num_workers`` of at least 1): mmengine seeds them, and lets them load again what
    was trained on.
    ``tools/train.py --deterministic`` adds this hook.
    """

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Sequence[dict] | None = None
    ) -> None:
        """Seed python's, numpy's and torch's generators."""
        words = (runner.seed, runner.iter, get_rank())
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
