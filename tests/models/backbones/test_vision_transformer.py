"""The ViT trunk of DINOv2, DINOv3 and CLIP: tokens, attention, norms, sizes."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.backbones import DINOv2, DINOv3
from mmseg_ovs.models.utils import CheckpointError, load_pretrained
from mmseg_ovs.structures import VisualFeatures
from tests.models.module_tester import check_same_weights
from tests.tiny import BACKBONES, VIT, WIDTH, make

FAMILIES = ('DINOv2', 'DINOv2 with registers', 'DINOv3')
each_family = pytest.mark.parametrize('family', FAMILIES)


def images(model, rows=3, columns=4):
    return torch.randn(2, 3, model.patch_size * rows, model.patch_size * columns)


@each_family
@torch.no_grad()
def test_extra_outputs_do_not_change_the_maps(family):
    model = make(BACKBONES[family])
    image = images(model)
    (plain,) = model(image)
    model.extra_outputs = ('cls_token', 'registers', 'cls_attention')
    features = model(image)
    assert isinstance(features, VisualFeatures)
    assert torch.equal(features.maps[0], plain)
    assert features.cls_token.shape == (2, WIDTH)
    assert features.registers.shape == (2, model.num_registers, WIDTH)
    assert features.cls_attention.shape == (2, 2, 3, 4)


@each_family
@torch.no_grad()
def test_class_attention_is_the_products_of_query_and_keys(family):
    """Against the raw output of the last block's qkv layer, as Talk2DINO reads it."""
    model = make(BACKBONES[family], extra_outputs=('cls_attention',))
    seen = {}
    model.blocks[-1].attn.qkv.register_forward_hook(
        lambda module, args, output: seen.update(qkv=output)
    )
    features = model(images(model))
    query, key, _ = seen['qkv'][0].chunk(3, dim=-1)
    for head, part in enumerate((slice(0, 8), slice(8, 16))):
        expected = key[model.num_prefix_tokens :, part] @ query[0, part]
        torch.testing.assert_close(
            features.cls_attention[0, head].flatten(), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize('family', [*FAMILIES, 'CLIP', 'dense CLIP'])
@torch.no_grad()
def test_second_norm_of_a_block_as_a_map(family):
    """What the module gives there; the other outputs do not change."""
    plain = make(BACKBONES[family], out_indices=(0, 1), extra_outputs=('cls_token',))
    model = make(
        BACKBONES[family],
        out_indices=(0, 1, 0, 1),
        final_norm=('norm2', 'norm2', True, True),
        extra_outputs=('cls_token',),
    )
    seen = []
    for block in model.blocks:
        block.norm2.register_forward_hook(lambda *args: seen.append(args[2]))
    image = images(model)
    *normed, first, last = model(image).maps
    for found, tokens in zip(normed, seen, strict=True):
        patches = tokens[:, model.num_prefix_tokens :].transpose(1, 2)
        assert torch.equal(found.flatten(2), patches) and found.shape[2:] == (3, 4)
    expected = plain(image)
    assert torch.equal(first, expected.maps[0])
    assert torch.equal(last, expected.maps[1])
    assert torch.equal(model(image).cls_token, expected.cls_token)


def test_second_norm_with_recomputed_activations():
    gradients = []
    for with_cp in (False, True):
        model = make(
            BACKBONES['DINOv3'],
            with_cp=with_cp,
            out_indices=(0, 1),
            final_norm=('norm2', True),
        ).train()
        torch.manual_seed(1)
        for m in model(images(model)):
            m.square().sum().backward(retain_graph=True)
        gradients.append([p.grad for p in model.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(out_indices=()), 'out_indices'),
        (dict(extra_outputs=('cls',)), "Unknown extra_outputs \\['cls'\\]"),
        (dict(arch='enormous'), "Unknown arch 'enormous'"),
        (dict(arch=dict(depth=1)), 'custom arch needs'),
        (dict(final_norm=(True, False)), '2 values for 1 out_indices'),
        (dict(final_norm=('norm1',)), r"final_norm takes True, .*not \('norm1',\)"),
    ],
)
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        make(BACKBONES['DINOv3'], **wrong)


@pytest.mark.parametrize('family', [*FAMILIES, 'CLIP'])
def test_a_trunk_that_is_not_trained(family):
    model = make(BACKBONES[family], trainable=False).train()
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


