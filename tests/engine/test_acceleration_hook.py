"""A test drops what it needs no more, and sets the switches once."""

import pytest
import torch
from mmengine.hooks import EMAHook
from mmseg.registry import HOOKS

from mmseg_ovs.evaluation.protocol import describe_switches
from tests.tiny import BACKBONES, HEADS, TEXT_ENCODERS, make


class Run:
    """What the hook sees of a runner."""

    def __init__(self, model, hooks=()):
        self.model, self.hooks = model, hooks


@pytest.fixture
def model():
    return make(
        dict(
            type='OpenVocabSegmentor',
            backbone=BACKBONES['DINOv3'],
            text_encoder=dict(TEXT_ENCODERS['open_clip'], templates='identity'),
            decode_head=HEADS['text similarity'],
            vocabulary=['red disc', 'blue bar'],
        )
    )


def test_results_stay_and_the_tower_goes(model):
    image = torch.randn(1, 3, 96, 96)
    (before,) = model.predict(image)
    hook = HOOKS.build(dict(type='AccelerationHook', onednn=True))
    for _ in range(2):  # a runner may test again
        hook.before_test_epoch(Run(model))
        (after,) = model.predict(image)
        # oneDNN may round otherwise where scores are equal
        differ = after.pred_sem_seg.data != before.pred_sem_seg.data
        assert differ.float().mean() < 0.01
    assert model.acceleration == ('onednn',)
    assert not list(model.text_encoder.parameters())


@pytest.mark.parametrize('keep', ['by argument', 'beside an EMAHook'])
def test_the_tower_stays_where_it_has_to(model, keep):
    hook = HOOKS.build(
        dict(type='AccelerationHook', drop_text_tower=keep != 'by argument')
    )
    hooks = [EMAHook()] if keep == 'beside an EMAHook' else []
    hook.before_test_epoch(Run(model, hooks))
    model.set_vocabulary(['something else'])
    assert len(model.project_vocabulary()) == 1
    assert model.acceleration == ()


@pytest.mark.parametrize(
    ('faster', 'noted'), [(True, 'onednn'), (False, 'no-onednn'), (None, 'none')]
)
def test_without_a_switch_the_faster_library_multiplies(
    model, faster, noted, monkeypatch
):
    name = 'mmseg_ovs.acceleration.probe.onednn_is_faster'
    monkeypatch.setattr(name, lambda threads: faster)
    HOOKS.build(dict(type='AccelerationHook')).before_test_epoch(Run(model))
    assert describe_switches(model) == {'acceleration': noted}


def test_stock_models_stay_as_they_are():
    model = torch.nn.Linear(2, 2)
    HOOKS.build(dict(type='AccelerationHook')).before_test_epoch(Run(model))
    assert not hasattr(model, 'acceleration')
