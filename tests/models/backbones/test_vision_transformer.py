"""The ViT trunk as a backbone of MMSegmentation."""

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ovs.models.backbones import DINOv2, DINOv3
from mmseg_ovs.models.utils import CheckpointError
from mmseg_ovs.structures.visual_features import VisualFeatures

ARCH = dict(embed_dims=24, depth=3, num_heads=2, feed_forward='mlp')
BUILDERS = {
    'dinov2': lambda **kw: DINOv2(ARCH, img_size=56, **kw),
    'dinov2-reg': lambda **kw: DINOv2(ARCH, 4, img_size=56, **kw),
    'dinov3': lambda **kw: DINOv3(ARCH, **kw),
}
each_family = pytest.mark.parametrize('build', BUILDERS.values(), ids=BUILDERS)


def gradients(model):
    return {
        k: p.grad.clone() for k, p in model.named_parameters() if p.grad is not None
    }


@each_family
def test_returns_a_tuple_of_maps(build):
    model = build(out_indices=(0, -1))
    maps = model(torch.randn(2, 3, 3 * model.patch_size, 5 * model.patch_size))
    assert type(maps) is tuple
    assert [m.shape for m in maps] == [(2, 24, 3, 5)] * 2
    assert not torch.equal(*maps)


@each_family
@torch.no_grad()
def test_extra_outputs_do_not_change_the_maps(build):
    model = build().eval()
    image = torch.randn(2, 3, 4 * model.patch_size, 4 * model.patch_size)
    (plain,) = model(image)
    model.extra_outputs = ('cls_token', 'registers', 'cls_attention')
    features = model(image)
    assert isinstance(features, VisualFeatures)
    assert torch.equal(features.maps[0], plain)
    assert features.cls_token.shape == (2, 24)
    assert features.registers.shape == (2, model.num_registers, 24)
    assert features.cls_attention.shape == (2, 2, 4, 4)


@each_family
@torch.no_grad()
def test_class_attention_is_the_products_of_query_and_keys(build):
    """Against the raw output of the last block's qkv layer, as Talk2DINO reads it."""
    model = build(extra_outputs=('cls_attention',)).eval()
    seen = {}
    model.blocks[-1].attn.qkv.register_forward_hook(
        lambda module, args, output: seen.update(qkv=output)
    )
    features = model(torch.randn(1, 3, 2 * model.patch_size, 3 * model.patch_size))
    query, key, _ = seen['qkv'][0].chunk(3, dim=-1)
    for head in range(2):
        part = slice(12 * head, 12 * head + 12)
        expected = key[model.num_prefix_tokens :, part] @ query[0, part]
        torch.testing.assert_close(
            features.cls_attention[0, head].flatten(), expected, rtol=1e-5, atol=1e-6
        )


@torch.no_grad()
def test_fit_to_patches():
    image = torch.randn(1, 3, 50, 70)
    grids = {}
    for fit in ('pad', 'resize', 'crop'):
        grids[fit] = DINOv3(ARCH, fit=fit)(image)[0].shape[-2:]
    assert grids == dict(pad=(4, 5), resize=(4, 5), crop=(3, 4))
    model = DINOv3(ARCH, fit='crop').eval()
    assert torch.equal(model(image)[0], model(image[..., :48, :64])[0])
    with pytest.raises(ValueError, match='50 x 70 are no multiples of the patch'):
        DINOv3(ARCH, fit='error')(image)


def test_image_smaller_than_a_patch():
    image = torch.randn(1, 3, 9, 40)
    assert DINOv3(ARCH)(image)[0].shape[-2:] == (1, 3)
    with pytest.raises(ValueError, match='9 x 40 has a side smaller than one patch'):
        DINOv3(ARCH, fit='crop')(image)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(out_indices=(3,)), 'out_indices'),
        (dict(out_indices=()), 'out_indices'),
        (dict(extra_outputs=('cls',)), "Unknown extra_outputs \\['cls'\\]"),
        (dict(fit='stretch'), 'fit has to be one of'),
        (dict(frozen_stages=4), 'frozen_stages'),
        (dict(frozen_stages=1, trainable_blocks=1), 'not both'),
        (dict(arch='enormous'), "Unknown arch 'enormous'"),
        (dict(arch=dict(depth=1)), 'custom arch needs'),
    ],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        DINOv3(**{'arch': ARCH, **kwargs})


