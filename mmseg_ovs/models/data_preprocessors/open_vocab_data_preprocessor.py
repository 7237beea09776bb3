"""MMSegmentation's preprocessor, for test batches of mixed image sizes too."""

from __future__ import annotations

from typing import Any

from mmseg.models.data_preprocessor import SegDataPreProcessor
from mmseg.registry import MODELS
from mmseg.utils import stack_batch


@MODELS.register_module()
class OpenVocabDataPreProcessor(SegDataPreProcessor):
    """``SegDataPreProcessor`` that pads test images of different sizes to one batch.

    The padding is noted as ``img_padding_size``; the segmentor cuts it off again before
    anything is computed, so the result does not depend on it.
    """

    def forward(self, data: dict, training: bool = False) -> dict[str, Any]:
        """Collated data to ``inputs`` (B, 3, H, W) and ``data_samples``."""
        sizes = {tuple(image.shape[-2:]) for image in data['inputs']}
        if training or len(sizes) == 1:
            return super().forward(data, training)
        samples = data.get('data_samples') or [None] * len(data['inputs'])
        single = [
            super(OpenVocabDataPreProcessor, self).forward(
                dict(inputs=[image], data_samples=None if sample is None else [sample])
            )
            for image, sample in zip(data['inputs'], samples, strict=True)
        ]
        inputs, paddings = stack_batch(
            [result['inputs'][0] for result in single], size_divisor=1
        )
        for sample, padding in zip(samples, paddings, strict=True):
            if sample is not None:
                sample.set_metainfo(padding)
        data_samples = None if samples[0] is None else samples
        return dict(inputs=inputs, data_samples=data_samples)
