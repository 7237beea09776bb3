"""Pictures of features: colours, similarities, and the sheet."""

import cv2
import numpy as np
import pytest
import torch

from mmseg_ovs.analysis.feature_maps import (
    cell_of,
    draw_feature_sheet,
    pca_colours,
    similarity,
)


def test_components_separate_regions():
    generator = torch.Generator().manual_seed(0)
    features = 0.01 * torch.randn(8, 6, 10, generator=generator)
    features[2, :, 5:] += 3
    features[4, 3:] += 2
    colours = pca_colours(features).astype(int)
    left, right = colours[:, :5, 0], colours[:, 5:, 0]
    assert abs(left.mean() - right.mean()) > 240  # the largest difference is in red
    upper, lower = colours[:3, :, 1], colours[3:, :, 1]
    assert abs(upper.mean() - lower.mean()) > 240
    assert (pca_colours(-features) == colours).mean() < 0.5  # no common sign is fitted


def test_maps_without_components_are_grey():
    assert (pca_colours(torch.ones(4, 5, 6)) == 128).all()
    line = torch.linspace(-1, 1, 30).view(1, 5, 6) * torch.ones(4, 1, 1)
    colours = pca_colours(line)
    assert colours[..., 0].std() > 50 and (colours[..., 1:] == 128).all()


def test_similarity_to_a_position():
    features = torch.zeros(3, 4, 5)
    features[0] = 1
    features[:, 1, 2] = torch.tensor([0.0, 2, 0])
    features[:, 3, 4] = torch.tensor([1.0, 1, 0])
    near = similarity(features, (0.5, 0.3))
    assert near[1, 2] == pytest.approx(1) and near[3, 4] == pytest.approx(0.5**0.5)
    assert np.count_nonzero(near) == 2
    assert [cell_of(p, (4, 5)) for p in ((0, 0), (1, 1))] == [(0, 0), (4, 3)]


def test_the_sheet_has_a_row_of_each_kind():
    image = np.full((50, 100, 3), 200, np.uint8)
    maps = {f'layer {i}': torch.randn(4, 5, 5) for i in range(3)}
    sheet = draw_feature_sheet(image, maps, (0.5, 0.5))
    assert sheet.shape[1] == 4 * 328 + 8
    both = draw_feature_sheet(image, maps, (0.5, 0.5), per_row=2)
    assert both.shape[0] > 4 * 160 > sheet.shape[0] > 2 * 160
    # the mark is red and only in the second picture of the image
    red = (sheet == (255, 0, 0)).all(-1)[:, :330]
    rows = np.flatnonzero(red.any(1))
    assert rows.size and rows.min() > 200
    assert cv2.imencode('.png', sheet)[0]
