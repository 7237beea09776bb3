"""Weights in timm's and Hugging Face's layouts give what their own models give."""

import pytest
import timm
import torch
import transformers
from mmseg.registry import MODELS

from mmseg_ovs.models.utils import load_pretrained


def timm_model(name, **options):
    if not timm.is_model(name):
        pytest.skip(f'timm {timm.__version__} has no {name}')
    return timm.create_model(name, depth=2, embed_dim=48, num_heads=3, **options)


def hugging_face_model(kind, **options):
    sizes = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3)
    config = getattr(transformers, f'{kind}Config')(**sizes, **options)
    return getattr(transformers, f'{kind}Model')(config)


def arch(feed_forward='mlp', **more):
    return dict(embed_dims=48, depth=2, num_heads=3, feed_forward=feed_forward, **more)


SWIGLU = dict(arch=arch('swiglu'))
PLUS = dict(arch=arch('swiglu', mlp_ratio=6))
# As published: the gated form has SiLU.
HF_DINOV3 = dict(intermediate_size=192, num_register_tokens=4)
HF_DINOV3_PLUS = dict(HF_DINOV3, use_gated_mlp=True, hidden_act='silu')
# The names in the files on the hub, before transformers 5 renamed them.
OLD_HUB = {
    'model.layer.': 'layer.',
    '.attention.q_proj.': '.attention.attention.query.',
    '.attention.k_proj.': '.attention.attention.key.',
    '.attention.v_proj.': '.attention.attention.value.',
    '.attention.o_proj.': '.attention.output.dense.',
}


@torch.no_grad()
def check(ours, peer, image):
    """Tokens of both are equal, with random values for every norm, bias and scale."""
    generator = torch.Generator().manual_seed(1)
    for parameter in peer.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 0.1 * noise + (parameter.data if parameter.ndim == 1 else 0)
    if hasattr(peer.eval(), 'forward_features'):
        expected = peer.forward_features(image)
    else:
        expected = peer(image).last_hidden_state
    for names in ({}, OLD_HUB):
        state = {}
        for key, value in peer.state_dict().items():
            for new, old in names.items():
                key = key.replace(new, old)
            state[key] = value
        model = MODELS.build(dict(ours, extra_outputs=('cls_token', 'registers')))
        load_pretrained(model.eval(), state)
        features = model(image)
        tokens = [features.cls_token[:, None], features.registers]
        tokens = torch.cat([*tokens, features.maps[0].flatten(2).mT], dim=1)
        torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('registers', [0, 4])
@pytest.mark.parametrize(
    'name, more, options',
    [
        ('vit_small_patch14_dinov2', {}, {}),
        ('vit_giant_patch14_dinov2', SWIGLU, {}),
        ('Dinov2', {}, {}),
        ('Dinov2', SWIGLU, dict(use_swiglu_ffn=True)),
    ],
)
def test_dinov2(registers, name, more, options):
    ours = dict(type='DINOv2', arch=arch(), num_registers=registers, img_size=56)
    if name == 'Dinov2':
        name = 'Dinov2WithRegisters' if registers else name
        peer = hugging_face_model(name, image_size=56, patch_size=14, **options)
    else:
        name = name.replace('dinov2', 'reg4_dinov2') if registers else name
        peer = timm_model(name, img_size=56)
    # the native grid: timm resizes it otherwise
    check({**ours, **more}, peer, torch.randn(2, 3, 56, 56))


@pytest.mark.parametrize(
    'name, more, options',
    [
        ('vit_small_patch16_dinov3', {}, None),
        ('vit_small_patch16_dinov3_qkvb', {}, None),
        ('vit_small_plus_patch16_dinov3', PLUS, None),
        ('DINOv3ViT', {}, HF_DINOV3),
        ('DINOv3ViT', PLUS, HF_DINOV3_PLUS),
    ],
)
def test_dinov3(name, more, options):
    peer = hugging_face_model(name, **options) if options else timm_model(name)
    check({**dict(type='DINOv3', arch=arch()), **more}, peer, torch.randn(2, 3, 48, 80))
