"""Cost aggregation the plain way, as published, with the weights of ours.

What the benchmark and the tests compare with. All classes run together, guidance is
repeated for every class and concatenated, missing classes become rows of padding,
attention is explicit. Source of the order of operations: CAT-Seg (arXiv 2303.11797),
cvlab-kaist/CAT-Seg cat_seg/modeling/transformer/model.py.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_ovs.models.decode_heads.cost_aggregation import (
    Aggregator,
    ClassBlock,
    GuidedUpsampling,
    SpatialBlock,
)


def plain_aggregator(
    model: Aggregator,
    features: Tensor,
    text: Tensor,
    appearance: Tensor | None = None,
    decoder_guidance: Sequence[Tensor] = (),
) -> Tensor:
    """Arguments and result as :meth:`Aggregator.forward`; no truncation."""
    batch, count = len(features), len(text)
    visual = F.normalize(features, dim=1)
    words = F.normalize(text, dim=-1)
    cost = torch.einsum('bchw,tpc->btphw', visual, words)
    cost = model.conv1(cost.flatten(0, 1)).unflatten(0, (batch, count))
    if appearance is not None:
        appearance = model.guidance_projection(appearance)
    guidance = [None, None]
    if decoder_guidance:
        projections = model.decoder_guidance_projection
        guidance = [
            project(guide)
            for project, guide in zip(projections, decoder_guidance, strict=True)
        ]
    text = text.mean(dim=1)
    text = model.text_guidance_projection(text / text.norm(dim=-1, keepdim=True))
    for layer in model.layers:
        cost = plain_spatial_block(layer.swin_block, cost, appearance)
        cost = plain_class_block(layer.attention, cost, text, appearance)
    x = cost.flatten(0, 1)
    for stage, guide in zip((model.decoder1, model.decoder2), guidance, strict=True):
        x = plain_decoder_stage(stage, x, guide)
    return model.head(x).squeeze(1).unflatten(0, (batch, count))


def plain_spatial_block(
    block: SpatialBlock, x: Tensor, guidance: Tensor | None
) -> Tensor:
    """Cost (B, T, C, h, w), guidance (B, G, h, w): cost."""
    batch, count, _, height, width = x.shape
    x = x.permute(0, 1, 3, 4, 2).flatten(0, 1).contiguous()
    if guidance is not None:
        guidance = guidance.permute(0, 2, 3, 1)[:, None]
        guidance = guidance.expand(-1, count, -1, -1, -1).flatten(0, 1)
        guidance = block.guidance_norm(guidance)
    window = block.window_size
    seam = window // 2
    if min(height, width) <= window:
        window, seam = min(height, width), 0
    for part, shift in ((block.block_1, 0), (block.block_2, seam)):
        x = x + _window_attention(part.attn, part.norm1(x), guidance, window, shift)
        x = x + part.mlp(part.norm2(x))
    x = x.unflatten(0, (batch, count))
    return x.permute(0, 1, 4, 2, 3).contiguous()


def _window_attention(
    attention: torch.nn.Module,
    x: Tensor,
    guidance: Tensor | None,
    window: int,
    shift: int,
) -> Tensor:
    """Maps (n, h, w, C) to the same; sides are filled up to whole windows."""
    dims, size = x.shape[-1], x.shape[1:3]
    if guidance is not None:
        x = torch.cat([x, guidance], dim=-1)
    bottom, right = (-side % window for side in size)
    x = F.pad(x, (0, 0, 0, right, 0, bottom))
    height, width = x.shape[1:3]
    filler = F.pad(torch.zeros(size), (0, right, 0, bottom), value=1.0)
    mask = None
    if shift or filler.any():
        regions = torch.zeros(height, width)
        bounds = ((0, -window), (-window, -shift), (-shift, None)) if shift else ()
        for i, rows in enumerate(bounds):
            for j, columns in enumerate(bounds):
                regions[slice(*rows), slice(*columns)] = 3 * i + j
        x = x.roll((-shift, -shift), dims=(1, 2))
        filler = filler.roll((-shift, -shift), dims=(0, 1))
        regions, filler = (
            _windows(t[None, ..., None], window).squeeze(-1) for t in (regions, filler)
        )
        mask = (regions[:, None] != regions[:, :, None]) * -100.0
        mask = mask.masked_fill(filler[:, None] != filler[:, :, None], -torch.inf)
    x = _windows(x, window)
    q, k, v = (
        linear(part).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for linear, part in (
            (attention.q, x),
            (attention.k, x),
            (attention.v, x[..., :dims]),
        )
    )
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        logits = logits.unflatten(0, (-1, len(mask))) + mask[:, None]
        logits = logits.flatten(0, 1)
    x = (logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    x = attention.proj(x).unflatten(1, (window, window))
    x = x.unflatten(0, (-1, height // window, width // window))
    x = x.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    x = x.roll((shift, shift), dims=(1, 2)) if shift else x
    return x[:, : size[0], : size[1]]


def _windows(x: Tensor, window: int) -> Tensor:
    """Maps (n, h, w, C) to windows (n * count, window * window, C)."""
    x = x.unflatten(2, (-1, window)).unflatten(1, (-1, window))
    return x.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def plain_class_block(
    block: ClassBlock, x: Tensor, guidance: Tensor, appearance: Tensor | None = None
) -> Tensor:
    """Cost (B, T, C, h, w), text guidance (T, G), appearance (B, G, h, w): cost."""
    batch, count, _, height, width = x.shape
    pooling = block.train_pooling if block.training else block.test_pooling
    pooled = F.avg_pool2d(x.flatten(0, 1), pooling)
    size = pooled.shape[-2:]
    pooled = pooled.unflatten(0, (batch, count))
    missing = max(0, (block.pad_len or 0) - count)
    if missing:
        token = block.padding_tokens[0, :, :, None, None]
        padding = token.expand(batch, missing, -1, *size)
        pooled = torch.cat([pooled, padding], dim=1)
        padding = block.padding_guidance[0].expand(missing, -1)
        guidance = torch.cat([guidance, padding])
    pooled = pooled.permute(0, 3, 4, 1, 2).flatten(0, 2)
    guidance = guidance.expand(len(pooled), -1, -1)
    normed = block.norm1(pooled)
    attention = block.attention
    both = torch.cat([normed, guidance], dim=-1)
    weights = [attention.q.weight, attention.k.weight]
    if attention.appearance is not None:
        by_place = F.avg_pool2d(appearance, pooling).permute(0, 2, 3, 1).flatten(0, 2)
        by_place = block.guidance_norm(by_place)[:, None]
        both = torch.cat([both, by_place.expand(-1, both.shape[1], -1)], dim=-1)
        more = attention.appearance.weight.chunk(2)
        weights = [torch.cat(pair, dim=1) for pair in zip(weights, more, strict=True)]
    q, k, v = (
        F.linear(part, weight, bias).unflatten(-1, (attention.num_heads, -1))
        for part, weight, bias in (
            (both, weights[0], attention.q.bias),
            (both, weights[1], attention.k.bias),
            (normed, attention.v.weight, attention.v.bias),
        )
    )
    if attention.kind == 'full':
        logits = torch.einsum('nlhd,nshd->nlsh', q, k) * q.shape[-1] ** -0.5
        attended = torch.einsum('nlsh,nshd->nlhd', logits.softmax(dim=2), v)
    else:
        q, k = F.elu(q) + 1, F.elu(k) + 1
        length = v.shape[1]
        key_values = torch.einsum('nshd,nshv->nhdv', k, v / length)
        weight = 1 / (torch.einsum('nlhd,nhd->nlh', q, k.sum(dim=1)) + 1e-6)
        attended = torch.einsum('nlhd,nhdv,nlh->nlhv', q, key_values, weight) * length
    pooled = pooled + attended.flatten(2)
    pooled = pooled + block.MLP(block.norm2(pooled))
    pooled = pooled.unflatten(0, (batch, *size)).permute(0, 3, 4, 1, 2)
    pooled = F.interpolate(
        pooled.flatten(0, 1), (height, width), mode='bilinear', align_corners=True
    )
    return x + pooled.unflatten(0, (batch, -1))[:, :count]


def plain_decoder_stage(
    stage: GuidedUpsampling, x: Tensor, guidance: Tensor | None
) -> Tensor:
    """Maps (B * T, C, h, w), guidance (B, G, 2h, 2w): (B * T, out, 2h, 2w)."""
    x = stage.up(x)
    if guidance is not None:
        guidance = guidance.repeat_interleave(len(x) // len(guidance), dim=0)
        x = torch.cat([x, guidance], dim=1)
    return stage.conv.double_conv(x)
