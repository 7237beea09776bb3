"""PixelCLIP: features resized before they are normalised, and the authors' files."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_ovs.composition import compose
from mmseg_ovs.models.decode_heads import PixelCLIPHead
from mmseg_ovs.models.utils import (
    CheckpointError,
    load_model_checkpoint,
    parts_at_random,
)
from mmseg_ovs.structures import VisualFeatures
from tests.tiny import (
    BACKBONES,
    CLIP_TEXT,
    CLIP_VISION,
    NAMES,
    SYSTEMS,
    WIDTH,
    config,
    make,
)

PREFIX = 'sem_seg_head.predictor'


def pixelclip():
    return dict(
        backbone=BACKBONES['dense CLIP'],
        decode_head=dict(type='PixelCLIPHead', in_channels=WIDTH, text_channels=WIDTH),
        test_cfg=dict(mode='whole', input_size=(32, 32), resize_once=True),
    )


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setitem(SYSTEMS, pixelclip, (WIDTH,))

    def build(seed, **parts):
        torch.manual_seed(seed)
        return MODELS.build(config(pixelclip, tmp_path, NAMES, **parts).model).eval()

    return build


@pytest.fixture
def published(tmp_path):
    """A file in the authors' layout, and the image tower in it."""
    import open_clip

    torch.manual_seed(3)
    clip = open_clip.CLIP(WIDTH, CLIP_VISION, CLIP_TEXT, True)
    state = {f'{PREFIX}.clip_model.{k}': v for k, v in clip.state_dict().items()}
    state[f'{PREFIX}.prompt_tokens'] = torch.zeros(8, 4, 16)
    state['teacher_encoder.visual.proj'] = torch.zeros(1)
    state['head.conv0.weight'] = torch.zeros(1)
    torch.save(dict(model=state), tmp_path / 'pixelclip.pth')
    return tmp_path / 'pixelclip.pth', clip


@torch.no_grad()
def test_features_are_resized_before_they_are_normalised():
    head = make(dict(type='PixelCLIPHead', in_channels=4, text_channels=4))
    features, text = torch.randn(2, 4, 3, 5), F.normalize(torch.randn(6, 4), dim=-1)
    logits = head(VisualFeatures((features,)), text)
    assert logits.shape == (2, 6, 64, 64)
    resized = F.interpolate(features, (64, 64), mode='bilinear')
    expected = torch.einsum('bchw,rc->brhw', F.normalize(resized, dim=1), text)
    torch.testing.assert_close(logits, expected)
    unit = F.interpolate(F.normalize(features, dim=1), (64, 64), mode='bilinear')
    other = torch.einsum('bchw,rc->brhw', F.normalize(unit, dim=1), text)
    assert (logits - other).abs().max() > 1e-2


def check_image_tower(model, clip):
    state = model.backbone.convert_state_dict(clip.visual.state_dict())
    for name, value in model.backbone.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_authors_file(build, published, logged):
    path, clip = published
    model = build(1)
    text = model.project_vocabulary().clone()
    load_model_checkpoint(model, path)
    check_image_tower(model, clip)
    assert torch.equal(model.project_vocabulary(), text)
    assert any('left out' in line and "which is OpenAI's" in line for line in logged)


@pytest.mark.parametrize('name', ['', '_dino-masks'])
def test_the_shipped_configs_load_the_authors_file(build, published, name):
    """Without a checkpoint argument; the text encoder has a file of its own."""
    shipped = compose(f'pixelclip_clip-b16{name}', 'voc20').model
    assert shipped.text_encoder.pretrained == 'openai'
    path, clip = published
    init = dict(shipped.backbone.init_cfg, checkpoint=str(path))
    model = build(1, backbone=dict(BACKBONES['dense CLIP'], init_cfg=init))
    assert 'init_cfg' not in shipped and parts_at_random(model) == []
    text = model.project_vocabulary().clone()
    model.init_weights()
    check_image_tower(model, clip)
    assert torch.equal(model.project_vocabulary(), text)


def test_a_file_with_something_else_in_it(build, published):
    path, _ = published
    state = torch.load(path, weights_only=True)
    state['model']['surprise'] = torch.zeros(1)
    torch.save(state, path)
    with pytest.raises(CheckpointError, match='unexpected: .*surprise'):
        load_model_checkpoint(build(1), path)


def test_a_file_of_another_method_is_not_split():
    head = PixelCLIPHead(4, 4)
    assert head.split_checkpoint({f'{PREFIX}.clip_model.visual.proj': 1}) is None
