"""The whole of TCL, loaded from one file of the authors' layout."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmseg_ovs.models.utils import cosine_similarity_map, load_pretrained

from .catseg import text_tower
from .golden import Golden, build_segmentor


def _build(golden: Golden) -> tuple[nn.Module, Tensor]:
    """The segmentor with the weights of a file, and its text vectors."""
    constructor, clip = golden.constructor, golden.kwargs
    width, dims = clip['vision_width'], clip['embed_dim']
    last = clip['vision_layers'] - 1
    prefix = golden.config['prefixes']['text']
    tower = text_tower(
        golden,
        {
            key.removeprefix(prefix): value
            for key, value in golden.weights.items()
            if key.startswith(prefix)
        },
    )
    text = torch.stack([tower(t).mean(dim=0) for t in golden.inputs['tokens']])
    model = build_segmentor(
        [f'class {i}' for i in range(len(text))],
        text,
        dict(type='TCLHead', in_channels=dims, text_channels=dims),
        dict(mode='whole'),
        data_preprocessor=dict(
            type='OpenVocabDataPreProcessor',
            mean=[255 * value for value in constructor['mean']],
            std=[255 * value for value in constructor['std']],
        ),
        backbone=dict(
            type='OpenCLIPImageEncoder',
            model=dict(
                embed_dim=dims,
                quick_gelu=True,
                vision_cfg=dict(
                    width=width,
                    layers=last + 1,
                    head_width=width // constructor['vision_heads'],
                    patch_size=clip['vision_patch_size'],
                    image_size=clip['image_resolution'],
                ),
            ),
            last_block='maskclip',
            out_indices=(last - 1, last),
            final_norm=(False, True),
        ),
        neck=dict(type='TCLMasker', in_channels=width, out_channels=dims),
        postprocessors=[
            dict(type='PAMR', stage='grid', **constructor['pamr']),
            dict(type='ScoreMix', weight=constructor['kp_w']),
        ],
    )
    load_pretrained(model, dict(model=golden.weights))
    return model, text


def _centred(image: Tensor, patch: int) -> tuple[Tensor, tuple[slice, slice]]:
    """A normalised image in whole patches, and where it lies in them.

    The authors put it in the middle; no window of the benchmarks needs it.
    """
    rows, columns = (-side % patch for side in image.shape[-2:])
    top, left = rows // 2, columns // 2
    padded = F.pad(image, (left, columns - left, top, rows - top))
    height, width = image.shape[-2:]
    return padded, (slice(top, top + height), slice(left, left + width))


def run_tcl(golden: Golden) -> dict[str, Tensor]:
    """Text, features, masks with and without refinement and CLIP's own scores."""
    model, text = _build(golden)
    ours = {'text': model.decode_head.project_text(text)}
    every = model.postprocessors
    for name, image in golden.inputs.items():
        if not name.startswith('image'):
            continue
        name = name.removeprefix('image_')
        image, (rows, columns) = _centred(image, golden.kwargs['vision_patch_size'])
        features = model.extract_feat(image)
        clip, masker = features.maps
        ours[f'{name}.clip_features'] = clip
        ours[f'{name}.masker_features'] = masker
        ours[f'{name}.similarity'] = cosine_similarity_map(masker, ours['text'])
        for mix, processors in (('0', every[:1]), ('0.3', every)):
            model.postprocessors = processors
            for refine in (False, True):
                (sample,) = model.predict(image, refine=refine)
                mask = sample.seg_logits.data[None, :, rows, columns]
                ours[f'{name}.pamr{int(refine)}_kp{mix}'] = mask
        model.postprocessors = nn.ModuleList()
        ours[f'{name}.soft_mask'] = model.encode_decode(image, ours['text'])
    return ours
