"""A handicap for trained names: the same in every mode, or refused."""

import pytest
import torch

from mmseg_ovs.evaluation.protocol import _inference
from mmseg_ovs.export.score_graph import left_out
from mmseg_ovs.models.segmentors import OpenVocabTTAModel
from mmseg_ovs.utils import OpenVocabError
from tests.models.conftest import NAMES
from tests.models.segmentors.running import FEATURES, LOGITS, SLIDE, make_image, run
from tests.models.segmentors.running import scores as class_scores

TRAINED = NAMES[::2]
MODES = dict(
    whole=dict(mode='whole'),
    once=dict(mode='whole', resize_once=True),
    slide=SLIDE,
    softmax=dict(SLIDE, window_softmax=True),
    names=dict(SLIDE, best_name_before_resize=True),
    features=FEATURES,
    logits=LOGITS,
    probabilities=dict(SLIDE, logit_scale=20.0),
)


@pytest.mark.parametrize('mode', MODES)
def test_what_the_arg_max_sees_is_lowered(build_segmentor, mode):
    model = build_segmentor(test_cfg=MODES[mode])
    model.remember_training(dict(classes=TRAINED))
    image = make_image(70, 98)
    settings = dict(logit_scale=None)
    plain = class_scores(model, image, **settings)
    seen = torch.tensor([name in TRAINED for name in NAMES])
    gap = plain[seen].amax(dim=0) - plain[~seen].amax(dim=0)
    handicap = float(gap[gap > 0].median())  # turns a part of the seen pixels
    lowered = plain - handicap * seen[:, None, None]
    kept = class_scores(model, image, seen_handicap=handicap, **settings)
    torch.testing.assert_close(kept, lowered, rtol=1e-4, atol=1e-5)
    for chunk_mb in (100, 1e-6):
        (sample,) = run(model, [image], seen_handicap=handicap, chunk_mb=chunk_mb)
        labels = sample.pred_sem_seg.data[0]
        assert (labels != lowered.argmax(dim=0)).float().mean() < 0.002
    assert (labels != plain.argmax(dim=0)).float().mean() > 0.02


def test_synonyms_belong_to_their_class(build_segmentor):
    model = build_segmentor()
    model.remember_training(dict(classes=[NAMES[1].upper()]))
    vocabulary = [[NAMES[0], NAMES[1]], NAMES[2], NAMES[3]]
    image = make_image(42, 42)
    plain = class_scores(model, image, vocabulary=vocabulary)
    lowered = class_scores(model, image, vocabulary=vocabulary, seen_handicap=0.5)
    torch.testing.assert_close(plain[0] - 0.5, lowered[0])
    torch.testing.assert_close(plain[1:], lowered[1:])


def test_views_of_test_time_augmentation(build_segmentor):
    model = build_segmentor(test_cfg=dict(mode='whole', seen_handicap=1e3))
    model.remember_training(dict(classes=TRAINED))
    sample = run(model, [make_image(42, 42)])[0]
    views = dict(inputs=[[make_image(42, 42)]] * 2, data_samples=[[sample]] * 2)
    (merged,) = OpenVocabTTAModel(module=model).test_step(views)
    unseen = {NAMES.index(name) for name in NAMES if name not in TRAINED}
    assert set(merged.pred_sem_seg.data.unique().tolist()) <= unseen


def test_what_cannot_be_lowered_is_refused(build_segmentor):
    model = build_segmentor(test_cfg=dict(mode='whole', seen_handicap=0.1))
    image = make_image(42, 42)
    for metainfo in (None, {}, dict(classes=[])):
        model.remember_training(metainfo)
        with pytest.raises(OpenVocabError, match='names met in training, and none'):
            run(model, [image])
    model.remember_training(dict(classes=TRAINED))
    background = dict(type='threshold', value=0.3)
    with pytest.raises(OpenVocabError, match='would turn into background'):
        run(model, [image], vocabulary=dict(source=NAMES, background=background))
    for value in (-0.1, 'much', True):
        with pytest.raises(OpenVocabError, match='seen_handicap is a number from 0'):
            model.predict(image[None].float(), seen_handicap=value)


def test_exports_and_protocols_name_it(build_segmentor):
    model = build_segmentor(test_cfg=dict(mode='whole', seen_handicap=0.25))
    model.remember_training(dict(classes=TRAINED))
    assert 'handicap of 0.25 on trained_names' in left_out(model)
    line = _inference(model)['seen handicap']
    assert line.startswith('0.25 on classes among 6 trained names, hash ')
    model.remember_training(dict(classes=NAMES))
    assert _inference(model)['seen handicap'] != line
