"""AnyUp against its plain dense definition, and under stock parts of mmseg."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.layers import FeatureUnification, PixelEncoder, row_bands
from mmseg_ovs.models.layers.windowed_attention import lay_tiles
from mmseg_ovs.models.necks import AnyUp
from mmseg_ovs.models.utils import CheckpointError, load_pretrained
from mmseg_ovs.structures import VisualFeatures
from tests.models.module_tester import check_gradients
from tests.tiny import NECKS, STOCK_BACKBONES, make, shake
from tests.tool_loader import load_tool

SMALL = dict(qk_dim=16, num_heads=2, kernel_size_lfu=3)


plain_anyup = load_tool('tools/speed/plain_anyup.py')


@pytest.fixture
def neck():
    torch.manual_seed(5)
    return shake(AnyUp(**SMALL)).eval()


def pair(dtype=torch.float64, **options):
    """The plain network and ours with its weights."""
    plain = shake(plain_anyup.PlainAnyUp(16, 2, 3, options.get('window_ratio', 0.1)))
    neck = AnyUp(**SMALL, **options)
    load_pretrained(neck, plain.state_dict())
    return plain.to(dtype), neck.to(dtype)


def close(ours, expected):
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def doubles(*shape):
    """In double precision rounding cannot hide a difference."""
    return torch.randn(*shape, dtype=torch.float64)


SIZES = {
    'refined': ((48, 40), (6, 5), (6, 5)),
    'pixels': ((48, 40), (6, 5), (48, 40)),
    'indivisible': ((37, 53), (5, 7), (17, 31)),
    'overlapping pools': ((35, 42), (10, 12), (14, 21)),
    'coarser than the map': ((40, 40), (12, 12), (5, 4)),
    'finer than the image': ((16, 20), (4, 5), (24, 30)),
    'large cells': ((64, 64), (2, 2), (64, 64)),
}


@pytest.mark.parametrize('ratio', [0.0, 0.1, 0.3])
@pytest.mark.parametrize('sizes', SIZES.values(), ids=SIZES)
def test_dense_definition(sizes, ratio):
    pixels, cells, size = sizes
    plain, neck = pair(window_ratio=ratio)
    image, features = doubles(2, 3, *pixels), doubles(2, 21, *cells)
    with torch.no_grad():
        expected = plain(image, features, size)
        in_bands = neck.upsample(image, features, size)
    with_gradient = neck.upsample(image, features, size)  # the encoders' other form
    for ours in (in_bands, with_gradient):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize('channels', [8, 21, 32])
def test_order_of_channels_and_filters(channels):
    """Also where the filters do not divide the channels, or outnumber them."""
    layer, plain = FeatureUnification(16, 5), plain_anyup.PlainUnification(16, 5)
    layer.load_state_dict(plain.state_dict())
    features = torch.randn(2, channels, 6, 7)
    with torch.no_grad():
        close(layer(features), plain(features))


@torch.no_grad()
def test_chunks_change_nothing(neck):
    image, features = torch.randn(1, 3, 37, 29), torch.randn(1, 12, 5, 4)
    results = []
    for neck.chunk_pixels in (1, 100, 10**6):
        results.append(neck.upsample(image, features, (37, 29)))
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('trainable', [False, True])
def test_gradients(trainable):
    plain, neck = pair(trainable=trainable)
    image, features = doubles(1, 3, 24, 32), doubles(1, 12, 3, 4).requires_grad_()
    weight = doubles(1, 12, 24, 32)
    gradients = []
    for module, run in ((neck, neck.upsample), (plain, plain)):
        features.grad = None
        (run(image, features, (24, 32)) * weight).sum().backward()
        own = {name: p.grad for name, p in module.named_parameters()}
        gradients.append(dict(own, features=features.grad))
    ours = {name: grad for name, grad in gradients[0].items() if grad is not None}
    expected = neck.convert_state_dict(gradients[1])
    assert len(ours) == 1 + trainable * len(list(neck.parameters()))
    for name, gradient in ours.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(gradient, expected[name], rtol=1e-7, atol=1e-9)


@torch.no_grad()
def test_bands_keep_the_statistics_of_a_distant_mean():
    """Where sums of squares in single precision would have lost the variance."""
    encoder = shake(PixelEncoder(torch.nn.Conv2d(8, 8, 1), 8))
    x = 1000 + torch.randn(1, 8, 30, 20)
    _, first, second = encoder
    expected = second.double()(first.double()(x.double()))
    encoder.float()
    image = x[0].permute(1, 2, 0).contiguous()
    encoder.run_(image, torch.empty_like(image), row_bands(30, 20, 64))
    ours = image.permute(2, 0, 1)[None]
    assert (ours - expected).abs().max() < 2e-3  # of 1000: one or two last places
    plain = second(first(x))
    assert (ours - expected).abs().max() <= 2 * (plain - expected).abs().max() + 1e-4


@pytest.mark.parametrize('queries, keys', [(384, 24), (448, 32), (7, 13), (100, 3)])
def test_tiles_cover_an_axis_once(queries, keys):
    rows, tiles = lay_tiles((5, queries), (5, keys), 0.1)
    assert len(rows) == 1
    covered = [i for t in tiles for i in range(t.queries.start, t.queries.stop)]
    assert covered == list(range(queries))
    assert all(tile.seen.any(dim=1).all() for tile in tiles)
    if queries == 384:  # seven cells instead of 24
        assert max(tile.keys.stop - tile.keys.start for tile in tiles) == 7


@torch.no_grad()
def test_only_the_named_map_changes(neck):
    image = torch.randn(1, 3, 32, 32)
    maps = torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4)
    neck.output_size, neck.in_index = 2, 0
    token = torch.randn(1, 6)
    out = neck(VisualFeatures(maps, cls_token=token, image=image))
    assert out.maps[0].shape == (1, 4, 16, 16)
    assert out.maps[1] is maps[1] and out.cls_token is token
    assert torch.equal(out.maps[0], neck.upsample(image, maps[0], (16, 16)))


@pytest.mark.parametrize(
    'output_size, expected',
    [('image', (33, 50)), (1, (3, 5)), (2.5, (8, 12)), ([7, 9], (7, 9))],
)
@torch.no_grad()
def test_output_sizes(output_size, expected):
    neck = AnyUp(output_size, **SMALL)
    maps, image = (torch.randn(1, 4, 3, 5),), torch.randn(1, 3, 33, 50)
    out = neck(VisualFeatures(maps, image=image))
    assert out.maps[0].shape[-2:] == expected


@torch.no_grad()
def test_images_normalised_for_another_network(neck):
    """The same image, whatever the data preprocessor subtracted."""
    torch.manual_seed(5)
    mean, std = [122.77, 116.75, 104.09], [68.5, 66.63, 70.32]
    other = AnyUp(mean=mean, std=std, **SMALL)
    other.load_state_dict(neck.state_dict())
    image, features = 255 * torch.rand(1, 3, 24, 24), torch.randn(1, 4, 3, 3)

    def normalized(mean, std):
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (mean, std))
        return (image - mean) / std

    imagenet = normalized([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    expected = neck.upsample(imagenet, features, (6, 6))
    close(other.upsample(normalized(mean, std), features, (6, 6)), expected)
    wrong = neck.upsample(normalized(mean, std), features, (6, 6))
    assert (wrong - expected).abs().max() > 1e-3


@pytest.mark.parametrize(
    ('name', 'channels'),
    [('ResNet', [8, 16, 32, 64]), ('MixVisionTransformer', [8, 8, 16, 16])],
)
def test_after_any_backbone(name, channels):
    two = [dict(NECKS['AnyUp'], in_index=i, output_size=(24, 32)) for i in (3, 2)]
    cfg = dict(type='BackboneWithNeck', backbone=STOCK_BACKBONES[name], neck=two)
    model = make(cfg)
    maps = model(torch.randn(2, 3, 96, 128))
    assert [m.shape[1] for m in maps] == channels
    sizes = [(24, 32), (12, 16), (24, 32), (24, 32)]
    assert [m.shape[-2:] for m in maps] == sizes
    check_gradients(model.neck, maps[2:])


@torch.no_grad()
def test_types(neck):
    image, features = torch.randn(1, 3, 32, 32), torch.randn(1, 8, 4, 4)
    expected = neck.upsample(image, features, (16, 16))
    with torch.autocast('cpu', torch.bfloat16):
        assert neck.upsample(image, features, (16, 16)).dtype == torch.float32
    halved = neck.bfloat16().upsample(image, features.bfloat16(), (16, 16))
    assert halved.dtype == torch.bfloat16
    assert (halved - expected).abs().mean() < 0.1


def test_published_layout():
    plain, neck = pair(torch.float32)
    state = plain.state_dict()
    del state['cross_decode.cross_attn.attention.in_proj_weight']
    with pytest.raises(CheckpointError, match='missing: cross_decode'):
        load_pretrained(neck, state)


def test_published_keys():
    """Names, shapes and size of the two published files."""
    with torch.device('meta'):
        plain, neck = plain_anyup.PlainAnyUp(), AnyUp()
    state, ours = plain.state_dict(), neck.state_dict()
    assert neck.convert_state_dict(state).keys() == ours.keys()
    assert len(state) == 73
    assert sum(v.numel() for v in state.values()) == 878_080
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert shapes['image_encoder.0.weight'] == (128, 3, 1, 1)
    assert shapes['key_features_encoder.0.basis'] == (128, 1, 5, 5)
    assert shapes['aggregation.0.weight'] == (128, 256, 3, 3)
    assert shapes['cross_decode.conv2d.weight'] == (128, 128, 3, 3)
    assert shapes['query_encoder.2.block.5.weight'] == (128, 128, 1, 1)
    assert shapes['rope.freqs'] == (2, 128)
    assert not any('shortcut' in key for key in shapes)


def test_images_are_missing(neck):
    maps = (torch.randn(1, 8, 4, 4),)
    for features in (maps, VisualFeatures(maps)):
        with pytest.raises(ValueError, match='BackboneWithNeck'):
            neck(features)


def test_inputs_that_do_not_belong_together(neck):
    image = torch.randn(1, 3, 16, 16)
    with pytest.raises(ValueError, match='finer than the image'):
        neck.upsample(image, torch.randn(1, 8, 4, 17), (16, 16))
    with pytest.raises(ValueError, match='1 image.s. but 2 feature map'):
        neck.upsample(image, torch.randn(2, 8, 4, 4), (16, 16))
    with pytest.raises(ValueError, match='at least 2 x 2'):
        neck.upsample(image, torch.randn(1, 8, 1, 4), (16, 16))
    neck.in_index = 1
    with pytest.raises(ValueError, match='in_index is 1'):
        neck(VisualFeatures((torch.randn(1, 8, 4, 4),), image=image))


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(output_size='pixels'), 'output_size'),
        (dict(output_size=0), 'output_size'),
        (dict(output_size=(8, 0)), 'output_size'),
        (dict(output_size=True), 'output_size'),
        (dict(output_size=(8, 8, 8)), 'output_size'),
        (dict(qk_dim=20), 'multiple of 8'),
        (dict(lfu_dim=4), 'multiple of 8'),
        (dict(num_heads=3), '3 heads'),
        (dict(kernel_size=2), 'kernel_size has to be odd'),
        (dict(kernel_size_lfu=4), 'kernel_size_lfu has to be odd'),
        (dict(window_ratio=-0.1), 'window_ratio'),
    ],
)
def test_arguments_out_of_range(wrong, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type='AnyUp', **{**SMALL, **wrong}))
