"""Feature maps of a backbone's layers, for any backbone of the registry."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_ovs.models.utils import (
    brings_weights,
    init_own_weights,
    load_pretrained,
    read_state_dict,
)
from mmseg_ovs.structures import VisualFeatures
from mmseg_ovs.utils import OpenVocabError

# Where backbones keep the things that ``out_indices`` counts, first come first served
# (``depth`` is no candidate: ResNet's is 50).
_LAYER_LISTS = ('num_stages', 'blocks', 'layers', 'stages')


class BackboneConfigError(OpenVocabError):
    """The config, or what was asked of it, does not give layers of a backbone."""


class LayerFeatures:
    """A frozen backbone that gives the maps of chosen layers for an image.

    The image is resized to a square without keeping its aspect (bilinear,
    antialiased), so that positions of two backbones with inputs of different size
    correspond, then normalised by the config's ``data_preprocessor``.

    Args:
        cfg: Config with ``model.backbone`` and, there or beside ``model``, a
            ``data_preprocessor``.
        layers: 'all', or indices as the backbone's ``out_indices`` counts them
            (0-based blocks or stages), negative from the end.
        weights: File or URL of the backbone's published weights or of a checkpoint of
            a whole model; loaded strictly. None: those the config names.
        size: Side in pixels. None: that of ``data_preprocessor.size``.
        device: Where to compute.

    Attributes:
        names: Name of each map: the index of its layer, and 'output' for one more map
            that the backbone appends (SAM's neck).

    Raises:
        BackboneConfigError: No backbone, preprocessor or size in the config; layers
            which the backbone does not have; maps of another form.
        CheckpointError: The weights cannot be read or do not fit.
    """

    def __init__(
        self,
        cfg: Config,
        layers: str | Sequence[int] = 'all',
        weights: str | os.PathLike | None = None,
        size: int | None = None,
        device: str | torch.device = 'cpu',
    ) -> None:
        init_default_scope(cfg.get('default_scope', 'mmseg'))
        model = cfg.get('model') or {}
        backbone = copy.deepcopy(model.get('backbone'))
        preprocessor = copy.deepcopy(
            model.get('data_preprocessor') or cfg.get('data_preprocessor')
        )
        if backbone is None or preprocessor is None:
            raise BackboneConfigError(
                f'{cfg.filename or "The config"} needs model.backbone and '
                'data_preprocessor (for mean and std); see '
                'configs/_base_/backbones for the least that is enough'
            )
        prefix = 'backbone.'
        while 'backbone' in backbone:  # BackboneWithNeck: the layers are inside
            backbone, prefix = backbone['backbone'], f'{prefix}backbone.'
        self.size = size or _square_side(preprocessor.get('size'))
        if weights is not None:
            backbone.pop('init_cfg', None)
        self.kind = backbone['type']
        self.device = torch.device(device)
        self.preprocessor = MODELS.build(preprocessor).to(self.device)
        network, self.layers = _build(backbone, layers)
        _load(network, weights, prefix)
        self.network = network.to(self.device)
        self.network.eval()  # on its own: that of some of mmseg's backbones gives None
        self.names = [str(layer) for layer in self.layers]

    @torch.inference_mode()
    def __call__(self, image: np.ndarray) -> tuple[Tensor, ...]:
        """Maps (1, C, h, w) of an image uint8 BGR (H, W, 3), one for each name."""
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self.device)
        pixels = F.interpolate(
            pixels.permute(2, 0, 1)[None].float(),
            size=(self.size, self.size),
            mode='bilinear',
            antialias=True,
        )
        inputs = self.preprocessor(dict(inputs=list(pixels)))['inputs']
        maps = self.network(inputs)
        maps = maps.maps if isinstance(maps, VisualFeatures) else maps
        if any(not isinstance(x, Tensor) or x.ndim != 4 for x in maps):
            raise BackboneConfigError(
                f'{self.kind} returns more than maps (B, C, h, w): switch that off, '
                'as output_cls_token=False does'
            )
        if len(maps) == len(self.layers) + 1:
            self.names = [*map(str, self.layers), 'output']
        elif len(maps) != len(self.layers):
            raise BackboneConfigError(
                f'{self.kind} returns {len(maps)} maps for {len(self.layers)} layers'
            )
        return maps


def count_layers(backbone: nn.Module) -> int:
    """Number of blocks or stages that ``out_indices`` of a backbone counts.

    Raises:
        BackboneConfigError: It keeps them under no name known here.
    """
    for name in _LAYER_LISTS:
        layers = getattr(backbone, name, None)
        if layers is not None:
            return layers if isinstance(layers, int) else len(layers)
    raise BackboneConfigError(
        f'How many layers a {type(backbone).__name__} has is not known: name them, '
        'counted from 0'
    )


def _build(cfg: dict, layers: str | Sequence[int]) -> tuple[nn.Module, tuple[int, ...]]:
    """The backbone with ``out_indices`` set, and those, ascending."""
    network = MODELS.build(copy.deepcopy(cfg))
    if not hasattr(network, 'out_indices'):
        raise BackboneConfigError(
            f'{type(network).__name__} has no out_indices to choose layers by'
        )
    if layers == 'all':
        layers = range(count_layers(network))
    elif min(layers) < 0:
        count = count_layers(network)
        outside = [i for i in layers if not -count <= i < count]
        if outside:
            raise BackboneConfigError(
                f'{type(network).__name__} has {count} layers, not {outside}'
            )
        layers = [i % count for i in layers]
    layers = tuple(sorted(set(layers)))
    if tuple(network.out_indices) != layers:
        network = MODELS.build(dict(copy.deepcopy(cfg), out_indices=layers))
    return network, layers


def _load(network: nn.Module, weights: str | os.PathLike | None, prefix: str) -> None:
    """Load weights; ``prefix`` is that of the backbone in the whole model."""
    if weights is not None:
        whole = any(key.startswith(prefix) for key in read_state_dict(weights))
        load_pretrained(network, weights, prefix=prefix if whole else None)
        return
    if not brings_weights(network):
        print_log(
            f'The config names no weights for {type(network).__name__} and none were '
            'given: unless it loads its own, they are random, and so is the analysis',
            logger='current',
            level=logging.WARNING,
        )
    init_own_weights(network)


def _square_side(size: Sequence[int] | None) -> int:
    if size is None or len(set(size)) != 1:
        raise BackboneConfigError(
            'At which size? data_preprocessor.size of the config is '
            f'{"not set" if size is None else f"no square: {tuple(size)}"}, so give one'
        )
    return size[0]
