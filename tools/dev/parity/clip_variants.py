"""Our CLIP tower with other last blocks, run on the golden files of their methods."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.models.backbones import OpenCLIPImageEncoder, ProxyCLIPImageEncoder
from mmseg_ovs.models.utils import cosine_similarity_map, load_pretrained

from .golden import Golden, tokens_of


@MODELS.register_module()
class GivenFeatures(BaseModule):
    """A backbone that answers with a given map."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, image: Tensor) -> tuple[Tensor]:
        return (self.maps,)


_ATTENTION_ONLY = dict(residual=None, feed_forward=False)
# Last blocks by the repository of the authors and the mode of their code.
_BLOCKS = {
    'wangf3014/SCLIP': {'': 'sclip'},
    'sinahmr/NACLIP': {
        'naclip': 'naclip',
        'narrow': dict(attention=('k',), neighbourhood_std=1.7, **_ATTENTION_ONLY),
        'kk': dict(attention=('k',), **_ATTENTION_ONLY),
        'full_block': dict(attention=('k',), neighbourhood_std=1.7),
    },
    'mc-lan/ClearCLIP': {
        'clearclip': 'clearclip',
        'clearclip_residual': dict(attention=('q',)),
        'vanilla': None,
        'vanilla_attention': _ATTENTION_ONLY,
        'maskclip': 'maskclip',
        'value': dict(attention='identity', **_ATTENTION_ONLY),
    },
}


def tower(
    golden: Golden, kind=OpenCLIPImageEncoder, gelu=False, load=True, **kwargs
) -> OpenCLIPImageEncoder:
    """Our tower with the weights of a golden file; QuickGELU unless ``gelu``."""
    clip = golden.constructor.get('tower', golden.constructor['kwargs'])
    model = dict(
        embed_dim=clip['embed_dim'],
        quick_gelu=not gelu,
        vision_cfg=dict(
            width=clip['width'],
            layers=clip['layers'],
            head_width=clip['width'] // clip['heads'],
            patch_size=clip['patch_size'],
            image_size=clip['image_size'],
        ),
    )
    kwargs = dict(dict(position_offset=0.0 if gelu else 0.1, fit='crop'), **kwargs)
    built = kind(model, **kwargs)
    if load:
        load_pretrained(built, golden.weights)
    return built.eval()


def run_tower(golden: Golden) -> dict[str, Tensor]:
    """Patches after the last block, for every mode and size of image."""
    if 'features_same' in golden.inputs:
        return _run_proxy(golden)
    modes = golden.constructor.get('modes', [''])
    ours = {}
    for mode in modes:
        block = _BLOCKS[golden.config['reference']['repo']][mode]
        encoder = tower(golden, last_block=block)
        for name, image in golden.inputs.items():
            key = '.'.join(filter(None, [name.removeprefix('image_'), mode]))
            ours[key] = tokens_of(encoder(image)[0])
    return ours


def run_dense(golden: Golden) -> dict[str, Tensor]:
    """MaskCLIP as label propagation uses it: features and probabilities."""
    encoder = tower(golden, gelu=True, last_block='maskclip')
    mean, std = (
        torch.tensor(golden.constructor[key]).view(3, 1, 1) for key in ('mean', 'std')
    )
    text = F.normalize(golden.inputs['text'], dim=-1)
    ours = {}
    for name, image in golden.inputs.items():
        if name.startswith('image_'):
            key, (features,) = (
                name.removeprefix('image_'),
                encoder((image - mean) / std),
            )
            scores = cosine_similarity_map(features, text)
            ours[f'{key}.features'] = features
            ours[f'{key}.probabilities'] = (100 * scores).softmax(dim=1)
    return ours


def _run_proxy(golden: Golden) -> dict[str, Tensor]:
    """The attention of given feature maps."""
    ours = {}
    cases = [(size, size, {}) for size in ('fine', 'same', 'coarse')]
    cases.append(('other', 'fine', dict(beta=0.9, gamma=5.0)))
    for name, size, settings in cases:
        given = golden.inputs[f'features_{size}']
        encoder = tower(
            golden,
            ProxyCLIPImageEncoder,
            proxy=dict(type='GivenFeatures', maps=given),
            **settings,
        )
        ours[name] = tokens_of(encoder(golden.inputs['image'])[0])
    return ours
