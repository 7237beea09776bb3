"""SAM's image encoder: the package's numbers, any size, as a backbone."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmcv.transforms import Resize
from mmseg.registry import MODELS
from segment_anything import sam_model_registry
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from segment_anything.utils.transforms import ResizeLongestSide
from torch import nn
from torch.testing import assert_close

from mmseg_ovs.models.backbones import SAMImageEncoder
from mmseg_ovs.models.utils import CheckpointError, FrozenTeacher
from tests.models.module_tester import LargestTensor, label_samples

# Native grid 8 x 8 in windows of 3, so windows are padded at the native size too.
ARCH = dict(embed_dims=32, depth=4, num_heads=4, global_attn_indexes=(1, 3))
SIZES = dict(img_size=64, patch_size=8, window_size=3, out_channels=16)
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def randomise(module):
    """The package starts positions at zero and norms at one: nothing may hide there."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval()


def build(**kwargs):
    return randomise(SAMImageEncoder(ARCH, **{**SIZES, **kwargs}))


def official():
    return randomise(
        ImageEncoderViT(
            img_size=64,
            patch_size=8,
            window_size=3,
            out_chans=16,
            embed_dim=32,
            depth=4,
            num_heads=4,
            global_attn_indexes=(1, 3),
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
        )
    )


def official_sam():
    """A whole tiny model of the package."""
    return Sam(
        official(),
        PromptEncoder(16, (8, 8), (64, 64), mask_in_chans=4),
        MaskDecoder(
            transformer_dim=16, transformer=TwoWayTransformer(1, 16, 2, mlp_dim=8)
        ),
        MEAN,
        STD,
    ).eval()


