"""Windows and time of a job, and the shorter side that changes them."""

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from tiny_model import WORDS, tiny_config

from mmseg_ovs.apis import OpenVocabInferencer, list_images
from mmseg_ovs.apis.job_size import (
    JobSize,
    SizeError,
    inference_pipeline,
    job_size,
    seconds_per_window,
    set_short_side,
)
from mmseg_ovs.composition import compose, find_config
from mmseg_ovs.structures import Vocabulary


def model_config(name):
    return Config.fromfile(find_config(name))


@pytest.mark.parametrize(
    ('model', 'side'),
    [('talk2dino_dinov2-b14', 448), ('ovs-dino_dinov2-b14', 448)]
    + [('dinotxt_dinov3-l16', 512), ('cat-seg_clip-b16', 640)],
)
def test_a_model_alone_has_the_published_shorter_side(model, side):
    (resize,) = (
        t for t in inference_pipeline(model_config(model)) if t.type == 'Resize'
    )
    assert min(resize.scale) == side and resize.keep_ratio


def slide_config(cfg):
    cfg.model.test_cfg = dict(mode='slide', crop_size=(28, 28), stride=(28, 28))
    return cfg


def test_windows_are_those_that_run(tmp_path, checkpoint, monkeypatch):
    """Image and data in any mixture; what cannot be read is counted when it fails."""
    cfg = slide_config(tiny_config())
    set_short_side(cfg, 56)
    inferencer = OpenVocabInferencer(cfg, checkpoint, 'cpu')
    Image.new('RGB', (200, 100)).save(tmp_path / 'a.png')
    (tmp_path / 'b.png').write_bytes(b'no image')
    array = np.zeros((30, 30, 3), np.uint8)
    sources = list_images([str(tmp_path / 'a.png'), str(tmp_path / 'b.png'), array])
    job = job_size(inferencer, sources)
    # 56 x 112 in 2 x 4 windows, 56 x 56 in 2 x 2; the third like their mean
    assert (job.images, job.windows, job.largest) == (3, 18, ((100, 200), (56, 112), 8))
    views = []
    look = inferencer.model.run_backbone
    monkeypatch.setattr(
        inferencer.model, 'run_backbone', lambda x: views.append(len(x)) or look(x)
    )
    list(inferencer.predict([sources[0], array], WORDS))
    assert sum(views) == 12
    assert seconds_per_window(inferencer, Vocabulary.build(WORDS), job) > 0
    assert job_size(inferencer, sources[1:2]) is None


def test_a_large_job_is_described():
    job = JobSize(2, 442, ((3024, 4032), (3024, 4032), 221))
    assert job.is_large and not JobSize(1, 2, job.largest).is_large
    line = job.describe(0.5)
    assert '2 images, 442 windows at 0.5 s: about 4 min' in line
    assert '4032 x 3024 in the model, 221 windows' in line


def test_the_shorter_side_of_a_data_set_changes_too():
    cfg = compose('talk2dino_dinov2-b14', 'voc21')
    set_short_side(cfg, 896)
    assert min(cfg.test_dataloader.dataset.pipeline[1].scale) == 896


@pytest.mark.parametrize('model', ['cat-seg_clip-b16', 'dinov3-seg_l16'])
def test_models_that_stretch_images_have_no_shorter_side(model):
    with pytest.raises(SizeError, match='stretches every image to'):
        set_short_side(model_config(model), 896)
