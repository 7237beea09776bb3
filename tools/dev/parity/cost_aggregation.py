"""Our cost aggregation built from, loaded with and run on CAT-Seg's golden files."""

import torch
from torch import Tensor

from mmseg_ovs.models.decode_heads.cost_aggregation import (
    Aggregator,
    ClassBlock,
    GuidedUpsampling,
    SpatialBlock,
    correlation,
)
from mmseg_ovs.models.utils import load_pretrained

from .golden import Golden


def build_aggregator(kwargs: dict) -> Aggregator:
    """Our aggregator for the arguments of the official ``Aggregator``."""
    return Aggregator(
        text_channels=kwargs['text_guidance_dim'],
        prompt_channels=kwargs['prompt_channel'],
        appearance_channels=kwargs['appearance_guidance_dim'],
        decoder_guidance_channels=[c for c in kwargs['decoder_guidance_dims'] if c],
        channels=kwargs['hidden_dim'],
        num_layers=kwargs['num_layers'],
        num_heads=kwargs['nheads'],
        window_size=kwargs['window_size'],
        pooling=kwargs['pooling_size'],
        class_attention=kwargs['attention_type'],
        pad_len=kwargs['pad_len'] or None,
        text_guidance_dims=kwargs['text_guidance_proj_dim'],
        appearance_guidance_dims=kwargs['appearance_guidance_proj_dim'],
        decoder_dims=kwargs['decoder_dims'],
        decoder_guidance_dims=kwargs['decoder_guidance_proj_dims'],
        class_chunk=2,
    )


def run_aggregator(golden: Golden) -> dict[str, Tensor]:
    """Correlation and logits for every text input, and with pooling 1x1."""
    kwargs = golden.kwargs
    model = build_aggregator(kwargs).eval()
    load_pretrained(model, golden.weights)
    features = golden.inputs['img_feats']
    guidance = [golden.inputs[f'guidance_{i}'] for i in range(3)]
    appearance = guidance[0] if model.guidance_projection is not None else None
    decoder = guidance[1:] if len(model.decoder_guidance_projection) else ()

    def run(text: Tensor) -> Tensor:
        """The official call takes a text an image."""
        images = [
            model(
                features[i : i + 1],
                text[i],
                None if appearance is None else appearance[i : i + 1],
                [guide[i : i + 1] for guide in decoder],
            )
            for i in range(len(features))
        ]
        return torch.cat(images)

    ours = {}
    texts = {
        name.removeprefix('text_'): value
        for name, value in golden.inputs.items()
        if name.startswith('text_')
    }
    for name, text in texts.items():
        ours[f'{name}.logits'] = run(text)
        cost = [correlation(f[None], t) for f, t in zip(features, text, strict=True)]
        ours[f'{name}.correlation'] = torch.cat(cost).transpose(1, 2)
    if 'pool1' in golden.outputs:
        for layer in model.layers:
            layer.attention.test_pooling = (1, 1)
        (text,) = texts.values()
        ours['pool1'] = run(text)
    return ours


def _by_class(x: Tensor) -> Tensor:
    """Official cost (C, T, H, W) of an image to ours (T, H, W, C)."""
    return x.permute(1, 2, 3, 0).contiguous()


def run_spatial_block(golden: Golden) -> dict[str, Tensor]:
    """Both Swin blocks, and what is between them."""
    kwargs = golden.kwargs
    block = SpatialBlock(
        kwargs['dim'],
        kwargs['appearance_guidance_dim'],
        kwargs['nheads'],
        kwargs['window_size'],
    ).eval()
    load_pretrained(block, golden.weights)
    between, out = [], []
    for x, guidance in zip(golden.inputs['x'], golden.inputs['guidance'], strict=True):
        x = _by_class(x)
        windows = block.lay_windows(tuple(guidance.shape[-2:]))
        prepared = block.prepare(guidance, windows)
        between.append(block.block_1(x.flatten(1, 2), prepared[0]))
        out.append(block(x, prepared).permute(3, 0, 1, 2))
    return {'after_block_1': torch.cat(between), 'x': torch.stack(out)}


def run_class_block(golden: Golden) -> dict[str, Tensor]:
    """Class aggregation with fewer and as many classes as ``pad_len``."""
    kwargs = golden.kwargs
    block = ClassBlock(
        kwargs['hidden_dim'],
        kwargs['guidance_dim'],
        kwargs['nheads'],
        kwargs['attention_type'],
        kwargs['pooling_size'],
        pad_len=kwargs['pad_len'] or None,
    ).eval()
    load_pretrained(block, golden.weights)
    ours = {}
    for name in golden.outputs:
        guidance = golden.inputs[name.replace('x', 'guidance')]
        out = []
        for x, guide in zip(golden.inputs[name], guidance, strict=True):
            chunks = list(_by_class(x).split(2))
            block(chunks, guide)
            out.append(torch.cat(chunks).permute(3, 0, 1, 2))
        ours[name] = torch.stack(out)
    return ours


def run_decoder_stage(golden: Golden) -> dict[str, Tensor]:
    """One decoder stage."""
    kwargs = golden.kwargs
    stage = GuidedUpsampling(
        kwargs['in_channels'], kwargs['out_channels'], kwargs['guidance_channels']
    ).eval()
    load_pretrained(stage, golden.weights)
    guidance = golden.inputs['guidance']
    images = golden.inputs['x'].chunk(len(guidance))
    out = [
        stage(x, stage.prepare(guide[None], tuple(guide.shape[-2:])))
        for x, guide in zip(images, guidance, strict=True)
    ]
    return {'x': torch.cat(out)}
