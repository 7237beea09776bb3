"""dinov3.seg: what is trained of it, its prior, its windows and both text halves."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS

from mmseg_ovs.models.utils import CheckpointError, load_model_checkpoint
from tests.models.module_tester import check_gradients
from tests.tiny import TEXT_ENCODERS, build, config, dinov3_seg

IMAGE = torch.randint(0, 256, (3, 40, 61), generator=torch.Generator().manual_seed(3))
LOCAL_GLOBAL = dict(
    mode='local-global',
    aggregation='features',
    image_size=(48, 48),
    crop_size=(32, 32),
    stride=(8, 8),
    keep_logits=True,
)


def parts(tower=True, upsampled=1, necks=False, **prior):
    """Parts of the model with other arguments, further ones of the prior."""
    system = dinov3_seg()
    (anyup, encoder), head = system['neck'], system['decode_head']
    appearance = dict(head['appearance_guidance'], stride=8)
    return dict(
        backbone=dict(system['backbone'], trainable=tower),
        neck=[
            dict(anyup, output_size=upsampled, trainable=necks),
            dict(encoder, backbone=dict(encoder['backbone'], **prior), trainable=necks),
        ],
        decode_head=dict(head, stride=8 // upsampled, appearance_guidance=appearance),
        test_cfg=LOCAL_GLOBAL,
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
def test_prior_and_head_run_once_per_image(tmp_path):
    model = build(dinov3_seg, tmp_path, **parts())
    seen = []
    for part in (model.backbone, model.neck[0], model.neck[1].prior, model.decode_head):
        part.register_forward_hook(
            lambda module, args, out: seen.append(type(module).__name__)
        )
    (sample,) = model.test_step(dict(inputs=[IMAGE]))
    assert seen.count('AnyUp') == seen.count('SAMImageEncoder') == 1
    assert seen.count('CostAggregationHead') == 1
    assert seen.count('BackboneWithNeck') == 10  # the whole, nine windows one by one
    scores = sample.seg_logits.data
    assert scores.shape == (5, 40, 61)
    assert scores.min() >= 0 and scores.max() <= 1


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


@torch.no_grad()
def test_checkpoint_without_the_frozen_prior(tmp_path):
    """A prior that brings its weights, here in a whole SAM, need not be in it."""
    prior = build(dinov3_seg, tmp_path).neck[1].prior.state_dict()
    state = {f'image_encoder.{key}': value for key, value in prior.items()}
    torch.save({**state, 'mask_decoder.x': torch.ones(1)}, tmp_path / 'sam.pth')
    file = dict(type='Pretrained', checkpoint=str(tmp_path / 'sam.pth'))

    first = build(dinov3_seg, tmp_path, **parts())
    state = {k: v for k, v in first.state_dict().items() if '.prior.' not in k}
    assert 0 < len(state) < len(first.state_dict())
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')

    changes = parts(init_cfg=file)
    second = MODELS.build(config(dinov3_seg, tmp_path, **changes).model)
    load_model_checkpoint(second, tmp_path / 'x.pth')
    for key, value in second.state_dict().items():
        expected = prior[key[13:]] if '.prior.' in key else state[key]
        assert torch.equal(value, expected), key
    with pytest.raises(CheckpointError, match=r'missing: neck\.1\.prior\.pos_embed'):
        third = MODELS.build(config(dinov3_seg, tmp_path, **parts()).model)
        load_model_checkpoint(third, tmp_path / 'x.pth')
