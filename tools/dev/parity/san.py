"""MMSegmentation's SAN, run with our text encoder and our inference."""

import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_ovs.models.text_encoders import (
    OpenCLIPTextTower,
    TowerTextEncoder,
    build_clip,
    text_state_dict,
)
from mmseg_ovs.models.utils import load_pretrained

from .golden import Golden


class _TextEncoder(TowerTextEncoder):
    """The tower of a golden file, whose prompts have the tokens that the file gives."""

    def __init__(self, golden: Golden) -> None:
        text = golden.constructor['config']['text_encoder']
        prompts = [p for row in golden.constructor['prompts'] for p in row]
        tokens = golden.inputs['tokens'].flatten(0, 1)
        config = dict(
            embed_dim=text['output_dims'],
            quick_gelu=True,
            text_cfg=dict(
                context_length=text['context_length'],
                vocab_size=text['total_vocab_size'],
                width=text['embed_dims'],
                heads=text['num_heads'],
                layers=text['num_layers'],
            ),
        )
        super().__init__(
            OpenCLIPTextTower(build_clip(config)),
            lambda asked: tokens[[prompts.index(prompt) for prompt in asked]],
            text['output_dims'],
            templates=text['templates'],
            vocabulary=text['vocabulary'],
        )

    def read_names(self, names: list[str]) -> list[str]:
        return names

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f'tower.clip.{k}': v for k, v in text_state_dict(state).items()}


def run_san(golden: Golden) -> dict[str, Tensor]:
    """Text, maps of CLIP, masks, their classes and the scores."""
    init_default_scope('mmseg')
    cfg = dict(golden.constructor['config'], type='OpenVocabSAN')
    cfg['text_encoder'] = dict(type='SANTextEncoder', encoder=_TextEncoder(golden))
    model = MODELS.build(cfg).eval()
    load_pretrained(model, golden.weights)
    image = golden.inputs['picture']
    ours = {'text': model.project_vocabulary()}
    seen = torch.nn.functional.interpolate(image, scale_factor=0.5, mode='bilinear')
    for i, (maps, _) in enumerate(model.extract_feat(seen)):  # and class tokens
        ours[f'features.{i}'] = maps
    (found,) = model.find_masks(image, ours['text'])
    ours['masks'], ours['class_logits'] = found.logits[None], found.text[None]
    size = tuple(golden.constructor['original_size'])
    sample = SegDataSample(metainfo=dict(ori_shape=size))
    (sample,) = model.predict(image, [sample], keep_logits=True)
    return {**ours, 'scores': sample.seg_logits.data}
