"""Our text encoders inside mmseg's SAN."""

from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_ovs.models.text_encoders import SANTextEncoder
from tests.models.module_tester import label_samples
from tests.tiny import TEXT_ENCODERS, WIDTH, vectors

CLASSES = ['sky', 'tree', 'road']
TOWER = dict(TEXT_ENCODERS['open_clip'], vocabulary=CLASSES)


def san(text_encoder, **changes):
    """mmseg's SAN ViT-B/16 config, scaled down."""
    return MODELS.build({**san_config(text_encoder), **changes})


def san_config(text_encoder):
    init_default_scope('mmseg')
    # not 'mmseg::', for which mmengine imports pkg_resources
    folder = Path(mmseg.__file__).parent / '.mim/configs/_base_/models'
    model = Config.fromfile(folder / 'san_vit-b16.py').model
    model.pretrained = None
    model.text_encoder = text_encoder
    model.image_encoder.update(
        img_size=(32, 32), embed_dims=48, num_layers=3, num_heads=4
    )
    model.image_encoder.out_indices = (0, 1, 2)
    head = model.decode_head
    head.num_classes = len(CLASSES)
    head.deep_supervision_idxs = [3]
    head.san_cfg.update(clip_channels=48, embed_dims=24, num_queries=5)
    head.san_cfg.cfg_encoder.update(num_encode_layer=4, num_heads=4)
    head.san_cfg.cfg_decoder.update(num_heads=4, embed_channels=16, mlp_channels=16)
    head.maskgen_cfg.update(
        sos_token_num=5, num_layers=1, embed_dims=48, num_heads=4, out_dims=WIDTH
    )
    head.loss_decode[0].class_weight = [1.0] * len(CLASSES) + [0.1]
    head.train_cfg.num_points = 64
    model.data_preprocessor.size_divisor = 64
    return model


def inputs():
    size = (64, 64)
    shapes = dict.fromkeys(('img_shape', 'ori_shape', 'pad_shape'), size)
    (sample,) = label_samples(torch.randint(0, 3, (1, *size)))
    sample.set_metainfo(dict(shapes, padding_size=[0, 0, 0, 0]))
    return torch.randn(1, 3, *size), [sample]


def test_classes_and_a_learned_row_of_unit_length_times_the_scale():
    encoder = SANTextEncoder(TOWER, logit_scale=50)
    weights = encoder()
    assert weights.shape == (4, WIDTH)
    torch.testing.assert_close(weights.norm(dim=-1), torch.full((4,), 50.0))
    trained = [n for n, p in encoder.named_parameters() if p.requires_grad]
    assert trained == ['bg_embed']


def test_san_predicts_any_vocabulary_and_trains():
    model = san(dict(type='SANTextEncoder', encoder=TOWER))
    image, samples = inputs()
    model.eval()
    with torch.no_grad():
        [result] = model.predict(image, samples)
    assert result.seg_logits.data.shape == (3, 64, 64)
    model.text_encoder.set_vocabulary([*CLASSES, 'car'])
    with torch.no_grad():
        [result] = model.predict(image, samples)
    assert result.seg_logits.data.shape == (4, 64, 64)
    assert result.pred_sem_seg.data.shape == (1, 64, 64)

    model.train()
    model.text_encoder.set_vocabulary(CLASSES)
    losses = model.loss(image, samples)
    sum(v for k, v in losses.items() if 'loss' in k).backward()
    assert model.text_encoder.bg_embed.grad.abs().sum() > 0


@pytest.mark.parametrize('kind', ['plain', 'precomputed'])
def test_other_encoders_are_callable_the_same_way(tmp_path, kind):
    encoder = TOWER
    if kind == 'precomputed':
        precomputed = vectors(tmp_path / 'x.safetensors', CLASSES, WIDTH)
        precomputed['vocabulary'] = CLASSES
        encoder = dict(type='SANTextEncoder', encoder=precomputed)
    model = san(encoder).eval()
    with torch.no_grad():
        [result] = model.predict(*inputs())
    # The head takes the last row it is given for "no class".
    classes = 2 if kind == 'plain' else 3
    assert result.seg_logits.data.shape == (classes, 64, 64)
