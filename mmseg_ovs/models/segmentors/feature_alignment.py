"""Training of a head on features computed beforehand: no backbone, no text tower."""

from __future__ import annotations

from mmengine.model import BaseModel
from mmseg.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class FeatureAlignment(BaseModel):
    """Talk2DINO training from feature shards (see ``tools/extract_features.py``).

    Only the head is built and saved. The checkpoint loads into the full segmentor,
    whose backbone and text tower bring their own published weights (see
    ``CheckpointGuardHook``).

    Args:
        decode_head: Config of the head, as in the full model.
        data_preprocessor: By default mmengine's ``BaseDataPreprocessor``.
        init_cfg: Initialisation.
    """

    def __init__(
        self,
        decode_head: dict,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        self.decode_head = MODELS.build(decode_head)

    def forward(
        self, visual: Tensor, text: Tensor, mode: str = 'tensor'
    ) -> dict[str, Tensor] | Tensor:
        """Losses of head embeddings (B, heads, C) with raw text vectors (B, D).

        In 'tensor' mode the projected text (B, C).
        """
        if mode == 'loss':
            return self.decode_head.alignment_loss(visual, text)
        return self.decode_head.project_text(text)
