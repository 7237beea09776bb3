"""SAM's answer to boxes."""

import json
import os

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor, sam_model_registry
from tiny_models import SAM

from mmseg_ovs.pseudo_masks import (
    PseudoMaskError,
    SAMSegmenter,
    UnreadableImageError,
    build_sam,
)

GROUPS = [np.float32([[2, 3, 30, 20], [20, 10, 59, 39]]), np.float32([[0, 0, 60, 40]])]


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


def test_one_mask_a_group_the_union_of_its_boxes(segmenter, image):
    masks = segmenter(image, GROUPS)
    predictor = SamPredictor(segmenter.predictor.model)
    predictor.set_image(image)
    for group, mask in zip(GROUPS, masks, strict=True):
        assert mask.shape == (40, 60)
        assert mask.dtype == bool
        single = [predictor.predict(box=b, multimask_output=False)[0][0] for b in group]
        # boxes together may round otherwise where a logit is 0
        assert (mask != np.logical_or.reduce(single)).mean() < 0.01
    assert 0 < masks[0].mean() < 1


def test_an_answer_does_not_depend_on_earlier_images(segmenter, image):
    first = segmenter(image, GROUPS)
    segmenter(image[::-1, :30].copy(), GROUPS)
    again = segmenter(image, GROUPS)
    np.testing.assert_array_equal(first, again)


def test_no_boxes_no_masks(segmenter, image):
    assert segmenter(image, []) == []


def test_defaults_are_vit_b():
    with torch.device('meta'):
        ours, theirs = build_sam(), sam_model_registry['vit_b']()
    shapes = [
        {name: value.shape for name, value in sam.state_dict().items()}
        for sam in (ours, theirs)
    ]
    assert shapes[0] == shapes[1]


class _Evil:
    def __reduce__(self):
        return os.system, ('true',)


def test_models_that_do_not_serve(tmp_path, sam_files):
    numbers, weights = sam_files
    with pytest.raises(PseudoMaskError, match='one of vit_b, vit_l, vit_h or a JSON'):
        SAMSegmenter.from_checkpoint('vit_x', weights)
    wrong = tmp_path / 'wrong.json'
    wrong.write_text(json.dumps(dict(SAM, width=3)))
    with pytest.raises(PseudoMaskError, match='describes no SAM.*width'):
        SAMSegmenter.from_checkpoint(wrong, weights)
    wrong.write_text(json.dumps(dict(SAM, depth=3)))
    with pytest.raises(PseudoMaskError, match='missing: image_encoder.blocks.2'):
        SAMSegmenter.from_checkpoint(wrong, weights)
    with pytest.raises(PseudoMaskError, match='No checkpoint at'):
        SAMSegmenter.from_checkpoint(numbers, tmp_path / 'none.pth')
    torch.save(_Evil(), tmp_path / 'evil.pth')
    with pytest.raises(PseudoMaskError, match='weights_only'):
        SAMSegmenter.from_checkpoint(numbers, tmp_path / 'evil.pth')


def test_setting_tells_weights_apart(sam_files, segmenter):
    again = SAMSegmenter.from_checkpoint(*sam_files)
    assert again.setting == segmenter.setting
    torch.manual_seed(1)
    assert SAMSegmenter(build_sam(**SAM)).setting != segmenter.setting


def test_scores_that_are_not_finite_cost_only_their_image(segmenter, image):
    encoder = segmenter.predictor.model.image_encoder
    hook = encoder.register_forward_hook(lambda *call: call[-1] * torch.nan)
    with pytest.raises(UnreadableImageError, match='NaN or infinite'):
        segmenter(image, GROUPS)
    hook.remove()
    assert len(segmenter(image, GROUPS)) == 2
