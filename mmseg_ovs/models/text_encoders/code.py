"""CoDe's text vectors: names behind a learned context, and names in templates.

Source: Wu et al., "Image-Text Co-Decomposition for Text-Supervised Semantic
Segmentation" (CVPR 2024, arXiv 2404.04231); authors' code:
072jiajia/Image-Text-Co-Decomposition, models/tcl/prompter.py.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from .name_check import warn_of_truncated_names
from .open_clip import OpenCLIPTextEncoder

_LEARNER = 'prompt_learner.'
_TOWER = f'{_LEARNER}clip_model.'


@MODELS.register_module()
class CoDeTextEncoder(OpenCLIPTextEncoder):
    """Two unit vectors for each name, side by side: (N, 2 D).

    The first is that of the bare name behind ``num_context`` learned vectors, which the
    masks are compared with. The second is the mean of the templates, for
    :class:`ScoreMix`.

    Args:
        model: See :class:`OpenCLIPTextEncoder`; a CLIP whose text vector is taken at
            the highest token id, as in OpenAI's.
        num_context: Learned vectors. A checkpoint brings them; published weights of
            CLIP (``pretrained``) do not.
        template_average: 'normalized' or 'raw', see :class:`TowerTextEncoder`.
        **kwargs: See :class:`OpenCLIPTextEncoder`.

    Raises:
        ValueError: The templates are kept apart, the tower takes its vector elsewhere,
            or the context leaves no room for a name.
    """

    def __init__(
        self,
        model: Any,
        num_context: int = 16,
        template_average: str = 'normalized',
        **kwargs: Any,
    ) -> None:
        if template_average not in ('normalized', 'raw'):
            raise ValueError(
                "CoDeTextEncoder takes template_average 'normalized' or 'raw', not "
                f'{template_average!r}'
            )
        super().__init__(model, template_average=template_average, **kwargs)
        if self.tower.pool != 'argmax':
            raise ValueError(
                'CoDeTextEncoder needs a CLIP whose text vector is taken at the '
                f"highest token id (pool_type 'argmax', not {self.tower.pool!r})"
            )
        width = self.tower.token_table().shape[1]
        self.name_length = self.tokenizer(['']).shape[1] - num_context
        if self.name_length < 3:  # start, one token of the name, end
            raise ValueError(
                f'num_context={num_context} leaves no room for a name: the tower reads '
                f'{self.name_length + num_context} tokens'
            )
        self.context = nn.Parameter(
            0.02 * torch.randn(num_context, width),
            requires_grad=self.trainable,
        )
        self.embed_dims *= 2
        # CLIP's weights alone are not enough.
        self.brings_weights = False

    def encode_names(self, names: Sequence[str]) -> Tensor:
        """(N, 2 D): behind the context, and in templates."""
        in_templates = super().encode_names(names)
        tokens = self.tokenizer(list(names), context_length=self.name_length)
        context = self.context.to(self.tower.token_table())
        tokens = tokens.to(self.device)
        behind = self.tower.embed_behind(context, tokens, self.chunk_size)
        return torch.cat([F.normalize(behind, dim=-1), in_templates], -1)

    def read_names(self, names: Sequence[str]) -> Sequence[Hashable]:
        """See :class:`TowerTextEncoder`; behind the context less of a name is read."""
        read = super().read_names(names)
        if self.tower is not None:
            lengths = self.tower.used_lengths(self.tokenizer(list(names)))
            pairs = zip(names, lengths.tolist(), strict=True)
            if cut := [name for name, length in pairs if length > self.name_length]:
                warn_of_truncated_names(cut, self.name_length)
        return read

    def convert_state_dict(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The authors' ``clip_text_encoder``, which holds the tower twice."""
        if not any(key.startswith(_LEARNER) for key in state):
            return super().convert_state_dict(state)
        tower, rest = {}, {}
        for key, value in state.items():
            if key == f'{_LEARNER}ctx':
                rest['context'] = value
            elif key.startswith(_TOWER):
                tower[key.removeprefix(_TOWER)] = value
            elif key != f'{_LEARNER}token_prefix' and not key.startswith(
                'text_encoder.'
            ):
                rest[key] = value  # is listed as unexpected
        return {**rest, **super().convert_state_dict(tower)}
