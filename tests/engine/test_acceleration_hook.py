"""A test drops what it needs no more, and sets the switches once."""

import pytest
import torch
from mmengine.hooks import EMAHook
from mmengine.registry import init_default_scope
from mmseg.registry import HOOKS, MODELS


class Run:
    """What the hook sees of a runner."""

    def __init__(self, model, hooks=()):
        self.model, self.hooks = model, hooks


def build_model():
    init_default_scope('mmseg')
    torch.manual_seed(0)
    cfg = dict(
        type='OpenVocabSegmentor',
        backbone=dict(
            type='DINOv3',
            arch=dict(embed_dims=24, depth=1, num_heads=2, feed_forward='mlp'),
            patch_size=8,
        ),
        text_encoder=dict(
            type='OpenCLIPTextEncoder',
            model=dict(
                embed_dim=24,
                text_cfg=dict(context_length=16, width=16, heads=2, layers=1),
            ),
            templates='identity',
        ),
        decode_head=dict(type='TextSimilarityHead', in_channels=24, text_channels=24),
        vocabulary=['red disc', 'blue bar'],
    )
    return MODELS.build(cfg).eval()


def test_results_stay_and_the_tower_goes():
    model, image = build_model(), torch.randn(1, 3, 96, 96)
    (before,) = model.predict(image)
    hook = HOOKS.build(dict(type='AccelerationHook', onednn=True))
    for _ in range(2):  # a runner may test again
        hook.before_test_epoch(Run(model))
        (after,) = model.predict(image)
        assert torch.equal(after.pred_sem_seg.data, before.pred_sem_seg.data)
    assert model.acceleration == ('onednn',)
    assert not list(model.text_encoder.parameters())


@pytest.mark.parametrize('keep', ['by argument', 'beside an EMAHook'])
def test_the_tower_stays_where_it_has_to(keep):
    model = build_model()
    hook = HOOKS.build(
        dict(type='AccelerationHook', drop_text_tower=keep != 'by argument')
    )
    hooks = [EMAHook()] if keep == 'beside an EMAHook' else []
    hook.before_test_epoch(Run(model, hooks))
    model.set_vocabulary(['something else'])
    assert len(model.project_vocabulary()) == 1
    assert not hasattr(model, 'acceleration')


def test_stock_models_stay_as_they_are():
    model = torch.nn.Linear(2, 2)
    HOOKS.build(dict(type='AccelerationHook')).before_test_epoch(Run(model))
    assert not hasattr(model, 'acceleration')
