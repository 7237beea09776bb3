"""dinov3.seg: what is trained of it, both text halves, and on CLIP."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from tests.models.module_tester import check_gradients
from tests.tiny import (
    BACKBONES,
    CLIP_VISION,
    NAMES,
    TEXT_ENCODERS,
    WIDTH,
    build,
    dinov3_seg,
    vectors,
)


def parts(tower=True, upsampled=1, necks=False):
    """Parts of the model with other arguments."""
    system = dinov3_seg()
    (anyup, prior), head = system['neck'], system['decode_head']
    appearance = dict(head['appearance_guidance'], stride=8)
    return dict(
        backbone=dict(system['backbone'], trainable=tower),
        neck=[
            dict(anyup, output_size=upsampled, trainable=necks),
            dict(prior, trainable=necks),
        ],
        decode_head=dict(head, stride=8 // upsampled, appearance_guidance=appearance),
    )


@pytest.mark.parametrize(
    ('tower', 'upsampled', 'necks'),
    [('attention', 1, False), (True, 2, False), (False, 1, False), (False, 2, True)],
)
def test_gradients_reach_what_is_trained(tmp_path, tower, upsampled, necks):
    changes = parts(tower, upsampled, necks)
    model = build(dinov3_seg, tmp_path, **changes).train()
    trained = check_gradients(model, [model(torch.randn(2, 3, 32, 32))])
    found = {name for name in trained if name.startswith('backbone.')}
    whole = {n for n, _ in model.named_parameters() if n.startswith('backbone.')}
    attention = {name for name in whole if '.attn.' in name}
    assert found == {'attention': attention, True: whole, False: set()}[tower]
    others = {'decode_head', 'neck'} if necks else {'decode_head'}
    assert {name.split('.')[0] for name in trained - found} == others


def test_learning_rates(tmp_path):
    """The hundredth is for the image and text towers, not for the prior."""
    tower = dict(TEXT_ENCODERS['dino.txt'], part='both', trainable=True)
    model = build(dinov3_seg, tmp_path, text_encoder=tower, **parts(necks=True))
    rate = dict(lr_mult=0.01)
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='AdamW', lr=1.0),
            paramwise_cfg=dict(custom_keys=dict(backbone=rate, text_encoder=rate)),
        ),
    )
    rates = {}
    names = {id(p): n for n, p in model.named_parameters()}
    for group in wrapper.optimizer.param_groups:
        for parameter in group['params']:
            rates.setdefault(names[id(parameter)].split('.')[0], set()).add(group['lr'])
    assert rates == {
        'backbone': {0.01},
        'text_encoder': {0.01},
        'neck': {1.0},
        'decode_head': {1.0},
    }


@torch.no_grad()
def test_both_text_halves_count(tmp_path):
    tower = dict(TEXT_ENCODERS['dino.txt'], part='both')
    model = build(dinov3_seg, tmp_path, text_encoder=tower)
    features = model.extract_feat(torch.randn(1, 3, 32, 32))
    text = model.project_vocabulary()
    assert text.shape == (5, 2, 16)
    logits = model.decode_head(features, text)
    for half in (0, 1):
        changed = text.clone()
        changed[:, half] = text[:, half].roll(1, 0)
        assert (model.decode_head(features, changed) - logits).abs().max() > 1e-4


def test_on_clip_with_a_prior_of_another_patch(tmp_path):
    """As ``dinov3-seg_clip-l14``: one text vector a name, grids of two strides."""
    system, clip = dinov3_seg(), dict(CLIP_VISION, patch_size=7, image_size=28)
    (anyup, prior), head = system['neck'], system['decode_head']
    guidance = [dict(g, stride=7) for g in head['decoder_guidance']]
    model = build(
        dinov3_seg,
        tmp_path,
        backbone=dict(
            BACKBONES['dense CLIP'],
            model=dict(embed_dim=WIDTH, quick_gelu=True, vision_cfg=clip),
            trainable='query_value',
        ),
        neck=[anyup, dict(prior, strides=(7, 7, 7))],
        text_encoder=vectors(tmp_path / 'clip.safetensors', NAMES, WIDTH),
        decode_head=dict(
            head, stride=7, text_parts=1, prompt_channels=1, decoder_guidance=guidance
        ),
        train_cfg=dict(input_size=(35, 35)),
        test_cfg=dict(
            mode='local-global',
            aggregation='features',
            image_size=(49, 49),
            crop_size=(35, 35),
            stride=(7, 7),
        ),
    )
    labels = PixelData(data=torch.arange(32 * 32).view(1, 32, 32) // 256)
    samples = [SegDataSample(gt_sem_seg=labels)]
    losses = model.train().loss(torch.randn(1, 3, 32, 32), samples)
    trained = check_gradients(model, list(losses.values()))
    assert {n.split('.')[-2] for n in trained if n.startswith('backbone')} == {'qkv'}
    (result,) = model.eval().predict(torch.randn(1, 3, 40, 60))
    assert result.pred_sem_seg.data.shape == (1, 40, 60)
