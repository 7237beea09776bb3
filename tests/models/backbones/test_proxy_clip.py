"""CLIP with the attention of a frozen second backbone."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS

from mmseg_ovs.models.backbones import ProxyCLIPImageEncoder
from mmseg_ovs.models.backbones.proxy_clip import proxy_attention
from mmseg_ovs.models.utils import CheckpointError, load_pretrained, require_weights
from tests.tiny import BACKBONES, NECKS, WIDTH, build, make, proxyclip, shake

MODEL = BACKBONES['CLIP']['model']


@MODELS.register_module()
class NoMap(BaseModule):
    """Returns tokens, as backbones of other libraries do."""

    def forward(self, image):
        return (image.flatten(2),)


def encoder(proxy='DINOv3', **kwargs):
    proxy = BACKBONES[proxy] if isinstance(proxy, str) else proxy
    torch.manual_seed(0)
    return shake(ProxyCLIPImageEncoder(MODEL, proxy=proxy, **kwargs)).eval()


def image(height=48, width=40, batch=2):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, 3, height, width, generator=generator)


@torch.no_grad()
def test_attention_by_its_definition():
    features = torch.randn(2, 6, 3, 4)
    weights = proxy_attention(features, beta=1.2, gamma=3.0)
    for one, found in zip(features, weights, strict=True):
        unit = F.normalize(one.flatten(1), dim=0)
        logits = unit.T @ unit
        logits = (logits - 1.2 * logits.mean()) * 3
        expected = torch.where(logits < 0, 0, logits.exp())
        torch.testing.assert_close(found, expected / expected.sum(1, keepdim=True))
    assert (weights == 0).any() and (weights.diagonal(dim1=1, dim2=2) > 0).all()


@torch.no_grad()
def test_places_that_are_all_alike_attend_to_themselves():
    """A window of one colour."""
    weights = proxy_attention(torch.ones(1, 6, 3, 4), beta=1.2, gamma=3.0)
    assert torch.equal(weights[0], torch.eye(12))


@pytest.mark.parametrize(
    ('proxy', 'grid'),
    [('DINOv3', (6, 5)), ('SAM', (6, 5)), ('ResNet', (12, 10)), ('DINOv2', (3, 3))],
)
@torch.no_grad()
def test_any_backbone_on_its_own_grid(proxy, grid):
    if proxy == 'ResNet':
        cfg = dict(type='ResNetV1c', depth=18, base_channels=8, stem_channels=8)
        cfg = dict(cfg, out_indices=(0,))
    else:
        cfg = BACKBONES[proxy]
    if proxy == 'DINOv2':  # its patch of 14 does not divide the sides
        cfg = dict(cfg, fit='resize')
    (found,) = encoder(cfg, fit='crop')(image())
    expected = tuple(-(-s // 14) for s in (48, 40)) if proxy == 'DINOv2' else grid
    assert found.shape == (2, WIDTH, *expected)
    assert found.isfinite().all()


@torch.no_grad()
def test_images_of_a_batch_do_not_change_each_other():
    model = encoder()
    together = model(image())[0]
    for i in range(2):
        alone = model(image()[i : i + 1])[0][0]
        torch.testing.assert_close(alone, together[i])


@torch.no_grad()
def test_windows_that_are_not_square():
    """A turned image gives the turned map, if no position tells places apart."""
    model = encoder(dict(type='ResNetV1c', depth=18, out_indices=(1,)))
    model.pos_embed.zero_()
    proxy = model.proxy.network('cpu')
    for module in proxy.modules():  # kernels that a turn leaves as they are
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_((module.weight + module.weight.transpose(2, 3)) / 2)
    kernel = model.patch_embed.proj.weight
    kernel.copy_((kernel + kernel.transpose(2, 3)) / 2)
    (found,) = model(image(64, 40))
    (turned,) = model(image(64, 40).transpose(2, 3))
    torch.testing.assert_close(turned, found.transpose(2, 3), rtol=1e-4, atol=1e-5)
    assert found.shape[-2:] == (8, 5)


@torch.no_grad()
def test_the_proxy_sees_the_image_renormalised():
    model = encoder(proxy_mean=[120, 110, 100], proxy_std=[50, 60, 70])
    seen = []
    model.proxy.network('cpu').register_forward_pre_hook(lambda m, x: seen.append(x[0]))
    pixels = torch.randint(0, 256, (1, 3, 48, 40)).float()
    mean = torch.tensor([122.7709383, 116.7460125, 104.09373615]).view(3, 1, 1)
    std = torch.tensor([68.5005327, 66.6321579, 70.3231630]).view(3, 1, 1)
    model((pixels - mean) / std)
    wanted = torch.tensor([120.0, 110, 100]).view(3, 1, 1)
    expected = (pixels - wanted) / torch.tensor([50.0, 60, 70]).view(3, 1, 1)
    torch.testing.assert_close(seen[0], expected, rtol=1e-4, atol=1e-4)
    small = encoder(proxy_input_size=(16, 24))
    assert small(image())[0].shape[-2:] == (2, 3)


def test_the_proxy_is_in_no_checkpoint(tmp_path):
    model, plain = encoder(), make(BACKBONES['CLIP'])
    model(image())
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert not any('proxy' in name for name, _ in model.named_parameters())
    load_pretrained(model, plain.state_dict())


def test_weights_of_the_proxy_load_before_the_first_image(tmp_path):
    proxy = make(BACKBONES['DINOv3'])
    torch.save(proxy.state_dict(), tmp_path / 'proxy.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'proxy.pth'))
    model = encoder(dict(BACKBONES['DINOv3'], init_cfg=cfg))
    model.init_weights()
    built = model.proxy._network
    assert built is not None
    for name, value in proxy.state_dict().items():
        assert torch.equal(built.state_dict()[name], value)


class Model(BaseModule):
    def __init__(self, proxy):
        super().__init__()
        self.backbone = encoder(proxy)


def test_a_proxy_of_random_weights_is_refused(warned, tmp_path):
    with pytest.raises(CheckpointError, match='no weights for backbone.proxy. Give'):
        require_weights(Model(BACKBONES['DINOv3']), loaded=True)
    require_weights(Model(BACKBONES['DINOv3']), loaded=True, allow_random=True)
    (text,) = warned
    assert 'names no weights for backbone.proxy: they are random' in text
    require_weights(Model(dict(type='AverageColours')), loaded=True)  # it has none
    proxy = make(BACKBONES['DINOv3'])
    torch.save(proxy.state_dict(), tmp_path / 'proxy.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'proxy.pth'))
    whole = dict(BACKBONES['DINOv3'], init_cfg=cfg)
    require_weights(Model(whole), loaded=True)
    whole['extra_outputs'] = ('cls_token', 'registers')
    part = dict(type='BackboneWithNeck', backbone=whole, neck=NECKS['dino.txt'])
    model = Model(part)
    with pytest.raises(CheckpointError, match='no weights for backbone.proxy.neck'):
        require_weights(model, loaded=True)
    assert not model.backbone.proxy._has_weights


@torch.no_grad()
def test_maps_of_a_proxy_with_other_outputs():
    cfg = BACKBONES['DINOv3']
    plain = encoder(cfg)(image())[0]
    rich = dict(cfg, extra_outputs=('cls_token', 'registers'))
    model = encoder(rich)
    model.proxy.network('cpu').load_state_dict(
        encoder(cfg).proxy.network('cpu').state_dict()
    )
    assert model(image())[0].shape == plain.shape


def test_another_normalisation_than_that_of_the_images(tmp_path):
    backbone = dict(proxyclip()['backbone'], std=[1.0, 1.0, 1.0])
    message = 'data_preprocessor.std is .* takes it for .*1.0.*: give backbone.std'
    with pytest.raises(ValueError, match=message):
        build(proxyclip, tmp_path, backbone=backbone)


@pytest.mark.parametrize(
    ('kwargs', 'error', 'message'),
    [
        (dict(last_block='sclip'), TypeError, 'has no last_block: it returns one map'),
        (dict(out_indices=(0, 1)), TypeError, 'has no out_indices'),
        (dict(extra_outputs=('cls_token',)), TypeError, 'has no extra_outputs'),
        (dict(gamma=-3.0), ValueError, r'gamma has to be positive: -3\.0'),
    ],
)
def test_arguments_of_other_last_blocks(kwargs, error, message):
    with pytest.raises(error, match=message):
        encoder(**kwargs)


@pytest.mark.parametrize(
    ('proxy', 'message'),
    [
        ('DINOv2', r'48 x 40 are no multiples .* \(14\) of the proxy, .* covers? more'),
        (dict(BACKBONES['DINOv2'], fit='crop'), "fit='crop' makes its grid cover less"),
        (dict(type='NoMap'), r'NoMap returns no feature map \(B, C, h, w\)'),
    ],
)
def test_grids_that_do_not_fit(proxy, message):
    with pytest.raises(ValueError, match=message):
        encoder(proxy)(image())
