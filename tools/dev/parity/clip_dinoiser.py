"""CLIP-DINOiser through the public segmentor, on its golden file."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ovs.models.utils import load_pretrained

from .clip_variants import tower
from .golden import Golden, build_segmentor


def run_dinoiser(golden: Golden) -> dict[str, Tensor]:
    """Features, correlations' pooling and probabilities, with the override or not."""
    own = golden.constructor
    text = golden.inputs['text']
    rows, width = text.shape
    # the golden file holds what two files of the authors do
    published = {k: v for k, v in golden.weights.items() if not k.startswith('visual.')}
    clip = {k: v for k, v in golden.weights.items() if k not in published}
    channels = own['kwargs']['width']
    model = build_segmentor(
        ['background', *(f'thing {i}' for i in range(1, rows))],
        text,
        dict(
            type='TextSimilarityHead',
            in_channels=width,
            text_channels=width,
            logit_scale=100.0,
            activation='softmax',
        ),
        dict(mode='whole'),
        neck=dict(
            type='CorrelationPooling',
            in_channels=channels,
            channels=own['in_dim'],
            threshold=own['gamma'],
        ),
        postprocessors=[
            dict(
                type='UncertainBackground',
                in_channels=channels,
                min_probability=own['delta'],
            )
        ],
    )
    model.backbone = tower(
        replace(golden, weights=clip),
        gelu=True,
        last_block='maskclip',
        out_indices=(own['feats_idx'], -1),
        final_norm=('norm2', True),
    )
    (override,) = model.postprocessors
    for part in (model.neck, override):
        load_pretrained(part, dict(model_state_dict=published))
    mean, std = (torch.tensor(own[key]).view(3, 1, 1) for key in ('mean', 'std'))
    vectors = model.project_vocabulary()
    ours = {}
    for name in ('grid', 'odd'):
        image = golden.inputs[f'image_{name}']
        size = own['kwargs']['patch_size']
        # the authors pad before the normalisation
        image = F.pad(image, (0, -image.shape[-1] % size, 0, -image.shape[-2] % size))
        features = model.run_backbone((image - mean) / std)
        pooled = model.run_neck(features)
        scores = model.decode_head.activate(model.run_head(pooled, vectors))
        ours[f'{name}.features'] = features.maps[-1]
        ours[f'{name}.objectness'] = override.bkg_decoder(
            F.normalize(features.maps[0], dim=1)
        )
        ours[f'{name}.pooled'] = pooled.maps[-1]
        ours[f'{name}.probabilities0'] = scores
        ours[f'{name}.probabilities1'] = model.decode(pooled, vectors)
    return ours
