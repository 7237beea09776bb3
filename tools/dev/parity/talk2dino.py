"""Our Talk2DINO parts built from, loaded with and run on golden files."""

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_ovs.models.decode_heads import Talk2DINOProjection
from mmseg_ovs.models.decode_heads.talk2dino_head import align_heads, head_embeddings
from mmseg_ovs.models.losses import InfoNCELoss
from mmseg_ovs.models.postprocessors import PAMR, BackgroundCleaning
from mmseg_ovs.models.utils import cosine_similarity_map, load_pretrained
from mmseg_ovs.structures import VisualFeatures

from .dino import build_dinov2
from .golden import Golden, GoldenFileError, build_segmentor, tokens_of

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


def run_pamr(golden: Golden) -> dict[str, Tensor]:
    """Mask refinement; the masks are first resized to the image."""
    pamr = PAMR(**golden.kwargs)
    image = golden.inputs['image']
    masks = F.interpolate(
        golden.inputs['mask'], image.shape[-2:], mode='bilinear', align_corners=True
    )
    refined = [
        pamr.refine(mask, pamr.prepare(rgb))
        for mask, rgb in zip(masks, image, strict=True)
    ]
    return {'mask': torch.stack(refined)}


def _projection(kwargs: dict, text_width: int) -> Talk2DINOProjection:
    if kwargs['hidden_layer'] and kwargs['act'] != 'tanh':
        raise GoldenFileError(f'no counterpart for the activation {kwargs["act"]!r}')
    return Talk2DINOProjection(
        in_channels=text_width,
        out_channels=kwargs['dino_embed_dim'],
        num_hidden=int(kwargs['hidden_layer']),
    ).eval()


def run_projection(golden: Golden) -> dict[str, Tensor]:
    """Projection, head alignment and the InfoNCE loss."""
    if not golden.weights:
        return _published_projection(golden)
    text = golden.inputs['text']
    kwargs = golden.kwargs
    projection = _projection(kwargs, text.shape[1])
    load_pretrained(projection, golden.weights)
    projected = projection(text)
    normalized = F.normalize(projected, dim=-1)
    ours = {'project_clip_txt': projected}
    for name, visual in golden.inputs.items():
        if not name.startswith('visual'):
            continue
        visual = F.normalize(visual, dim=-1)
        heads = visual if visual.ndim == 3 else visual[:, None]
        similarity, index = align_heads(heads, normalized)
        ours[f'{name}.similarity'] = similarity
        ours[f'{name}.diagonal'] = similarity.diagonal()
        ours[f'{name}.text_normalized'] = normalized
        ours[f'{name}.visual_normalized'] = visual
        ours[f'{name}.head_index'] = index
        ours[f'{name}.loss'] = InfoNCELoss()(similarity)
    return ours


def _published_projection(golden: Golden) -> dict[str, Tensor]:
    """The authors' published projection files."""
    text = golden.inputs['text']
    kwargs = golden.kwargs
    visual = F.normalize(golden.inputs['visual_heads'], dim=-1)
    ours = {}
    for name in sorted({output.split('.')[0] for output in golden.outputs}):
        projection = _projection(kwargs, text.shape[1])
        load_pretrained(projection, golden.weights_dir / f'{name}.pth')
        projected = projection(text)
        ours[f'{name}.project_clip_txt'] = projected
        similarity, _ = align_heads(visual, F.normalize(projected, dim=-1))
        ours[f'{name}.similarity'] = similarity
    return ours


def _build_segmentor(golden: Golden, names: list[str]) -> nn.Module:
    constructor = golden.constructor
    projection = constructor['proj']['kwargs']
    side = constructor['resize_dim']
    text = golden.inputs['clip_text'].mean(dim=1)
    model = build_segmentor(
        names,
        text,
        dict(
            type='Talk2DINOHead',
            in_channels=projection['dino_embed_dim'],
            text_channels=text.shape[-1],
            text_projection=dict(num_hidden=int(projection['hidden_layer'])),
            attention_scale=constructor['scale'],
        ),
        dict(mode='whole', input_size=(side, side)),
        data_preprocessor=dict(
            type='OpenVocabDataPreProcessor',
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            bgr_to_rgb=True,
        ),
    )
    extras = ('cls_token', 'registers', 'cls_attention')
    kwargs = constructor['backbone']['kwargs']
    model.backbone = build_dinov2(kwargs, extra_outputs=extras)
    load_pretrained(model.backbone, golden.weights, prefix='backbone')
    load_pretrained(model.decode_head.text_projection, golden.weights, prefix='proj')
    return model.eval()


def run_segmentation(golden: Golden) -> dict[str, Tensor]:
    """The whole image path, through the public segmentor."""
    constructor = golden.constructor
    names = [f'class {i}' for i in range(len(golden.inputs['clip_text']))]
    model = _build_segmentor(golden, names)
    text = model.project_vocabulary()
    cleaning = BackgroundCleaning(constructor['lambda_bg'], constructor['scale'])
    ours = {'text_embedding': text}
    ours.update(_attention_outputs(model, golden, constructor['scale']))

    features = model.extract_feat(golden.inputs['normalized_image'])
    first = VisualFeatures(
        (features.maps[-1][:1],), cls_attention=features.cls_attention[:1]
    )
    similarity = cosine_similarity_map(first.maps[-1], text)
    ours['image_features'] = first.maps[-1]
    ours['masker_simmap'] = similarity
    ours['masker_mask'] = similarity.sigmoid()
    ours['bg_clean'] = cleaning(similarity.sigmoid(), first, text)

    pamr = PAMR(**constructor['pamr'])
    image, odd = golden.inputs['image_bgr'], golden.inputs['image_bgr_odd']
    for clean in (0, 1):
        for refine in (0, 1):
            model.postprocessors = nn.ModuleList([cleaning] * clean + [pamr] * refine)
            ours[f'masks_clean{clean}_pamr{refine}'] = _masks(model, image)
    model.postprocessors = nn.ModuleList([cleaning])
    for antialias in (0, 1):
        model.test_cfg['input_antialias'] = bool(antialias)
        ours[f'masks_odd_antialias{antialias}'] = _masks(model, odd)
    return ours


def _masks(model: nn.Module, image: Tensor) -> Tensor:
    data = dict(inputs=[image[0]], data_samples=[SegDataSample()])
    sample = model.test_step(data)[0]
    return sample.seg_logits.data[None]


def _attention_outputs(
    model: nn.Module, golden: Golden, scale: float
) -> dict[str, Tensor]:
    """Class-token attention of the last block and the embeddings made from it."""
    last = model.backbone.blocks[-1]
    captured = {}
    handle = last.attn.qkv.register_forward_hook(
        lambda module, args, output: captured.update(qkv=output)
    )
    features = model.extract_feat(golden.inputs['normalized_image'])
    handle.remove()
    attention = features.cls_attention.flatten(2) * scale
    mean_attention = attention.mean(dim=1).softmax(dim=-1)
    patches = tokens_of(features.maps[-1])
    return {
        'qkv': captured['qkv'],
        'self_attn_maps': attention,
        'self_attn_maps_softmax': attention.softmax(dim=-1),
        'self_attn': mean_attention,
        'average_embedding': (mean_attention[:, None] @ patches)[:, 0]
        / patches.shape[1],
        'head_embeddings': head_embeddings(features, scale),
    }
