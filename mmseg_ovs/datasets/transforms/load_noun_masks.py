"""Decoding of the masks of an image's nouns."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmseg_ovs.utils.rle import decode_mask

# What cv2 resizes: 512 channels up to OpenCV 4, 128 from 5 on.
MAX_NOUNS = 128


@TRANSFORMS.register_module()
class LoadNounMasks(BaseTransform):
    """Decode the run lengths of a sample of ``NounMasksDataset``.

    Memory is a byte a pixel and noun, only while the sample is worked on. The masks are
    a field of ``seg_fields``, so mmseg's ``Resize``, ``RandomFlip`` and ``RandomCrop``
    (without ``cat_max_ratio``, which asks for a label map) take them along; ``Resize``
    drops the last axis of a single mask, which ``PackNounMasks`` puts back.

    Required keys: ``nouns``, ``noun_masks``, ``noun_masks_size``; with ``img_shape``
    (put it behind ``LoadImageFromFile``) the size of the image is checked as well.
    Adds ``gt_noun_masks``, (H, W, K) uint8 with 0 and 1; the strings are taken out.

    Raises:
        ValueError: A mask is broken or of another size than the image, or there are
            more than 128, which OpenCV does not resize.
    """

    def transform(self, results: dict) -> dict:
        """Add ``gt_noun_masks``."""
        size = tuple(results['noun_masks_size'])
        nouns, strings = results['nouns'], results.pop('noun_masks')
        if results.get('img_shape', size) != size:
            height, width = results['img_shape']
            raise ValueError(
                f'the masks are of an image of {size[0]} x {size[1]}, the file has '
                f'{height} x {width}: was it changed after the masks were made?'
            )
        if len(nouns) > MAX_NOUNS:
            raise ValueError(
                f'{len(nouns)} masks in one image; OpenCV resizes {MAX_NOUNS}'
            )
        masks = np.empty((*size, len(nouns)), dtype=np.uint8)
        for place, (noun, counts) in enumerate(zip(nouns, strings, strict=True)):
            try:
                masks[..., place] = decode_mask(counts, size)
            except ValueError as error:
                raise ValueError(f'the mask of {noun!r} is broken: {error}') from error
        results['gt_noun_masks'] = masks
        results.setdefault('seg_fields', []).append('gt_noun_masks')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
