"""Packing of the masks of an image's nouns."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackNounMasks(PackSegInputs):
    """``PackSegInputs`` with ``gt_noun_masks``, ``nouns`` and teacher features.

    ``results['gt_noun_masks']`` (H, W, K), uint8 with 0, 1 and 255 for unknown, becomes
    ``gt_noun_masks`` (K, H, W) of the data sample; K names stand in
    ``results['nouns']``, K weights, if there, in ``results['noun_weights']``.
    ``results['teacher_features']`` (C, h, w), if there, becomes ``teacher_features``.

    Args:
        meta_keys: As in ``PackSegInputs``; ``nouns`` and ``noun_weights`` are always
            among them.
    """

    def __init__(
        self,
        meta_keys: tuple[str, ...] = (
            'img_path',
            'ori_shape',
            'img_shape',
            'scale_factor',
            'flip',
            'flip_direction',
        ),
    ) -> None:
        super().__init__((*meta_keys, 'nouns', 'noun_weights'))

    def transform(self, results: dict) -> dict:
        """Pack a sample.

        Raises:
            ValueError: The numbers of masks and nouns differ; the image was flipped
                and the teacher's features were not.
        """
        packed = super().transform(results)
        sample = packed['data_samples']
        if 'gt_noun_masks' in results:
            masks = results['gt_noun_masks']
            # cv2 drops a last axis of one
            masks = masks[..., None] if masks.ndim == 2 else masks
            if masks.shape[-1] != len(results['nouns']):
                raise ValueError(
                    f'{results.get("img_path")} has {masks.shape[-1]} masks for '
                    f'{len(results["nouns"])} nouns'
                )
            masks = np.ascontiguousarray(masks.transpose(2, 0, 1))
            sample.gt_noun_masks = PixelData(data=torch.from_numpy(masks))
        if 'teacher_features' in results:
            if results.get('flip'):
                raise ValueError(
                    f'{results.get("img_path")} is flipped, and the stored features of '
                    'the teacher are those of the image as it is: leave RandomFlip '
                    'out of the pipeline, or let the teacher run in training'
                )
            sample.teacher_features = PixelData(data=results['teacher_features'])
        return packed
