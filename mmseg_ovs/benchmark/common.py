"""One protocol for all models of a benchmark, so that only the method differs."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, fields

from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_ovs.composition.compose import resize_as
from mmseg_ovs.models.segmentors import OpenVocabSegmentor

_CHOICES = {'names': ('own', 'plain'), 'postprocessors': ('own', 'none')}
_LONGEST_SIDE = 2048  # as all methods have it that resize by the shorter side


@dataclass(frozen=True)
class CommonProtocol:
    """Settings in the place of each model's own; what is left out stays as it is.

    Attributes:
        shorter_side: To which images are resized, bilinear, the other one up to 2048.
        window: Side of square windows.
        stride: Step of the windows.
        names: 'plain' gives the text encoder the data set's names alone. A class
            ``background`` is then scored by this word, without a threshold.
        postprocessors: 'none' drops them, refinements and others.

    Raises:
        ValueError: A value does not fit.
    """

    shorter_side: int | None = None
    window: int | None = None
    stride: int | None = None
    names: str = 'own'
    postprocessors: str = 'own'

    def __post_init__(self) -> None:
        for item in fields(self):
            value, choices = getattr(self, item.name), _CHOICES.get(item.name)
            if choices and value not in choices:
                raise ValueError(f'{item.name} is one of {choices}, not {value!r}')
            pixels = type(value) is int and value > 0
            if not choices and value is not None and not pixels:
                raise ValueError(f'{item.name} is a number of pixels, not {value!r}')
        if (self.window is None) != (self.stride is None):
            raise ValueError('window and stride go together')
        if not str(self):
            raise ValueError('it sets nothing')

    def __str__(self) -> str:
        parts = [
            self.shorter_side and f'shorter side {self.shorter_side}',
            self.window and f'windows of {self.window} at stride {self.stride}',
            self.names == 'plain' and "the data set's names without a threshold",
            self.postprocessors == 'none' and 'no post-processors',
        ]
        return ', '.join(part for part in parts if part)

    def apply(self, cfg: Config, method_class: str | None = None) -> str:
        """Change the config of a test.

        Args:
            cfg: A model with its data set; changed in place.
            method_class: Of the model's method, as its metafile has it.

        Returns:
            'common', with what the model keeps of its own and why.
        """
        kept = []
        if self.shorter_side or self.window:
            reason = _needs_own_views(cfg, method_class)
            if reason:
                kept.append(f'own size and windows ({reason})')
            else:
                self._set_views(cfg)
        if self.names == 'plain' and not _set_plain_names(cfg):
            kept.append('own names (it has no VocabularyHook)')
        if self.postprocessors == 'none':
            cfg.model.pop('postprocessors', None)
        return ' but '.join(['common', *(kept and [' and '.join(kept)])])

    def _set_views(self, cfg: Config) -> None:
        if self.shorter_side:
            scale = (_LONGEST_SIDE, self.shorter_side)
            resize = dict(type='Resize', scale=scale, keep_ratio=True)
            resize_as([resize], cfg.test_dataloader)
        if self.window:
            # windows of narrower images are stretched: every backbone sees squares
            size = (self.window, self.window)
            settings = dict(mode='slide', crop_size=size, input_size=size)
            test_cfg = cfg.model.setdefault('test_cfg', {})
            test_cfg.update(settings, stride=(self.stride, self.stride))
            test_cfg.pop('resize_once', None)


def _needs_own_views(cfg: Config, method_class: str | None) -> str | None:
    """Why images and windows of another size would be another method, if so."""
    kind = cfg.model.type
    kind = MODELS.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(kind, type) and issubclass(kind, OpenVocabSegmentor)):
        return f'{cfg.model.type} has no windows'
    mode = (cfg.model.get('test_cfg') or {}).get('mode', 'whole')
    if mode not in ('whole', 'slide'):
        return f'mode {mode}'
    if method_class == 'mask-supervised':
        return 'trained on masks at this size'
    return None


def _set_plain_names(cfg: Config) -> bool:
    """Leave the names to the data set; False if the model does not take them."""
    hooks = [hook for hook in _hooks(cfg) if hook.get('type') == 'VocabularyHook']
    for hook in hooks:
        for key in ('vocabulary', 'background'):
            hook.pop(key, None)
    test_cfg = cfg.model.get('test_cfg') or {}
    for key in ('min_probability', 'min_area'):
        test_cfg.pop(key, None)
    cfg.model.get('decode_head', {}).pop('background_threshold', None)
    return bool(hooks)


def _hooks(cfg: Config) -> Iterator[MutableMapping]:
    yield from (hook for hook in cfg.get('default_hooks', {}).values() if hook)
    yield from cfg.get('custom_hooks', [])
