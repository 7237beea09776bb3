"""Our CLIP towers and local-global inference, run on CAT-Seg's golden files."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_ovs.models.backbones import OpenCLIPImageEncoder
from mmseg_ovs.models.decode_heads import OpenVocabHead
from mmseg_ovs.models.text_encoders import (
    OpenCLIPTextTower,
    build_clip,
    text_state_dict,
)
from mmseg_ovs.models.utils import load_pretrained

from .golden import Golden, build_segmentor

CLIP_MEAN = [122.7709383, 116.7460125, 104.09373615]
CLIP_STD = [68.5005327, 66.6321579, 70.3231630]


def _image_encoder(golden: Golden, **kwargs) -> OpenCLIPImageEncoder:
    constructor = golden.constructor
    clip = constructor['kwargs']
    encoder = OpenCLIPImageEncoder(
        dict(
            embed_dim=clip['embed_dim'],
            quick_gelu=True,
            vision_cfg=dict(
                width=clip['vision_width'],
                layers=clip['vision_layers'],
                head_width=clip['vision_width'] // constructor['vision_heads'],
                patch_size=clip['vision_patch_size'],
                image_size=clip['image_resolution'],
            ),
        ),
        extra_outputs=('cls_token',),
        **kwargs,
    )
    load_pretrained(encoder, golden.weights)
    return encoder.eval()


def text_tower(golden: Golden, weights: dict[str, Tensor]) -> OpenCLIPTextTower:
    """Our tower with the weights of a CLIP, of the sizes in a golden file."""
    clip = golden.kwargs
    config = dict(
        embed_dim=clip['embed_dim'],
        quick_gelu=True,
        text_cfg=dict(
            context_length=clip['context_length'],
            vocab_size=clip['vocab_size'],
            width=clip['transformer_width'],
            heads=clip['transformer_heads'],
            layers=clip['transformer_layers'],
        ),
    )
    tower = OpenCLIPTextTower(build_clip(config)).eval()
    load_pretrained(tower.clip, text_state_dict(weights))
    return tower


def run_clip(golden: Golden) -> dict[str, Tensor]:
    """Dense features, guidance layers, the image's embedding, and text."""
    last = golden.kwargs['vision_layers'] - 1
    layers = tuple(range(last))
    dense = _image_encoder(
        golden,
        last_block='catseg',
        out_indices=(*layers, last),
        final_norm=(*(False for _ in layers), True),
    )
    plain = _image_encoder(golden)
    # The golden layers hold the class token too, which our maps do not.
    tokens = {}
    for i in layers:
        dense.blocks[i].register_forward_hook(
            lambda module, args, out, i=i: tokens.update({i: out[0].transpose(0, 1)})
        )
    ours = {}
    for name, image in golden.inputs.items():
        if not name.startswith('image'):
            continue
        features = dense(image)
        *guidance, last_map = features.maps
        patches = last_map.flatten(2).transpose(1, 2)
        ours[f'{name}.dense'] = torch.cat([features.cls_token[:, None], patches], 1)
        for i, layer in enumerate(guidance):
            ours[f'{name}.layer{i}'] = torch.cat(
                [tokens[i][:1], layer.flatten(2).permute(2, 0, 1)]
            )
        if f'{name}.pooled' in golden.outputs:
            ours[f'{name}.pooled'] = plain(image).cls_token
    ours['text'] = text_tower(golden, golden.weights)(golden.inputs['tokens'])
    return ours


class _Recorder(nn.Module):
    """A backbone that hands its images on."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x,)


class _GivenLogits(OpenVocabHead):
    """A head that keeps its images and answers with given logits, in order."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits
        self.images: list[Tensor] = []

    def forward(self, features, text: Tensor) -> Tensor:
        start = sum(map(len, self.images))
        (images,) = features.maps
        self.images.append(images)
        return self.logits[start : start + len(images)]

    def activate(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def loss(self, features, text_encoder, data_samples):
        raise NotImplementedError


def run_sliding_window(golden: Golden) -> dict[str, Tensor]:
    """Windows and whole image through the public segmentor, and their merge."""
    kwargs = golden.kwargs
    kernel, clip = kwargs['kernel'], kwargs['clip']
    stride = int(kernel * (1 - kwargs['overlap']))
    names = [f'class {i}' for i in range(kwargs['classes'])]
    model = build_segmentor(
        names,
        torch.ones(len(names), 1),
        dict(type='TextSimilarityHead', in_channels=1, text_channels=1),
        dict(
            mode='local-global',
            aggregation='logits',
            image_size=kwargs['out_res'],
            crop_size=(kernel, kernel),
            stride=(stride, stride),
            input_size=(clip, clip),
            input_antialias=False,
            window_batch_size=2,
        ),
        data_preprocessor=dict(
            type='OpenVocabDataPreProcessor', mean=CLIP_MEAN, std=CLIP_STD
        ),
    )
    model.backbone = _Recorder()
    model.decode_head = head = _GivenLogits(golden.inputs['logits'])
    sample = SegDataSample(metainfo=dict(ori_shape=tuple(kwargs['out'])))
    data = dict(inputs=[golden.inputs['image']], data_samples=[sample])
    (result,) = model.test_step(data)
    return {'clip_images': torch.cat(head.images), 'sem_seg': result.seg_logits.data}
