"""The protocol of SCLIP and the methods on its code, through the public segmentor."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_ovs.models.text_encoders import TextTower, TowerTextEncoder

from .clip_variants import tower
from .golden import Golden, build_segmentor


class GivenPrompts(TextTower):
    """Answers with given vectors (rows, templates, D) of prompts."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(vectors)

    def forward(self, tokens: Tensor) -> Tensor:
        row, template = tokens.T
        return self.vectors[row, template]


def _text(golden: Golden) -> Tensor:
    """Vectors (rows, D) through the public text encoder."""
    vectors, rows = golden.inputs['prompt_text'], golden.constructor['rows']

    def tokenize(prompts: list[str]) -> Tensor:
        parts = (prompt.split(':') for prompt in prompts)
        return torch.tensor([[rows.index(name), int(i)] for i, name in parts])

    templates = [f'{i}:{{}}' for i in range(vectors.shape[1])]
    given = GivenPrompts(vectors)
    encoder = TowerTextEncoder(given, tokenize, vectors.shape[2], templates)
    return encoder.eval().encode_names(rows)


def run_protocol(golden: Golden) -> dict[str, Tensor]:
    """Class probabilities and labels under every setting."""
    constructor = golden.constructor
    sclip = golden.config['reference']['repo'] == 'wangf3014/SCLIP'
    text = _text(golden)
    width = text.shape[1]
    ours = {'text': text}
    for name, setting in constructor['settings'].items():
        test_cfg = dict(
            logit_scale=constructor['logit_scale'],
            min_probability=setting.get('prob_thd'),
            min_area=setting.get('area_thd'),
        )
        if setting.get('slide_crop') != 0:
            crop, stride = constructor['crop_size'], constructor['stride']
            test_cfg.update(mode='slide', crop_size=(crop,) * 2, stride=(stride,) * 2)
        else:  # NACLIP's second version resizes to the input first
            test_cfg.update(resize_once=sclip)
        pamr = dict(
            type='PAMR',
            num_iter=setting.get('pamr_steps', 0),
            dilations=setting.get('pamr_stride', (1,)),
            stage='output',
        )
        model = build_segmentor(
            constructor['rows'],
            text,
            dict(type='TextSimilarityHead', in_channels=width, text_channels=width),
            test_cfg,
            vocabulary=[names.split(', ') for names in constructor['class_list']],
            postprocessors=[pamr] if pamr['num_iter'] else [],
        )
        model.backbone = tower(golden, last_block='sclip' if sclip else 'naclip')
        size = tuple(constructor['original_size'])
        sample = SegDataSample(metainfo=dict(ori_shape=size))
        (sample,) = model.predict(golden.inputs['picture'], [sample])
        probabilities = sample.seg_logits.data
        if not sclip:  # NACLIP divides by the sum after the labels are made
            probabilities = probabilities / probabilities.sum(dim=0)
        ours[f'{name}.probabilities'] = probabilities
        ours[f'{name}.labels'] = sample.pred_sem_seg.data[0]
    return ours
