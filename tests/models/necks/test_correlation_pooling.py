"""CLIP-DINOiser's pooling by its definition, and what it refuses."""

import pytest
import torch

from mmseg_ovs.models.necks import CorrelationPooling
from mmseg_ovs.models.utils import CheckpointError, load_pretrained
from mmseg_ovs.structures import VisualFeatures
from tests.models.module_tester import check_same_weights
from tests.tiny import NECKS, make


@torch.no_grad()
def test_every_patch_is_the_weighted_mean_of_those_like_it():
    neck = make(NECKS['correlation pooling'])
    source, middle, pooled = (torch.randn(1, c, 3, 4) for c in (16, 7, 5))
    features = VisualFeatures((source, middle, pooled))
    before, same, after = neck(features).maps
    assert torch.equal(before, source) and torch.equal(same, middle)
    bordered = torch.nn.functional.pad(source, (1, 1, 1, 1), mode='replicate')[0]
    keys, values = [], []
    for row in range(3):
        for column in range(4):
            near = bordered[:, row : row + 3, column : column + 3]
            key = (neck.obj_proj.weight * near).sum((1, 2, 3)) + neck.obj_proj.bias
            keys.append(key / key.norm())
            values.append(pooled[0, :, row, column])
    kept = 0
    for n, key in enumerate(keys):
        weights = [float(key @ other) for other in keys]
        weights = [w if w >= 0.2 else 0.0 for w in weights]
        kept += sum(w > 0 for w in weights)
        mean = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
        torch.testing.assert_close(after[0, :, n // 4, n % 4], mean)
    assert 12 < kept < 144  # some are left out, and not all others


@torch.no_grad()
def test_a_threshold_of_one_pools_nothing():
    neck = make(NECKS['correlation pooling'], threshold=0.9999)
    maps = torch.randn(2, 16, 4, 4), torch.randn(2, 5, 4, 4)
    pooled = neck(VisualFeatures(maps)).maps[1]
    torch.testing.assert_close(pooled, maps[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'shapes, message',
    [
        ([(16, 4, 4)], r"gives 1 map\(s\).*final_norm=\('norm2', True\)"),
        ([(9, 4, 4), (5, 4, 4)], 'in_channels=16, but the map 0 has 9 channels'),
        ([(16, 4, 4), (5, 2, 2)], r'on one grid, but they have \(4, 4\) and \(2, 2\)'),
    ],
)
def test_maps_that_do_not_fit(shapes, message):
    maps = tuple(torch.randn(1, *shape) for shape in shapes)
    with pytest.raises(ValueError, match=message):
        make(NECKS['correlation pooling'])(VisualFeatures(maps))


def test_published_file(tmp_path):
    """Both layers of the authors' file are known; anything else is refused."""
    neck, path = CorrelationPooling(), tmp_path / 'last.pt'
    published = dict(neck.state_dict())
    published['bkg_decoder.weight'] = torch.randn(1, 768, 1, 1)
    published['bkg_decoder.bias'] = torch.randn(1)
    torch.save(dict(epoch=99, model_state_dict=published), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    loaded = CorrelationPooling(init_cfg=init_cfg)
    loaded.init_weights()
    check_same_weights(loaded, neck)
    with pytest.raises(CheckpointError, match='It looks like a file of CAT-Seg'):
        load_pretrained(neck, {'sem_seg_head.predictor.transformer.x': torch.ones(1)})
    del published['obj_proj.bias']
    with pytest.raises(CheckpointError, match=r'1 missing: obj_proj\.bias'):
        load_pretrained(neck, dict(model_state_dict=published))