@torch.no_grad()
def test_native_size_equals_the_package():
    package, ours = official(), build(out_indices=range(4))
    ours.load_state_dict(package.state_dict())
    seen = []
    for block in package.blocks:
        block.register_forward_hook(lambda module, args, output: seen.append(output))
    image = torch.randn(2, 3, 64, 64)
    expected = package(image)
    *blocks, neck = ours(image)
    assert_close(neck, expected, rtol=0, atol=1e-5)
    for got, block in zip(blocks, seen, strict=True):
        assert_close(got, block.permute(0, 3, 1, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize('arch', ['vit_b', 'vit_l', 'vit_h'])
def test_sizes_of_published_models(arch):
    """Shapes also tell the heads and which blocks are global."""
    with torch.device('meta'):
        published = sam_model_registry[arch]().image_encoder.state_dict()
        ours = SAMImageEncoder(arch).state_dict()
    shapes = {k: v.shape for k, v in published.items()}
    assert {k: v.shape for k, v in ours.items()} == shapes


@torch.no_grad()
@pytest.mark.parametrize('size', [(40, 88), (96, 32)])
def test_other_sizes_equal_the_package_with_resized_positions(size):
    """Its blocks resize their tables of relative positions by themselves."""
    package, ours = official(), build()
    ours.load_state_dict(package.state_dict())
    grid = size[0] // 8, size[1] // 8
    positions = package.pos_embed.permute(0, 3, 1, 2)
    positions = F.interpolate(positions, grid, mode='bicubic', align_corners=False)
    package.pos_embed.data = positions.permute(0, 2, 3, 1)
    image = torch.randn(1, 3, *size)
    assert_close(ours(image)[-1], package(image), rtol=0, atol=1e-5)


@pytest.mark.parametrize('size', [(64, 64), (40, 88)])
def test_fused_attention_gives_the_same(size):
    image = torch.randn(2, 3, *size)
    plain, fused = build().train(), build(fused_attention=True).train()
    fused.load_state_dict(plain.state_dict())
    (expected,), (got,) = plain(image), fused(image)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    for out in (expected, got):
        (out * torch.arange(16).view(16, 1, 1)).mean().backward()
    gradients = dict(fused.named_parameters())
    for key, parameter in plain.named_parameters():
        scale = parameter.grad.abs().max()
        difference = (gradients[key].grad - parameter.grad).abs().max()
        assert difference <= 1e-4 * scale, key


@torch.no_grad()
def test_fused_attention_holds_no_attention_map():
    attention_map = 4 * 64 * 64  # heads x patches x patches; the MLP has 64 * 128
    for fused in (False, True):
        model = build(fused_attention=fused)
        with LargestTensor() as largest:
            model(torch.randn(1, 3, 64, 64))
        assert (largest.elements < attention_map) is fused


@torch.no_grad()
def test_outputs_are_chosen_by_argument():
    image = torch.randn(2, 3, 64, 48)
    model = build(out_indices=(0, -1))
    first, last, neck = model(image)
    assert first.shape == last.shape == (2, 32, 8, 6)
    assert neck.shape == (2, 16, 8, 6)
    model.out_indices = ()
    assert torch.equal(model(image)[0], neck)
    model.out_indices, model.neck_output = (3, 0), False
    swapped = model(image)
    assert torch.equal(swapped[0], last) and torch.equal(swapped[1], first)


def test_nothing_behind_the_last_output_is_computed():
    model = build(out_indices=(1,), neck_output=False)
    model(torch.randn(1, 3, 64, 64))[0].sum().backward()
    used = {
        k.split('.attn')[0] for k, p in model.named_parameters() if p.grad is not None
    }
    assert any(key.startswith('blocks.1') for key in used)
    assert not any(key.startswith(('blocks.2', 'blocks.3', 'neck')) for key in used)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(arch='vit_t'), "Unknown arch 'vit_t'; known: .*'vit_b', 'vit_h'"),
        (dict(arch=dict(depth=1)), "custom arch needs .*'global_attn_indexes'"),
        (dict(neck_output=False), 'out_indices have to name a block'),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SAMImageEncoder(**{'arch': ARCH, **SIZES, **kwargs})


@torch.no_grad()
def test_checkpoint_of_a_whole_sam(tmp_path):
    """As a backbone and as a frozen teacher; a part of SAM alone is refused."""
    sam, path = official_sam(), tmp_path / 'sam.pth'
    torch.save(sam.state_dict(), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    cfg = dict(type='SAMImageEncoder', arch=ARCH, **SIZES, init_cfg=init_cfg)
    image = torch.randn(2, 3, 42, 42)
    resized = F.interpolate(image, (64, 64), mode='bilinear', antialias=True)
    expected = sam.image_encoder(resized)
    model = MODELS.build(cfg)
    model.init_weights()
    assert_close(model(resized)[0], expected, rtol=0, atol=1e-5)
    teacher = FrozenTeacher(cfg, input_size=(64, 64))
    assert_close(teacher(image), expected, rtol=0, atol=1e-5)

    with pytest.raises(CheckpointError, match=r'rel_pos_h: checkpoint .15, 8., model'):
        MODELS.build(dict(cfg, img_size=128)).init_weights()
    state = {k: v for k, v in sam.state_dict().items() if k.startswith('mask_decoder.')}
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=r'(?s)missing: .*unexpected: mask_dec'):
        model.init_weights()


def test_the_package_s_own_protocol_is_a_config():
    """Longest side, zeros up to the square: as the docstring says, to the last bit."""
    image = np.random.default_rng(0).integers(0, 256, (35, 50, 3), dtype=np.uint8)
    rgb = ResizeLongestSide(64).apply_image(image[..., ::-1])
    expected = official_sam().preprocess(torch.tensor(rgb).permute(2, 0, 1))
    resize = Resize(scale=(64, 64), keep_ratio=True, backend='pillow')
    resized = resize(dict(img=image))['img']
    preprocessor = MODELS.build(
        dict(
            type='SegDataPreProcessor',
            mean=MEAN,
            std=STD,
            bgr_to_rgb=True,
            size=(64, 64),
            test_cfg=dict(size=(64, 64)),
        )
    )
    image = torch.tensor(resized).permute(2, 0, 1)
    for training in (True, False):
        samples = label_samples(torch.zeros(1, *image.shape[1:]))
        data = dict(inputs=[image], data_samples=samples)
        assert torch.equal(preprocessor(data, training)['inputs'][0], expected)
