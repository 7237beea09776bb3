"""The protocol says what was done, for our models and for stock ones."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from mmseg_ovs.composition import compose
from mmseg_ovs.evaluation.protocol import describe_protocol, format_protocol, versions
from mmseg_ovs.models.utils import weights_digest
from mmseg_ovs.version import __version__
from tests.tiny import STOCK_BACKBONES, TEXT_ENCODERS, VIT, WIDTH, vectors


@pytest.fixture
def talk2dino(tmp_path):
    """A cut-down Talk2DINO on VOC21."""
    cfg = compose('talk2dino_dinov2-reg-b14', 'voc21')
    cfg.model.backbone.update(arch=VIT, init_cfg=None)
    cfg.model.text_encoder = vectors(tmp_path / 'x.safetensors', ['cat', 'dog'], WIDTH)
    cfg.model.decode_head.update(in_channels=WIDTH, text_channels=WIDTH)
    return cfg


def protocol_of(cfg, vocabulary=None):
    model = MODELS.build(cfg.model)
    if vocabulary is not None:
        model.set_vocabulary(vocabulary)
    return model, describe_protocol(model, cfg, seed=3)


def test_windows_refinement_and_background(talk2dino):
    background = dict(type='threshold', value=0.55)
    vocabulary = dict(source=['cat', 'dog'], background=background)
    model, protocol = protocol_of(talk2dino, vocabulary)
    expected = {
        'input': 'Resize(scale=(2048, 448), keep_ratio=True)',
        'mode': 'slide',
        'window': '448 x 448, stride 224 x 224, resized to 448 x 448',
        'aggregation': 'mean of scores where windows overlap',
        'templates': 'those of the vectors',
        'background': 'label 0, where no class scores above 0.55',
        'seed': '3',
        'versions': versions(),
    }
    assert {key: protocol[key] for key in expected} == expected
    assert protocol['post-processors'].startswith('BackgroundCleaning(weight=0.2, ')
    # defaults are written out: they may change between versions
    assert 'num_iter=10, dilations=(1, 2, 4, 8, 12, 24)' in protocol['post-processors']
    assert f'SHA-256 {weights_digest(model)[:16]}' in protocol['weights']
    assert 'vitb_mlp_infonce.pth' in protocol['weights']
    assert 'AT RANDOM: backbone' in protocol['weights']
    assert model.vocabulary.fingerprint() in protocol['vocabulary']
    assert '3 classes, 2 names of the data set' in protocol['vocabulary']
    assert 'PascalVOCDataset' in protocol['data set']
    assert f'mmseg_ovs {__version__}' in protocol['versions']


def test_probabilities_on_the_grid_and_a_layer_of_the_background(talk2dino):
    talk2dino.model.decode_head.activation = 'softmax'
    weights = dict(type='Pretrained', checkpoint='somewhere/last.pt')
    override = dict(type='UncertainBackground', in_channels=8, init_cfg=weights)
    talk2dino.model.postprocessors = [override]
    _, protocol = protocol_of(talk2dino, ['background', 'cat'])
    assert protocol['aggregation'].endswith(
        'overlap, softmax over the names on the patch grid before'
    )
    assert protocol['post-processors'] == (
        'UncertainBackground(in_channels=8, min_probability=0.99, min_objectness=0.5, '
        'source_index=0)'
    )
    assert 'last.pt' in protocol['weights']


@pytest.mark.parametrize(
    ('background', 'told'),
    [
        (None, 'none'),
        (dict(type='names', names=['dog', 'cat'], name='rest'), 'the best of 2 names'),
    ],
)
def test_background_rules(talk2dino, background, told):
    vocabulary = dict(source=['cat', 'dog'], background=background)
    assert told in protocol_of(talk2dino, vocabulary)[1]['background']


def test_a_class_called_background_is_told(talk2dino):
    """Scored by its word: not what papers with a threshold do."""
    _, protocol = protocol_of(talk2dino, ['cat', 'background'])
    assert protocol['background'] == "label 1, scored by the word 'background'"


def test_two_weights_have_two_hashes(talk2dino):
    first = protocol_of(talk2dino, ['cat'])[1]['weights']
    torch.manual_seed(1)
    assert protocol_of(talk2dino, ['cat'])[1]['weights'] != first


def test_towers_templates_and_local_global(talk2dino):
    templates = dict(templates='imagenet_7', template_average='raw')
    talk2dino.model.text_encoder = dict(TEXT_ENCODERS['open_clip'], **templates)
    talk2dino.model.test_cfg.update(
        mode='local-global', image_size=(640, 640), aggregation='logits'
    )
    _, protocol = protocol_of(talk2dino, ['cat'])
    assert protocol['templates'].startswith("7 templates ('itap of a {}.', ...), ")
    assert 'average raw, hash ' in protocol['templates']
    assert protocol['image'] == 'stretched to 640 x 640'
    assert protocol['aggregation'] == 'mean of the logits of windows and whole image'


@pytest.mark.parametrize('antialias', [False, True])
def test_the_whole_image_at_another_size(talk2dino, antialias):
    talk2dino.model.test_cfg = dict(
        mode='whole', input_size=(320, 320), input_antialias=antialias, resize_once=True
    )
    _, protocol = protocol_of(talk2dino, ['cat'])
    told = '' if antialias else ' without antialiasing'
    assert protocol['image'] == f'stretched to 320 x 320{told}'
    assert 'scores resized once' in protocol['aggregation']
    assert 'window' not in protocol


def test_a_stock_model_has_a_protocol_too():
    model = dict(
        type='EncoderDecoder',
        backbone=STOCK_BACKBONES['ResNet'],
        decode_head=dict(type='FCNHead', in_channels=64, channels=8, num_classes=2),
        test_cfg=dict(mode='slide', crop_size=(64, 64), stride=(42, 42)),
    )
    cfg = Config(dict(model=model))
    cfg.test_dataloader = dict(dataset=dict(type='BaseSegDataset', pipeline=[]))
    cfg.test_evaluator = dict(type='IoUMetric', output_dir='x')
    _, protocol = protocol_of(cfg)
    assert protocol['vocabulary'] == 'fixed, 2 classes'
    assert protocol['window'] == '64 x 64, stride 42 x 42'
    assert protocol['metric'] == 'IoUMetric()'
    assert protocol['post-processors'] == 'none'
    assert len(format_protocol(protocol).splitlines()) == len(protocol)
