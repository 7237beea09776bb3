"""Files that parts of MMSegmentation name: MMEngine only logs what they lack."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_ovs.models.utils import CheckpointError, init_own_weights


def mit(checkpoint, **init):
    init_default_scope('mmseg')
    return MODELS.build(
        dict(
            type='MixVisionTransformer',
            embed_dims=8,
            num_layers=[1, 1, 1, 1],
            num_heads=[1, 1, 1, 1],
            init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint), **init),
        )
    )


@pytest.fixture
def state():
    return mit('unused.pth').state_dict()


def save(path, state):
    torch.save(dict(state_dict=state), path)
    return path


KEY = 'layers.0.0.projection.weight'


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: {'conv.weight': torch.ones(2)}, r'missing keys.*layers\.0\.0\.'),
        (lambda s: {k: v for k, v in s.items() if k != KEY}, rf'missing keys.*{KEY}'),
        (lambda s: {**s, KEY: s[KEY][:4]}, rf'size mismatch for {KEY}'),
    ],
    ids=['another network', 'one lacks', 'another size'],
)
def test_what_a_file_lacks_is_an_error(tmp_path, state, change, message):
    path = save(tmp_path / 'mit.pth', change(state))
    with pytest.raises(CheckpointError, match=f'would keep random(.|\n)*{message}'):
        init_own_weights(mit(path))
    init_own_weights(mit(path), allow_random=True)


def test_a_file_may_hold_more(tmp_path, state):
    more = {f'backbone.{k}': v + 1 for k, v in state.items()}
    path = save(tmp_path / 'mit.pth', {**more, 'backbone.head.weight': torch.ones(2)})
    backbone = mit(path, prefix='backbone.')
    init_own_weights(backbone)
    assert torch.equal(backbone.state_dict()[KEY], state[KEY] + 1)
