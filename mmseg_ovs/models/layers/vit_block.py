"""The transformer block of the DINO family.

Keys follow facebookresearch/dinov2 and dinov3 (``norm1``, ``attn``, ``ls1``, ``norm2``,
``mlp``, ``ls2``).
"""

from __future__ import annotations

from mmcv.cnn.bricks import DropPath
from torch import Tensor, nn

from .attention import SelfAttention
from .layer_scale import LayerScale


class ViTBlock(nn.Module):
    """Pre-norm transformer block with LayerScale and stochastic depth.

    Args:
        dims: Channels.
        attention: Self-attention module.
        feed_forward: Feed-forward module.
        norm_eps: Epsilon of both LayerNorms.
        layer_scale: Initial LayerScale; None leaves it (and its keys) out.
        drop_path: Probability of dropping a residual branch in training.
    """

    def __init__(
        self,
        dims: int,
        attention: SelfAttention,
        feed_forward: nn.Module,
        norm_eps: float,
        layer_scale: float | None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dims, eps=norm_eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dims, eps=norm_eps)
        self.mlp = feed_forward
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        if layer_scale is None:
            self.ls1, self.ls2 = nn.Identity(), nn.Identity()
        else:
            self.ls1 = LayerScale(dims, layer_scale)
            self.ls2 = LayerScale(dims, layer_scale)

    def project(self, x: Tensor, which: int) -> Tensor:
        """Query (0), key (1) or value (2) of tokens, heads side by side.

        (B, N, dims) -> (B, N, dims).
        """
        return self.attn.qkv(self.norm1(x)).chunk(3, dim=-1)[which]

    def forward(
        self,
        x: Tensor,
        rope: tuple[Tensor, Tensor] | None = None,
        cls_attention_from: int | None = None,
        grid: tuple[int, int] | None = None,
        with_norm2: bool = False,
    ) -> tuple[Tensor | None, ...]:
        """(B, N, dims) -> (B, N, dims) and the class attention if asked for.

        ``with_norm2`` adds the output (B, N, dims) of the second norm. Subclasses whose
        attention depends on where patches lie read ``grid``, the rows and columns of
        patches.
        """
        attended, cls_attention = self.attn(self.norm1(x), rope, cls_attention_from)
        x = x + self.drop_path(self.ls1(attended))
        normed = self.norm2(x)
        x = x + self.drop_path(self.ls2(self.mlp(normed)))
        return (x, cls_attention, normed) if with_norm2 else (x, cls_attention)
