"""A test takes no more time and memory than it must."""

from __future__ import annotations

from mmengine.dist import broadcast_object_list
from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_ovs.acceleration import accelerate, choose_onednn, return_freed_memory
from mmseg_ovs.models.segmentors.vocabulary_segmentor import VocabularySegmentor
from mmseg_ovs.models.text_encoders import TowerTextEncoder
from mmseg_ovs.models.utils import unwrap_model


@HOOKS.register_module()
class AccelerationHook(Hook):
    """Set the switches of :func:`accelerate` when a test begins, and drop the tower.

    The model can do nothing but go on with inference afterwards, so this is for runs
    that only test. ``tools/test.py`` adds this hook.

    Args:
        onednn, bf16, compile: See :func:`accelerate`. All processes of a run multiply
            in the library that the first one finds faster.
        drop_text_tower: Encode the vocabulary, then free the memory of the text tower
            (see :meth:`TowerTextEncoder.drop_tower`). Does nothing beside an
            ``EMAHook``, which exchanges weights by their order.
    """

    priority = 'LOWEST'  # the vocabulary is set, the weights are described

    def __init__(
        self,
        onednn: bool | None = None,
        bf16: bool = False,
        compile: bool = False,
        drop_text_tower: bool = True,
    ) -> None:
        self.switches = dict(onednn=onednn, bf16=bf16, compile=compile)
        self.drop_text_tower = drop_text_tower

    def before_test_epoch(self, runner: Runner) -> None:
        """Once; a stock model stays as it is unless a switch is set."""
        model = unwrap_model(runner.model)
        wanted = isinstance(model, VocabularySegmentor) or any(self.switches.values())
        if wanted and not hasattr(model, 'acceleration'):
            choice = [self.switches['onednn']]
            if choice == [None]:
                choice = [choose_onednn(model)]
                broadcast_object_list(choice)
            accelerate(model, **{**self.switches, 'onednn': choice[0]})
        encoder = getattr(model, 'text_encoder', None)
        drop = self.drop_text_tower and isinstance(encoder, TowerTextEncoder)
        if drop and not any(isinstance(hook, EMAHook) for hook in runner.hooks):
            encoder.drop_tower(getattr(model, 'vocabulary', None))
            return_freed_memory()
