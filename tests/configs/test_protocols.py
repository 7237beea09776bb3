"""Settings of the authors' own configs, method by method and data set by data set."""

import pytest

from mmseg_ovs.composition import compose
from mmseg_ovs.structures import Vocabulary

SETS = ['voc21', 'context60', 'coco-object', 'voc20', 'context59', 'coco-stuff164k']
SETS += ['cityscapes', 'ade20k']
# Shorter side, window, stride, scale, least probability; one value is that of all.
PROTOCOLS = {
    'sclip_clip-b16': (
        [336, 336, 336, 336, 336, 448, 560, 336],
        [224],
        [112],
        [65, 50, 50, 40, 40, 40, 40, 40],
        [0.1, 0.1, 0.1, None, None, None, None, None],
    ),
    'naclip_clip-b16': (
        [336, 336, 336, 336, 336, 336, 560, 336],
        [None, 224, 224, None, 224, 224, 224, 224],
        [112],
        [40],
        [0.1, 0.1, 0.1, None, None, None, None, None],
    ),
    'clearclip_clip-b16': (
        [448],
        [448, 448, 448, 448, 448, 448, 224, 448],
        [224],
        [50],
        [0.5, 0.15, 0.4, None, None, None, None, None],
    ),
    'proxyclip_clip-b16_dino-b8': (
        [336, 336, 336, 336, 336, 336, 448, 448],
        [336, 336, 336, 336, 336, 336, 224, 336],
        [112],
        [40],
        [0.2, 0.15, 0.25, None, None, None, None, None],
    ),
}


@pytest.mark.parametrize('model', PROTOCOLS)
def test_settings(model):
    columns = [v if len(v) > 1 else v * len(SETS) for v in PROTOCOLS[model]]
    for name, side, crop, stride, scale, least in zip(SETS, *columns, strict=True):
        cfg = compose(model, name)
        pipeline = cfg.test_dataloader.dataset.pipeline
        (resize,) = (step for step in pipeline if step['type'] == 'Resize')
        assert resize['scale'] == (2048, side), name
        test_cfg = cfg.model.test_cfg
        if crop is None:
            assert test_cfg.mode == 'whole', name
        else:
            assert test_cfg.crop_size == (crop, crop), name
            assert test_cfg.stride == (stride, stride), name
        assert (test_cfg.logit_scale, test_cfg.get('min_probability')) == (scale, least)
        assert test_cfg.get('min_area') == (
            0.1 if (model, name) == ('sclip_clip-b16', 'voc21') else None
        )
        words = Vocabulary.build(cfg.default_hooks.vocabulary.vocabulary)
        assert (words.background_class is None) == (least is None), name


@pytest.mark.parametrize('name', SETS)
def test_clip_dinoiser(name):
    cfg = compose('clip-dinoiser_clip-b16', name)
    pipeline = cfg.test_dataloader.dataset.pipeline
    (resize,) = (step for step in pipeline if step['type'] == 'Resize')
    assert resize['scale'] == (2048, 448)
    test_cfg = cfg.model.test_cfg
    assert (test_cfg.crop_size, test_cfg.stride) == ((448, 448), (224, 224))
    overridden = name in ('voc21', 'coco-object')
    assert ('postprocessors' in cfg.model) is overridden
    if overridden:
        words = Vocabulary.build(cfg.default_hooks.vocabulary.vocabulary)
        assert words.rows[0] == 'background' and words.background_class == 0
        (override,) = cfg.model.postprocessors
        assert override.type == 'UncertainBackground'
        assert override.init_cfg.checkpoint == cfg.model.neck.init_cfg.checkpoint


@pytest.mark.parametrize('model', ['lposs_clip-b16', 'lposs-plus_clip-b16'])
@pytest.mark.parametrize('name', SETS)
def test_lposs(model, name):
    cfg = compose(model, name)
    pipeline = cfg.test_dataloader.dataset.pipeline
    (resize,) = (step for step in pipeline if step['type'] == 'Resize')
    assert resize['scale'] == (2048, 448)
    test_cfg = cfg.model.test_cfg
    assert (test_cfg.crop_size, test_cfg.stride) == ((224, 224), (112, 112))
    assert test_cfg.propagation == dict(
        neighbours=400, alpha=0.95, gamma=3.0, sigma=0.01, iterations=10
    )
    assert ('postprocessors' in cfg.model) is ('plus' in model)
    if name in ('voc21', 'coco-object'):
        words = cfg.default_hooks.vocabulary
        words = dict(source=words.vocabulary, background=words.background)
        words = Vocabulary.build(words)
        assert len(words.synonyms[0]) == (26 if name == 'voc21' else 17)
        assert words.background_class == 0 and 'potted plant' in words.rows