@each_family
@pytest.mark.parametrize(
    'kwargs, trainable_blocks, norm',
    [
        (dict(), {0, 1, 2}, True),
        (dict(frozen_stages=0), {0, 1, 2}, True),
        (dict(frozen_stages=2), {2}, True),
        (dict(trainable_blocks=1), {2}, True),
        (dict(trainable_blocks=0), set(), False),
    ],
)
def test_freezing(build, kwargs, trainable_blocks, norm):
    model = build(**kwargs).train()
    trainable = {k for k, p in model.named_parameters() if p.requires_grad}
    blocks = {int(k.split('.')[1]) for k in trainable if k.startswith('blocks.')}
    embeddings = {'cls_token', 'pos_embed', 'patch_embed.proj.weight'}
    assert blocks == trainable_blocks
    assert ('norm.weight' in trainable) is norm
    assert bool(embeddings & trainable) is (kwargs == {})
    assert [b.training for b in model.blocks] == [i in blocks for i in range(3)]


@each_family
def test_gradient_checkpointing_changes_nothing(build):
    image = torch.randn(1, 3, 32, 48)
    results = []
    for with_cp in (False, True):
        torch.manual_seed(0)
        model = build(with_cp=with_cp).train()
        model(image)[0].square().sum().backward()
        results.append(gradients(model))
    plain, checkpointed = results
    assert plain.keys() == checkpointed.keys()
    for key in plain:
        torch.testing.assert_close(plain[key], checkpointed[key])


def test_drop_path_acts_in_training_only():
    model = DINOv3(ARCH, drop_path_rate=0.9, layer_scale=None)
    image = torch.randn(4, 3, 32, 32)
    model.eval()
    assert torch.equal(model(image)[0], model(image)[0])
    model.train()
    assert not torch.equal(model(image)[0], model(image)[0])


def test_key_bias_of_dinov3_never_acts():
    model = DINOv3(ARCH).eval()
    image = torch.randn(1, 3, 32, 32)
    (before,) = model(image)
    for block in model.blocks:
        block.attn.qkv.bias.data[24:48] = 7
    assert torch.equal(before, model(image)[0])
    model(image)[0].sum().backward()
    assert model.blocks[0].attn.qkv.bias.grad[24:48].abs().max() == 0


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


def segmentor(backbone: dict, head: dict) -> torch.nn.Module:
    preprocessor = dict(type='SegDataPreProcessor', size=(64, 64))
    return MODELS.build(
        dict(
            type='EncoderDecoder',
            data_preprocessor=MODELS.build(preprocessor),
            backbone=backbone,
            decode_head=head,
            test_cfg=dict(mode='whole'),
        )
    )


@pytest.mark.parametrize('family', ['DINOv2', 'DINOv3'])
def test_trains_under_a_stock_head(family):
    """mmseg's UPerHead learns two halves of an image from our maps."""
    model = segmentor(
        dict(type=family, arch=ARCH, out_indices=(0, 1, 2, 2), layer_scale=None),
        dict(
            type='UPerHead',
            in_channels=[24] * 4,
            in_index=[0, 1, 2, 3],
            channels=16,
            num_classes=3,
            norm_cfg=dict(type='BN'),
            pool_scales=(1, 2),
        ),
    )
    model.init_weights()
    model.train()
    label = torch.zeros(1, 64, 64, dtype=torch.long)
    label[..., 32:] = 1
    image = torch.where(label.bool(), 2.0, -2.0).expand(3, -1, -1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    history = []
    for _ in range(20):
        samples = [SegDataSample(gt_sem_seg=PixelData(data=label)) for _ in range(2)]
        data = model.data_preprocessor(
            dict(inputs=[image, image], data_samples=samples), training=True
        )
        losses = model(**data, mode='loss')
        loss = losses['decode.loss_ce']
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0], history


def test_pretrained_through_init_cfg(tmp_path):
    source = DINOv3(ARCH)
    path = tmp_path / 'dinov3.pth'
    state = {**source.state_dict(), 'mask_token': torch.zeros(1, 24)}
    torch.save(dict(model=state), path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path))
    target = DINOv3(ARCH, init_cfg=init_cfg)
    target.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[key])
    with pytest.raises(CheckpointError, match=r'(?s)does not fit DINOv2.*unexpected'):
        DINOv2(ARCH, img_size=64, init_cfg=init_cfg).init_weights()


@each_family
@torch.no_grad()
def test_final_norm_is_chosen_by_output(build):
    image = torch.randn(1, 3, 4 * 16, 4 * 16)
    model = build(out_indices=(0, 2, 2), final_norm=(False, False, True), fit='crop')
    model.eval()
    first, raw, normed = model(image)
    model.final_norm = False
    assert torch.equal(model(image)[0], first)
    assert torch.equal(model(image)[1], raw)
    model.final_norm = True
    assert torch.equal(model(image)[1], normed)
    assert not torch.equal(raw, normed)


def test_final_norm_needs_a_value_for_each_output():
    with pytest.raises(ValueError, match='2 values for 1 out_indices'):
        DINOv2(ARCH, img_size=56, final_norm=(True, False))
