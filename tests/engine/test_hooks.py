"""The running data set's vocabulary (CheckpointGuardHook: test_model_checkpoint.py)."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmseg_ovs.composition import compose
from mmseg_ovs.engine import data_vocabulary
from mmseg_ovs.engine.hooks import VocabularyHook, vocabulary_hook
from mmseg_ovs.evaluation import OpenVocabIoUMetric


class Model(nn.Module):
    vocabulary = trained = test_cfg = None
    trained_names = ()

    def set_vocabulary(self, vocabulary):
        self.vocabulary = vocabulary

    def remember_training(self, metainfo):
        self.trained = metainfo


def runner_with(train=None, test=None, metrics=()):
    """A runner with data sets of the given metainfo."""

    def loader(metainfo):
        return SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))

    loop = SimpleNamespace(
        dataloader=loader(test or {}), evaluator=SimpleNamespace(metrics=metrics)
    )
    return SimpleNamespace(
        model=Model(),
        train_loop=object(),
        train_dataloader=loader(train or {}),
        val_loop=loop,
        test_loop=loop,
    )


def test_each_loop_gets_its_own_classes():
    runner = runner_with(train=dict(classes=('a', 'b')), test=dict(classes=('b', 'c')))
    hook = VocabularyHook()
    hook.before_train(runner)
    assert runner.model.vocabulary.classes == ('a', 'b')
    assert runner.model.trained == dict(classes=('a', 'b'))
    hook.before_val(runner)
    assert runner.model.vocabulary.classes == ('b', 'c')
    hook.after_val(runner)
    assert runner.model.vocabulary.classes == ('a', 'b')
    hook.before_test(runner)
    assert runner.model.vocabulary.classes == ('b', 'c')
    assert runner.model.trained == dict(classes=('a', 'b'))


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


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        (('sky', 'road'), 'changes nothing: of the 2 classes of the data all are'),
        (('cow',), 'changes nothing: of the 1 classes of the data none are'),
        (('sky', 'cow'), ''),
    ],
)
def test_a_handicap_without_effect_is_named(classes, message, monkeypatch):
    said = []
    monkeypatch.setattr(
        vocabulary_hook, 'print_log', lambda text, **kwargs: said.append(text)
    )
    runner = runner_with(test=dict(classes=classes))
    runner.model.test_cfg = dict(seen_handicap=0.1)
    runner.model.trained_names = ('sky', 'road')
    VocabularyHook().before_test(runner)
    assert message in ''.join(said) and bool(said) == bool(message)


@pytest.mark.parametrize(
    ('trained', 'seen_classes', 'named'),
    [
        (('sky',), None, True),  # 'road' was hidden
        (('sky',), ['sky'], False),
        (('sky', 'road'), None, False),
        ((), None, False),  # of a checkpoint that does not say
    ],
)
def test_hidden_classes_do_not_count_as_seen_unsaid(
    trained, seen_classes, named, monkeypatch
):
    said = []
    monkeypatch.setattr(
        vocabulary_hook, 'print_log', lambda text, **kwargs: said.append(text)
    )
    metric = OpenVocabIoUMetric(seen_classes=seen_classes)
    meta = dict(classes=('sky', 'road', 'cow'), seen_classes=['sky', 'road'])
    runner = runner_with(test=meta, metrics=[metric])
    runner.model.trained_names = trained
    VocabularyHook().before_test(runner)
    assert ('not among the trained names: road' in ''.join(said)) == named
    assert bool(said) == named


def test_vocabulary_of_another_length():
    runner = runner_with(test=dict(classes=('a', 'b', 'c')))
    with pytest.raises(ValueError, match='has 2 classes, the data set 3'):
        VocabularyHook(vocabulary=['a', 'b']).before_test(runner)


@pytest.mark.parametrize('data', ['voc21', 'context60'])
def test_classes_of_data_that_are_not_there(data, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    cfg = compose('talk2dino_dinov2-reg-b14', data)
    assert data_vocabulary(cfg).num_classes == int(data[-2:])