def test_drop_path_acts_in_training_only():
    model = make(BACKBONES['DINOv3'], drop_path_rate=0.5)
    image = images(model).repeat(8, 1, 1, 1)
    assert torch.equal(model(image)[0], model(image)[0])
    model.train()
    assert not torch.equal(model(image)[0], model(image)[0])


def test_key_bias_of_dinov3_never_acts():
    model = make(BACKBONES['DINOv3'])
    image, keys = images(model), slice(WIDTH, 2 * WIDTH)
    (before,) = model(image)
    for block in model.blocks:
        block.attn.qkv.bias.data[keys] = 7
    assert torch.equal(before, model(image)[0])
    model(image)[0].sum().backward()
    assert model.blocks[0].attn.qkv.bias.grad[keys].abs().max() == 0


# Numbers of the published files less what no output depends on (mask token, DINOv3's
# bias masks and local class norm).
PUBLISHED = {
    ('DINOv2', 'small', 0): 22_056_576 - 384,
    ('DINOv2', 'base', 4): 86_583_552 - 768,
    ('DINOv2', 'large', 4): 304_372_736 - 1024,
    ('DINOv2', 'giant', 4): 1_136_486_912 - 1536,
    ('DINOv3', 'small', 4): 21_614_992 - 384 - 12 * 3 * 384,
    ('DINOv3', 'small_plus', 4): 28_711_312 - 384 - 12 * 3 * 384,
    ('DINOv3', 'base', 4): 85_697_296 - 768 - 12 * 3 * 768,
    ('DINOv3', 'large', 4): 303_227_920 - 1024 - 24 * 3 * 1024,
    ('DINOv3', 'large_plus', 4): 403_989_520 - 1024 - 24 * 3 * 1024,
    ('DINOv3', 'huge_plus', 4): 840_756_496 - 1280 - 32 * 3 * 1280,
    ('DINOv3', '7b', 4): 6_716_043_296 - 4096 - 2 * 4096,
}


@pytest.mark.parametrize('family, arch, registers', PUBLISHED)
def test_sizes_of_published_models(family, arch, registers):
    with torch.device('meta'):
        model = MODELS.build(dict(type=family, arch=arch, num_registers=registers))
    numbers = sum(v.numel() for v in model.state_dict().values())
    assert numbers == PUBLISHED[family, arch, registers]


def test_mask_token_is_left_out():
    source = DINOv3(VIT)
    state = {**source.state_dict(), 'mask_token': torch.zeros(1, WIDTH)}
    target = DINOv3(VIT)
    load_pretrained(target, state)
    check_same_weights(target, source)
    with pytest.raises(CheckpointError, match=r'(?s)does not fit DINOv2.*unexpected'):
        load_pretrained(DINOv2(VIT, img_size=64), state)


@each_family
@torch.no_grad()
def test_final_norm_is_chosen_by_output(family):
    flags = (False, False, True)
    model = make(BACKBONES[family], out_indices=(0, 1, 1), final_norm=flags)
    image = images(model)
    first, raw, normed = model(image)
    model.final_norm = False
    assert torch.equal(model(image)[0], first)
    assert torch.equal(model(image)[1], raw)
    model.final_norm = True
    assert torch.equal(model(image)[1], normed)
    assert not torch.equal(raw, normed)


@torch.no_grad()
def test_maps_of_what_the_attention_compares():
    """Heads side by side, as the projection of the block's own attention gives them."""
    kinds = ('query', 'key', 'value')
    for name in ('DINOv2 with registers', 'DINOv3', 'CLIP'):
        cfg = dict(BACKBONES[name], out_indices=(-1, -1, -1, -1))
        model = make(cfg, final_norm=(*kinds, True))
        seen = []
        model.blocks[-1].attn.qkv.register_forward_hook(
            lambda m, x, out, seen=seen: seen.append(out)
        )
        *maps, last = model(torch.randn(2, 3, 56, 56))
        patches = seen[-1][:, model.num_prefix_tokens :].transpose(1, 2)
        expected = patches.unflatten(2, maps[0].shape[-2:]).chunk(3, dim=1)
        for found, wanted in zip(maps, expected, strict=True):
            torch.testing.assert_close(found, wanted)
        plain = make(dict(BACKBONES[name], out_indices=-1))
        assert last.shape == plain(torch.randn(2, 3, 56, 56))[0].shape
