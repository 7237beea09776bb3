"""Our dino.txt built from, loaded with and run on golden files."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ovs.models.necks import DinoTxtVisionHead, as_visual_features
from mmseg_ovs.models.text_encoders import DinoTxtTextTower, TowerTextEncoder
from mmseg_ovs.models.utils import load_pretrained

from .dino import build_dinov2, build_dinov3
from .golden import Golden, build_segmentor, tokens_of


def _is_v2(golden: Golden) -> bool:
    return golden.constructor['cls'].startswith('dinov2.')


def _backbone(golden: Golden):
    kwargs = golden.constructor['vision_backbone']['kwargs']
    build = build_dinov2 if _is_v2(golden) else build_dinov3
    backbone = build(kwargs, extra_outputs=('cls_token', 'registers')).eval()
    # a sub-module of a wrapper in DINOv2's repository
    prefix = 'visual_model.backbone' + ('.model' if _is_v2(golden) else '')
    load_pretrained(backbone, golden.weights, prefix)
    return backbone


def _head(golden: Golden) -> DinoTxtVisionHead:
    constructor = golden.constructor
    kwargs = constructor['vision_backbone']['kwargs']
    head = DinoTxtVisionHead(
        kwargs['embed_dim'],
        kwargs['num_heads'],
        constructor['model_config']['vision_model_num_head_blocks'],
    )
    load_pretrained(head, golden.weights, 'visual_model.head')
    return head.eval()


def _text_encoder(golden: Golden, part: str) -> TowerTextEncoder:
    """Our encoder, whose prompts 'class i, prompt j' stand for the file's tokens."""
    constructor = golden.constructor
    kwargs = constructor['text_backbone']['kwargs']
    tower = DinoTxtTextTower(
        embed_dims=constructor['model_config']['embed_dim'] // 2,
        width=kwargs['dim'],
        depth=kwargs['num_layers'],
        num_heads=kwargs['num_heads'],
        context_length=kwargs['context_length'],
        vocab_size=kwargs['vocab_size'],
        part=part,
    )
    load_pretrained(tower, golden.weights, 'text_model')
    prompts = _prompts(golden)
    tokens = dict(zip(prompts, golden.inputs['tokens'], strict=True))
    other = torch.zeros_like(golden.inputs['tokens'][0])
    count = len(prompts) // golden.config['classes']
    return TowerTextEncoder(
        tower,
        lambda texts: torch.stack([tokens.get(text, other) for text in texts]),
        tower.projection.out_features,
        templates=[f'{{}} prompt {j}' for j in range(count)],
        vocabulary=_names(golden),
    ).eval()


def _names(golden: Golden) -> list[str]:
    return [f'class {i}' for i in range(golden.config['classes'])]


def _prompts(golden: Golden) -> list[str]:
    count = len(golden.inputs['tokens']) // golden.config['classes']
    return [f'{name} prompt {j}' for name in _names(golden) for j in range(count)]


def run_dinotxt(golden: Golden) -> dict[str, Tensor]:
    """Every output of a dino.txt file."""
    backbone, head = _backbone(golden), _head(golden)
    ours = {}
    for name, prefix in (('image', ''), ('image_native', 'native_')):
        if name not in golden.inputs:
            continue
        image = golden.inputs[name]
        features = as_visual_features(backbone(image), image)
        ours[f'{prefix}backbone_cls'] = features.cls_token
        ours[f'{prefix}backbone_patch'] = tokens_of(features.maps[-1])
        features = head(features)
        ours[f'{prefix}head_cls'] = features.cls_token
        ours[f'{prefix}head_patch'] = tokens_of(features.maps[-1])
    image = torch.cat([ours['head_cls'], ours['head_patch'].mean(dim=1)], dim=1)

    encoder = _text_encoder(golden, part='both')
    text = encoder.encode(_prompts(golden))
    ours['text_tokens'] = encoder.tower.token_features(golden.inputs['tokens'])
    if 'tokens_short' in golden.inputs:
        ours['encode_text_short'] = encoder.tower(golden.inputs['tokens_short'])
    ours['zeroshot_weights'] = encoder().T

    scale = golden.weights['logit_scale'].exp()
    ours['encode_image'], ours['encode_text'] = image, text
    ours['encode_image_normalized'] = image = F.normalize(image, dim=-1)
    ours['encode_text_normalized'] = text = F.normalize(text, dim=-1)
    ours['image_logits'] = scale * image @ text.T
    ours['text_logits'] = ours['image_logits'].T
    ours['logit_scale_exp'] = scale
    if 'seg_image_slide' in golden.inputs:
        ours.update(_segmentation(golden))
    return ours


def _segmentation(golden: Golden) -> dict[str, Tensor]:
    """The notebook's zero-shot segmentation through the public segmentor.

    As it runs, not as it is commented: it takes the third value of
    ``get_class_and_patch_tokens``, the backbone's patches, which have not been through
    the vision head (facebookresearch/dinov3, issue 355). So there is no neck here.
    """
    text = _text_encoder(golden, part='patch')()
    side, stride = golden.config['side'], golden.config['stride']
    width = text.shape[1]
    model = build_segmentor(
        _names(golden),
        text,
        dict(type='TextSimilarityHead', in_channels=width, text_channels=width),
        dict(
            mode='slide',
            crop_size=(side, side),
            stride=(stride, stride),
            window_softmax=True,
        ),
    )
    model.backbone = _backbone(golden)
    model.backbone.fit = 'resize'
    (slide,) = model.predict(golden.inputs['seg_image_slide'][None])
    return {
        'seg_text_features': text,
        'seg_whole': model(golden.inputs['seg_image_whole'][None])[0],
        'seg_slide': slide.seg_logits.data,
    }
