"""The aggregator: from features and words to a logit map a class.

Every class has its own cost, a map of ``channels``. Spatial blocks and decoder treat
each class alone, so classes run in chunks; class blocks join them in two passes over
the chunks. What no class changes is computed once an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...layers import Linear, use_onednn
from ...utils import is_exporting
from .chunks import replace_chunk
from .class_block import ClassBlock
from .correlation import competing_classes, correlation, strongest_classes
from .guided_decoder import GuidedUpsampling
from .shifted_windows import ShiftedWindows
from .spatial_block import SpatialBlock

# Logit of classes that are left out.
LEFT_OUT = -100.0


class AggregationLayer(nn.Module):
    """A spatial block and a class block, under the authors' names."""

    def __init__(self, swin_block: SpatialBlock, attention: ClassBlock) -> None:
        super().__init__()
        self.swin_block = swin_block
        self.attention = attention


class Aggregator(nn.Module):
    """Correlation, spatial and class blocks, guided decoder.

    Defaults are CAT-Seg's for ViT-B, but for ``pad_len``, which is 256 there.

    Args:
        text_channels: Width of features and text embeddings.
        prompt_channels: Text embeddings of a class.
        appearance_channels: Channels of the map that guides the spatial blocks; 0:
            none does.
        decoder_guidance_channels: Channels of the maps that guide the two decoder
            stages; empty: none does.
        channels: Channels of the cost of a class.
        num_layers: Pairs of a spatial and a class block.
        num_heads: Heads of all attentions.
        window_size: Side of the windows of the spatial blocks, which any grid may
            have; a grid that it divides is fastest.
        pooling: See :class:`ClassBlock`.
        test_pooling: See :class:`ClassBlock`.
        class_attention: 'linear' or 'full'.
        class_guidance: Whether the map that guides the spatial blocks also guides the
            class blocks, concatenated to their queries and keys.
        pad_len: Number of classes that the class blocks always see. Fewer are padded
            with learned tokens; of more, those with the highest correlation are kept
            and the others get -100. None: all classes, without padding.
        keep_classes: Outside training, only classes among so many of the highest mean
            correlation at some position are aggregated; the others get -100 there. An
            approximation after SED's early rejection (Xie et al., CVPR 2024), which
            rejects by predictions between its layers. None: all classes.
        text_guidance_dims: Width to which text guidance is projected.
        appearance_guidance_dims: Width to which appearance guidance is projected.
        decoder_dims: Channels after the two decoder stages.
        decoder_guidance_dims: Widths to which decoder guidance is projected.
        class_chunk: Classes that run together; bounds the memory, does not change the
            result. None: all.
    """

    def __init__(
        self,
        text_channels: int = 512,
        prompt_channels: int = 1,
        appearance_channels: int = 0,
        decoder_guidance_channels: Sequence[int] = (),
        channels: int = 128,
        num_layers: int = 2,
        num_heads: int = 4,
        window_size: int = 12,
        pooling: tuple[int, int] = (2, 2),
        test_pooling: tuple[int, int] | None = None,
        class_attention: str = 'linear',
        class_guidance: bool = False,
        pad_len: int | None = None,
        keep_classes: int | None = None,
        text_guidance_dims: int = 128,
        appearance_guidance_dims: int = 128,
        decoder_dims: tuple[int, int] = (64, 32),
        decoder_guidance_dims: tuple[int, int] = (32, 16),
        class_chunk: int | None = 8,
    ) -> None:
        super().__init__()
        if len(decoder_guidance_channels) not in (0, 2):
            raise ValueError(
                'The decoder has two stages: give guidance for both or for none, not '
                f'{len(decoder_guidance_channels)}'
            )
        if class_guidance and not appearance_channels:
            raise ValueError(
                'class_guidance needs a map: give the head appearance_guidance, or '
                'leave class_guidance out'
            )
        if class_chunk is not None and class_chunk < 1:
            raise ValueError(
                f'class_chunk has to be at least 1, or None for all classes at once, '
                f'got {class_chunk}'
            )
        whole = type(keep_classes) is int
        if keep_classes is not None and not (whole and keep_classes >= 1):
            raise ValueError(
                'keep_classes has to be a whole number of at least 1, or None for all '
                f'classes, got {keep_classes!r}'
            )
        if not appearance_channels:
            appearance_guidance_dims = 0
        if not decoder_guidance_channels:
            decoder_guidance_dims = (0, 0)
        self.pad_len = pad_len
        self.keep_classes = keep_classes
        self.class_chunk = class_chunk
        self.conv1 = nn.Conv2d(prompt_channels, channels, 7, padding=3)
        self.guidance_projection = None
        if appearance_channels:
            self.guidance_projection = _projection(
                appearance_channels, appearance_guidance_dims
            )
        self.text_guidance_projection = nn.Sequential(
            Linear(text_channels, text_guidance_dims), nn.ReLU()
        )
        self.decoder_guidance_projection = nn.ModuleList(
            _projection(*pair)
            for pair in zip(
                decoder_guidance_channels, decoder_guidance_dims, strict=False
            )
        )
        self.layers = nn.ModuleList(
            AggregationLayer(
                SpatialBlock(
                    channels, appearance_guidance_dims, num_heads, window_size
                ),
                ClassBlock(
                    channels,
                    text_guidance_dims,
                    num_heads,
                    class_attention,
                    pooling,
                    test_pooling,
                    pad_len,
                    appearance_guidance_dims if class_guidance else 0,
                ),
            )
            for _ in range(num_layers)
        )
        self.decoder1 = GuidedUpsampling(
            channels, decoder_dims[0], decoder_guidance_dims[0]
        )
        self.decoder2 = GuidedUpsampling(*decoder_dims, decoder_guidance_dims[1])
        self.head = nn.Conv2d(decoder_dims[1], 1, 3, padding=1)
        use_onednn(self)

    def forward(
        self,
        features: Tensor,
        text: Tensor,
        appearance: Tensor | None = None,
        decoder_guidance: Sequence[Tensor] = (),
    ) -> Tensor:
        """Logits of every class.

        Args:
            features: Feature maps (B, D, h, w).
            text: Text embeddings (T, P, D).
            appearance: Guidance of the spatial blocks (B, G, h, w), if built with it.
            decoder_guidance: Guidance of the decoder stages, (B, G, 2h, 2w) and
                (B, G, 4h, 4w), if built with it.

        Returns:
            (B, T, 4h, 4w).

        Raises:
            ValueError: Number of embeddings of a class, or channels or size of
                guidance differ from what the aggregator was built for.
        """
        if text.shape[1] != self.conv1.in_channels:
            raise ValueError(
                f'There are {text.shape[1]} text embeddings a class, the head was '
                f'built for {self.conv1.in_channels}: set prompt_channels, or let the '
                'text encoder average its templates'
            )
        if self.guidance_projection is not None:
            appearance = _guide(
                'the spatial blocks', self.guidance_projection, appearance, features, 1
            )
        decoder_guidance = [
            _guide(f'decoder stage {i}', projection, guidance, features, 2**i)
            for i, (projection, guidance) in enumerate(
                zip(self.decoder_guidance_projection, decoder_guidance, strict=True), 1
            )
        ]
        windows = self.layers[0].swin_block.lay_windows(tuple(features.shape[-2:]))
        # One image at a time: which classes are kept and all guidance differ.
        return torch.stack(
            [
                self._aggregate(
                    features[i : i + 1],
                    text,
                    None if appearance is None else appearance[i],
                    [guidance[i : i + 1] for guidance in decoder_guidance],
                    windows,
                )
                for i in range(len(features))
            ]
        )

    def _aggregate(
        self,
        features: Tensor,
        text: Tensor,
        appearance: Tensor | None,
        decoder_guidance: list[Tensor],
        windows: list[ShiftedWindows],
    ) -> Tensor:
        """Logits (T, 4h, 4w) of one image."""
        count, size = text.shape[0], tuple(features.shape[-2:])
        chunk = count if is_exporting() else self.class_chunk or count
        kept = None
        if not self.training and self.keep_classes and count > self.keep_classes:
            kept = competing_classes(features, text, self.keep_classes, chunk)
            text = text[kept]
        if self.pad_len is not None and text.shape[0] > self.pad_len:
            strongest = strongest_classes(features, text, self.pad_len, chunk)
            kept = strongest if kept is None else kept[strongest]
            # The authors normalise before the mean over prompts only here.
            text = F.normalize(text[strongest], dim=-1)
        text_guidance = F.normalize(text.mean(dim=1), dim=-1)
        text_guidance = self.text_guidance_projection(text_guidance)
        # not len(text), which would fix the number of rows in an export
        parts = text.split(chunk) if chunk < text.shape[0] else [text]
        chunks = [self._embed(features, part) for part in parts]
        for layer in self.layers:
            prepared = layer.swin_block.prepare(appearance, windows)
            for i, cost in enumerate(chunks):
                replace_chunk(chunks, i, layer.swin_block(cost, prepared))
            layer.attention(chunks, text_guidance, appearance)
        logits = self._decode(chunks, size, decoder_guidance)
        if kept is None:
            return logits
        everything = logits.new_full((count, *logits.shape[1:]), LEFT_OUT)
        return everything.index_copy(0, kept, logits)

    def _embed(self, features: Tensor, text: Tensor) -> Tensor:
        """Cost (t, h, w, C) of some classes."""
        cost = self.conv1(correlation(features, text)[0])
        return cost.permute(0, 2, 3, 1).contiguous()

    def _decode(
        self, chunks: list[Tensor], size: tuple[int, int], guidance: list[Tensor]
    ) -> Tensor:
        """Logits (T, 4h, 4w) of all costs (t, h, w, C)."""
        stages = [self.decoder1, self.decoder2]
        guidance = guidance or [None, None]
        prepared = [
            stage.prepare(guide, (2**i * size[0], 2**i * size[1]))
            for i, (stage, guide) in enumerate(zip(stages, guidance, strict=True), 1)
        ]
        logits = []
        for cost in chunks:
            x = cost.permute(0, 3, 1, 2)
            for stage, ready in zip(stages, prepared, strict=True):
                x = stage(x, ready)
            logits.append(self.head(x).squeeze(1))
        return torch.cat(logits)

    @staticmethod
    def convert_state_dict(state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The authors' state dict, less the masks that follow from the grid's size."""
        return SpatialBlock.convert_state_dict(state)


def _projection(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.ReLU())


def _guide(
    name: str, projection: nn.Module, guidance: Tensor, features: Tensor, scale: int
) -> Tensor:
    """Project a guidance map whose size is ``scale`` times that of the features."""
    height, width = (scale * side for side in features.shape[-2:])
    wanted = (projection[0].in_channels, height, width)
    if tuple(guidance.shape[1:]) != wanted:
        raise ValueError(
            f'Guidance of {name} has to be {wanted} (channels, height, width) for '
            f'features of {tuple(features.shape[-2:])}, got '
            f'{tuple(guidance.shape[1:])}: correct its channels and stride, or the '
            'grid of its source (scale_factor of a StructureAwareEncoder)'
        )
    return projection(guidance)
