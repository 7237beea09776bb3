"""The head of TCL and CoDe, which knows the files of their authors.

Source: kakaobrain/tcl, models/tcl/masker.py (arXiv 2212.00785);
072jiajia/Image-Text-Co-Decomposition (arXiv 2404.04231).
"""

from __future__ import annotations

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_ovs.structures import VisualFeatures

from ..utils import PretrainedModule
from .text_similarity_head import TextSimilarityHead

# The authors' prefixes, and where what follows them belongs.
_PARTS = {
    'clip_image_encoder.clip_visual.': ('backbone', 'visual.'),
    'clip_image_encoder.clip_proj.ln.': ('backbone', 'visual.ln_post.'),
    'clip_image_encoder.clip_proj.': ('backbone', 'visual.'),
    'clip_text_encoder.': ('text_encoder', ''),
    'masker.image_encoder.': ('neck', ''),
    'masker.sim2mask.': ('decode_head', ''),
    '': ('decode_head', ''),
}
# Temperatures of the losses; CoDe's side of words, and constants of its PAMR.
_TRAINING_ONLY = (
    'tcli_loss.',
    'tclf_loss.',
    'hcl_loss.',
    'frozen_clip.',
    'text_decoder.',
    'text_mask_w',
    'text_mask_b',
    'bg_text',
    'learnable_image_bg',
    'pamr.',
)


@MODELS.register_module()
class TCLHead(PretrainedModule, TextSimilarityHead):
    """Sigmoid of a cosine with a trained factor and offset.

    Args:
        in_channels: Channels of the masker's features.
        text_channels: Width of the text vectors; the same without ``text_slice``.
        text_slice: Columns of the text vectors that the masks are compared with
            (CoDe); None: all.
        logit_scale, logit_bias: Initial factor and offset, the authors' by default.
        activation: As in :class:`TextSimilarityHead`.
        **kwargs: See :class:`TextSimilarityHead`; ``init_cfg=dict(type='Pretrained',
            checkpoint=..., prefix='masker.sim2mask')`` loads the authors' two numbers.
    """

    def __init__(
        self,
        in_channels: int = 512,
        text_channels: int = 512,
        text_slice: tuple[int, int] | None = None,
        logit_scale: float = 10.0,
        logit_bias: float = -2.5,
        activation: str = 'sigmoid',
        **kwargs,
    ) -> None:
        super().__init__(
            in_channels,
            text_channels,
            logit_scale=logit_scale,
            logit_bias=logit_bias,
            activation=activation,
            **kwargs,
        )
        self.text_slice = slice(*(text_slice or (None,)))

    def forward(self, features: VisualFeatures, text: Tensor) -> Tensor:
        """Logits (B, R, h, w) of projected text (R, D)."""
        return super().forward(features, text[:, self.text_slice])

    def split_checkpoint(
        self, state: dict[str, Tensor]
    ) -> dict[str, dict[str, Tensor]] | None:
        """A file to the masker, the head and, if it has them, CLIP's two towers.

        TCL's published file holds what was trained; the authors' training saves all.
        """
        if not any(key.startswith('masker.image_encoder.') for key in state):
            return None
        shares = {part: {} for part, _ in _PARTS.values()}
        for key, value in state.items():
            if key.startswith(_TRAINING_ONLY):
                continue
            theirs = next(prefix for prefix in _PARTS if key.startswith(prefix))
            part, ours = _PARTS[theirs]
            shares[part][ours + key.removeprefix(theirs)] = value
        return shares

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The authors' factor, which we keep as its logarithm, and offset."""
        converted = dict(state)
        if 'w' in converted:
            converted['log_scale'] = converted.pop('w').log()
        if 'b' in converted:
            converted['logit_bias'] = converted.pop('b')
        return converted
