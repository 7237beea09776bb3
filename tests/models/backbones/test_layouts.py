"""Weights in timm's and Hugging Face's layouts give what their own models give."""

import pytest
import timm
import torch
import transformers
from torch import nn

from mmseg_ovs.models.backbones import DINOv2, DINOv3
from mmseg_ovs.models.utils import load_pretrained

EXTRAS = ('cls_token', 'registers')


def randomize(model: nn.Module) -> nn.Module:
    """Random values everywhere, so that every norm, bias and scale counts."""
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data = 0.1 * noise + (parameter.data if parameter.ndim == 1 else 0)
    return model.eval()


def assert_same_tokens(features, tokens, prefix):
    ours = [features.cls_token[:, None], features.registers]
    ours.append(features.maps[0].flatten(2).transpose(1, 2))
    ours = torch.cat(ours, dim=1)
    assert ours.shape == tokens.shape and prefix == 1 + features.registers.shape[1]
    torch.testing.assert_close(ours, tokens, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('registers', [0, 4])
@torch.no_grad()
def test_timm_dinov2(registers):
    name = 'vit_small_patch14_reg4_dinov2' if registers else 'vit_small_patch14_dinov2'
    args = dict(depth=2, img_size=56, embed_dim=48, num_heads=3)
    peer = randomize(timm.create_model(name, **args))
    arch = dict(embed_dims=48, depth=2, num_heads=3, feed_forward='mlp')
    model = DINOv2(arch, registers, img_size=56, extra_outputs=EXTRAS).eval()
    load_pretrained(model, peer.state_dict())
    image = torch.randn(2, 3, 56, 56)  # the native grid: timm resizes it otherwise
    assert_same_tokens(model(image), peer.forward_features(image), 1 + registers)


@torch.no_grad()
def test_timm_dinov2_giant():
    args = dict(depth=2, img_size=28, embed_dim=96, num_heads=3)
    peer = randomize(timm.create_model('vit_giant_patch14_reg4_dinov2', **args))
    arch = dict(embed_dims=96, depth=2, num_heads=3, feed_forward='swiglu')
    model = DINOv2(arch, 4, img_size=28, extra_outputs=EXTRAS).eval()
    load_pretrained(model, peer.state_dict())
    image = torch.randn(1, 3, 28, 28)
    assert_same_tokens(model(image), peer.forward_features(image), 5)


@pytest.mark.parametrize(
    'name, feed_forward, ratio',
    [
        ('vit_small_patch16_dinov3', 'mlp', 4),
        ('vit_small_patch16_dinov3_qkvb', 'mlp', 4),
        ('vit_small_plus_patch16_dinov3', 'swiglu', 6),
    ],
)
@torch.no_grad()
def test_timm_dinov3(name, feed_forward, ratio):
    peer = timm.create_model(name, depth=2, embed_dim=48, num_heads=3)
    peer = randomize(peer)
    arch = dict(embed_dims=48, depth=2, num_heads=3, feed_forward=feed_forward)
    arch['mlp_ratio'] = ratio
    model = DINOv3(arch, extra_outputs=EXTRAS).eval()
    load_pretrained(model, peer.state_dict())
    image = torch.randn(2, 3, 48, 80)
    assert_same_tokens(model(image), peer.forward_features(image), 5)


HF = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3)


@pytest.mark.parametrize('swiglu', [False, True])
@pytest.mark.parametrize('registers', [0, 4])
@torch.no_grad()
def test_hugging_face_dinov2(registers, swiglu):
    kwargs = dict(HF, image_size=56, patch_size=14, use_swiglu_ffn=swiglu)
    if registers:
        config = transformers.Dinov2WithRegistersConfig(**kwargs)
        peer = transformers.Dinov2WithRegistersModel(config)
    else:
        peer = transformers.Dinov2Model(transformers.Dinov2Config(**kwargs))
    peer = randomize(peer)
    feed_forward = 'swiglu' if swiglu else 'mlp'
    arch = dict(embed_dims=48, depth=2, num_heads=3, feed_forward=feed_forward)
    model = DINOv2(arch, registers, img_size=56, extra_outputs=EXTRAS).eval()
    load_pretrained(model, peer.state_dict())
    image = torch.randn(2, 3, 56, 56)
    assert_same_tokens(model(image), peer(image).last_hidden_state, 1 + registers)


def old_hub_names(state):
    """The names in the files on the hub, before transformers 5 renamed them."""
    pairs = [
        ('.attention.q_proj.', '.attention.attention.query.'),
        ('.attention.k_proj.', '.attention.attention.key.'),
        ('.attention.v_proj.', '.attention.attention.value.'),
        ('.attention.o_proj.', '.attention.output.dense.'),
    ]
    renamed = {}
    for key, value in state.items():
        for new, old in pairs:
            key = key.replace(new, old)
        renamed[key] = value
    return renamed


@torch.no_grad()
def test_hugging_face_names_of_published_dinov2_files():
    config = transformers.Dinov2Config(**HF, image_size=56, patch_size=14)
    peer = randomize(transformers.Dinov2Model(config))
    arch = dict(embed_dims=48, depth=2, num_heads=3, feed_forward='mlp')
    model = DINOv2(arch, img_size=56, extra_outputs=EXTRAS).eval()
    load_pretrained(model, old_hub_names(peer.state_dict()))
    image = torch.randn(1, 3, 56, 56)
    assert_same_tokens(model(image), peer(image).last_hidden_state, 1)


@pytest.mark.parametrize('gated', [False, True])
@pytest.mark.parametrize('prefix', ['model.layer.', 'layer.'])
@torch.no_grad()
def test_hugging_face_dinov3(gated, prefix):
    config = transformers.DINOv3ViTConfig(
        **HF,
        intermediate_size=192,
        num_register_tokens=4,
        use_gated_mlp=gated,
        hidden_act='silu' if gated else 'gelu',  # as published
    )
    peer = randomize(transformers.DINOv3ViTModel(config))
    arch = dict(embed_dims=48, depth=2, num_heads=3, feed_forward='mlp')
    if gated:
        arch.update(feed_forward='swiglu', mlp_ratio=6)
    model = DINOv3(arch, extra_outputs=EXTRAS).eval()
    state = peer.state_dict()
    state = {k.replace('model.layer.', prefix): v for k, v in state.items()}
    load_pretrained(model, state)
    image = torch.randn(2, 3, 48, 80)
    assert_same_tokens(model(image), peer(image).last_hidden_state, 5)
