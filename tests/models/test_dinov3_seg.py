"""dinov3.seg whole, of a few channels: builds, trains, segments, is saved."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ovs.models.utils import (
    CheckpointError,
    init_own_weights,
    load_model_checkpoint,
)

CLASSES = ['red disc', 'blue ring', 'wavy ground']
DIMS = 16
VIT = dict(embed_dims=DIMS, depth=2, num_heads=2, feed_forward='mlp')
PRIOR = dict(
    type='SAMImageEncoder',
    arch=dict(embed_dims=16, depth=3, num_heads=2, global_attn_indexes=(0, 1, 2)),
    img_size=32,
    patch_size=8,
    window_size=2,
    out_channels=8,
    out_indices=(0, 1),
)
TOWER = dict(embed_dims=DIMS, width=16, depth=1, num_heads=2, templates='single')


def cfg(trainable='attention', early=1, prior=PRIOR, **parts):
    """Two text halves, a prior for blocks and decoder, local-global inference."""
    stride = 8 // early
    return dict(
        type='OpenVocabSegmentor',
        data_preprocessor=dict(
            type='OpenVocabDataPreProcessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            size=(32, 32),
        ),
        backbone=dict(
            type='BackboneWithNeck',
            backbone=dict(
                type='DINOv3',
                arch=VIT,
                num_registers=2,
                patch_size=8,
                extra_outputs=('cls_token', 'registers'),
            ),
            neck=dict(
                type='DinoTxtVisionHead', embed_dims=DIMS, num_heads=2, num_blocks=1
            ),
            trainable=trainable,
        ),
        neck=[
            dict(type='AnyUp', output_size=early, qk_dim=8, frozen=True),
            dict(type='SemanticPriorEncoder', backbone=prior),
        ],
        text_encoder=dict(
            type='DinoTxtTextEncoder', part='both', template_average='raw', **TOWER
        ),
        decode_head=dict(
            type='CostAggregationHead',
            in_channels=DIMS,
            in_index=0,
            stride=stride,
            text_parts=2,
            prompt_channels=2,
            appearance_guidance=dict(index=3, channels=8, stride=8),
            decoder_guidance=[
                dict(index=i, channels=16, stride=8, upsampled_channels=6)
                for i in (2, 1)
            ],
            aggregator=dict(
                channels=16,
                num_layers=1,
                num_heads=2,
                window_size=3,
                text_guidance_dims=8,
                appearance_guidance_dims=8,
                decoder_dims=(16, 16),
                decoder_guidance_dims=(8, 4),
            ),
            ignored='skip',
            sampled_classes=2,
        ),
        vocabulary=CLASSES,
        test_cfg=dict(
            mode='local-global',
            aggregation='features',
            image_size=(48, 48),
            crop_size=(32, 32),
            stride=(8, 8),
            keep_logits=True,
        ),
        **parts,
    )


def build(**changes):
    torch.manual_seed(0)
    model = MODELS.build(cfg(**changes))
    init_own_weights(model)
    return model


def batch():
    """Images and labels, a part of them unlabelled."""
    torch.manual_seed(1)
    labels = torch.zeros(2, 1, 32, 32, dtype=torch.long)
    labels[:, :, 8:24, 8:] = 2
    labels[0, :, :5] = 255
    samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for label in labels]
    images = [torch.randint(0, 256, (3, 32, 32)) for _ in labels]
    return dict(inputs=images, data_samples=samples)


def step(model):
    """One loss and its gradients; names of the parameters that got one."""
    data = model.data_preprocessor(batch(), training=True)
    losses = model(**data, mode='loss')
    loss = sum(losses.values())
    assert loss.isfinite() and 0 < loss < 5
    loss.backward()
    got = {n for n, p in model.named_parameters() if p.grad is not None}
    assert all(
        p.grad.isfinite().all() for p in model.parameters() if p.grad is not None
    )
    return got


def trained(model):
    return {n for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ('trainable', 'early'), [('attention', 1), ('all', 2), ('none', 1)]
)
def test_gradients_reach_what_is_trained(trainable, early):
    """All of it: DDP waits for each parameter that asks for a gradient."""
    model = build(trainable=trainable, early=early).train()
    got = step(model)
    assert got == trained(model)
    vlm = {name for name in got if name.startswith('backbone.')}
    whole = {n for n, _ in model.named_parameters() if n.startswith('backbone.')}
    attention = {name for name in whole if '.attn.' in name}
    assert vlm == dict(attention=attention, all=whole, none=set())[trainable]
    assert {name.split('.')[0] for name in got - vlm} == {'decode_head'}


def test_the_prior_can_be_trained():
    changes = cfg()
    changes['neck'][1]['frozen'] = False
    changes['neck'][0]['frozen'] = False
    torch.manual_seed(0)
    model = MODELS.build(changes).train()
    got = step(model)
    assert got == trained(model)
    assert {n for n, _ in model.named_parameters() if n.startswith('neck')} <= got


def test_learning_rates():
    """The hundredth is for the image and text towers, not for the prior."""
    changes = cfg(trainable='all')
    changes['neck'][1]['frozen'] = False
    changes['text_encoder']['frozen'] = False
    model = MODELS.build(changes)
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
@pytest.mark.parametrize('aggregation', ['features', 'logits'])
def test_segments_images_of_any_size(aggregation):
    model = build().eval()
    model.test_cfg['aggregation'] = aggregation
    images = [torch.randint(0, 256, (3, 40, 61)), torch.randint(0, 256, (3, 70, 52))]
    for names in (CLASSES, ['cat', ['dog', 'puppy']]):
        model.set_vocabulary(names)
        samples = [SegDataSample(), SegDataSample()]
        results = model.test_step(dict(inputs=images, data_samples=samples))
        for sample, image in zip(results, images, strict=True):
            scores = sample.seg_logits.data
            assert scores.shape == (len(names), *image.shape[1:])
            assert scores.min() >= 0 and scores.max() <= 1
            assert torch.equal(sample.pred_sem_seg.data[0], scores.argmax(0))


@torch.no_grad()
def test_prior_and_head_run_once_a_image():
    model = build().eval()
    seen = []
    for part in (model.backbone, model.neck[0], model.neck[1].prior, model.decode_head):
        part.register_forward_hook(
            lambda module, args, out: seen.append(type(module).__name__)
        )
    model.test_step(dict(inputs=[torch.randint(0, 256, (3, 40, 61))]))
    assert seen.count('AnyUp') == seen.count('SAMImageEncoder') == 1
    assert seen.count('CostAggregationHead') == 1
    assert seen.count('BackboneWithNeck') == 10  # the whole, nine windows one by one


@torch.no_grad()
def test_both_text_halves_count():
    model = build().eval()
    features = model.extract_feat(torch.randn(1, 3, 32, 32))
    text = model.project_vocabulary()
    assert text.shape == (3, 2, DIMS)
    logits = model.decode_head(features, text)
    for half in (0, 1):
        changed = text.clone()
        changed[:, half] = text[:, half].roll(1, 0)
        assert (model.decode_head(features, changed) - logits).abs().max() > 1e-4


@torch.no_grad()
def test_checkpoint_without_the_frozen_prior(tmp_path):
    """A prior that brings its weights need not be in the checkpoint."""
    whole_sam = MODELS.build(PRIOR).state_dict()
    torch.save(
        {f'image_encoder.{k}': torch.randn_like(v) for k, v in whole_sam.items()},
        tmp_path / 'sam.pth',
    )
    file = dict(type='Pretrained', checkpoint=str(tmp_path / 'sam.pth'))
    first = build(prior=dict(PRIOR, init_cfg=file)).eval()
    state = {k: v for k, v in first.state_dict().items() if '.prior.' not in k}
    assert 0 < len(state) < len(first.state_dict())
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')

    torch.manual_seed(5)
    second = MODELS.build(cfg(prior=dict(PRIOR, init_cfg=file))).eval()
    load_model_checkpoint(second, tmp_path / 'x.pth')
    data = dict(inputs=[torch.randint(0, 256, (3, 40, 61))])
    one, other = (m.test_step(dict(data))[0].seg_logits.data for m in (first, second))
    torch.testing.assert_close(one, other)
    with pytest.raises(CheckpointError, match=r'missing: neck\.1\.prior\.pos_embed'):
        load_model_checkpoint(MODELS.build(cfg()), tmp_path / 'x.pth')


def test_text_of_another_width():
    torch.manual_seed(0)
    changes = cfg()
    changes['text_encoder']['part'] = 'patch'
    model = MODELS.build(changes)
    with pytest.raises(ValueError, match=r'16 channels with 2 part\(s\).* 16 numbers'):
        model.project_vocabulary()
