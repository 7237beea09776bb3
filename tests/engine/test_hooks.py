"""The running data set's vocabulary, and checkpoints that fit."""

from types import SimpleNamespace

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from mmseg_ovs.engine.hooks import CheckpointGuardHook, VocabularyHook
from mmseg_ovs.models.utils import CheckpointError
from tests.tiny import BACKBONES


class Model(nn.Module):
    vocabulary = None

    def set_vocabulary(self, vocabulary):
        self.vocabulary = vocabulary


def runner_with(train=None, test=None):
    """A runner with data sets of the given metainfo."""

    def loader(metainfo):
        return SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))

    return SimpleNamespace(
        model=Model(),
        train_loop=object(),
        train_dataloader=loader(train or {}),
        val_dataloader=loader(test or {}),
        test_dataloader=loader(test or {}),
    )


def test_each_loop_gets_its_own_classes():
    runner = runner_with(train=dict(classes=('a', 'b')), test=dict(classes=('b', 'c')))
    hook = VocabularyHook()
    hook.before_train(runner)
    assert runner.model.vocabulary.classes == ('a', 'b')
    hook.before_val(runner)
    assert runner.model.vocabulary.classes == ('b', 'c')
    hook.after_val(runner)
    assert runner.model.vocabulary.classes == ('a', 'b')
    hook.before_test(runner)
    assert runner.model.vocabulary.classes == ('b', 'c')


@pytest.mark.parametrize(
    ('train', 'classes'),
    [
        (dict(), None),  # captions, which have no classes, leave the vocabulary
        (dict(nouns=('cat', 'dog')), ('cat', 'dog')),
    ],
)
def test_what_is_not_a_data_set_of_labels(train, classes):
    runner = runner_with(train=train, test=dict(classes=('b',)))
    VocabularyHook().before_train(runner)
    assert getattr(runner.model.vocabulary, 'classes', None) == classes


def test_prompts_may_differ_from_the_class_names():
    runner = runner_with(test=dict(classes=('background', 'tvmonitor')))
    hook = VocabularyHook(
        vocabulary=['background', ['television', 'screen']],
        background=dict(type='threshold', value=0.55),
    )
    hook.before_test(runner)
    vocabulary = runner.model.vocabulary
    assert vocabulary.rows == ('television', 'screen')
    assert (vocabulary.background_label, vocabulary.background_score) == (0, 0.55)


def test_vocabulary_of_another_length():
    runner = runner_with(test=dict(classes=('a', 'b', 'c')))
    with pytest.raises(ValueError, match='has 2 classes, the data set 3'):
        VocabularyHook(vocabulary=['a', 'b']).before_test(runner)


def model_with(init_cfg=None):
    """A part that may have published weights, and a head."""
    model = nn.Module()
    model.backbone = MODELS.build(dict(BACKBONES['DINOv3'], init_cfg=init_cfg))
    model.head = nn.Linear(16, 4)
    return model


def load(model, state, **kwargs):
    runner = SimpleNamespace(model=model)
    hook = CheckpointGuardHook(**kwargs)
    hook.after_load_checkpoint(runner, dict(state_dict=state))


def test_a_checkpoint_that_fits_passes():
    model = model_with()
    load(model, {f'module.{k}': v for k, v in model.state_dict().items()})


def test_a_missing_part_brings_its_own_weights(tmp_path):
    path = str(tmp_path / 'published.pth')
    published = model_with().backbone.state_dict()
    torch.save(published, path)
    model = model_with(dict(type='Pretrained', checkpoint=path))
    load(model, {f'head.{k}': v for k, v in model.head.state_dict().items()})
    for key, value in model.backbone.state_dict().items():
        assert torch.equal(value, published[key])


def test_a_missing_part_without_weights_of_its_own():
    model = model_with()
    state = {k: v for k, v in model.state_dict().items() if k.startswith('backbone.')}
    with pytest.raises(CheckpointError, match='2 missing: head.weight; head.bias'):
        load(model, state)


@pytest.mark.parametrize('change', ['missing', 'unexpected', 'another shape'])
def test_half_a_checkpoint_is_an_error(change):
    model = model_with()
    state = model.state_dict()
    if change == 'missing':
        del state['head.bias']
    elif change == 'unexpected':
        state['head.scale'] = torch.ones(1)
    else:
        state['head.bias'] = torch.zeros(5)
    with pytest.raises(CheckpointError, match=f'{change}: head'):
        load(model, state)
    load(model, model.state_dict() | {'extra': torch.zeros(1)}, allow=('^extra$',))
