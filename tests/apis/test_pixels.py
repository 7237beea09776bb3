"""Images in memory, of any library: the same pixels, or an error that says why not."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_model import make_image

from mmseg_ovs.apis import ImageError
from mmseg_ovs.apis.image_sources import is_one_image, list_images
from mmseg_ovs.apis.pixels import as_bgr

BGR = make_image(8, 12)
RGB = np.ascontiguousarray(BGR[..., ::-1])
GREY = RGB[..., 0]
CHANNELS_FIRST = torch.from_numpy(RGB.copy()).permute(2, 0, 1)


@pytest.mark.parametrize(
    ('image', 'color'),
    [
        (BGR, None),
        (RGB, 'rgb'),
        (BGR / 255, None),
        ((RGB / 255).astype(np.float16), 'rgb'),
        (np.dstack([BGR, GREY]), None),
        (Image.fromarray(RGB), None),
        (Image.fromarray(RGB), 'bgr'),  # of images that know their order
        (Image.fromarray(np.dstack([RGB, GREY])), None),
        (CHANNELS_FIRST, None),
        (CHANNELS_FIRST / 255, 'rgb'),
        ((CHANNELS_FIRST / 255).double().requires_grad_(), None),
        (CHANNELS_FIRST.flip(0), 'bgr'),
    ],
)
def test_colours(image, color):
    assert np.array_equal(as_bgr(image, 'x', color), BGR)
    (source,) = list_images(image, color)
    assert np.array_equal(source.content, BGR)


@pytest.mark.parametrize(
    'image',
    [
        *(GREY, GREY[..., None], GREY / 255, Image.fromarray(GREY)),
        *(torch.from_numpy(GREY.copy()), torch.from_numpy(GREY.copy())[None]),
    ],
)
def test_grey(image):
    assert np.array_equal(as_bgr(image, 'x'), np.dstack([GREY] * 3))


def test_photos_are_turned_as_their_files_are(tmp_path):
    image, exif = Image.fromarray(RGB), Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    image.save(tmp_path / 'a.png', exif=exif)
    opened = Image.open(tmp_path / 'a.png')
    assert as_bgr(opened, 'x').shape == (12, 8, 3)
    assert list_images(opened)[0].name == str(tmp_path / 'a.png')


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (CHANNELS_FIRST.numpy(), r'x is an array \(3, 8, 12\); it has to be \(H, W, 3'),
        (torch.from_numpy(RGB), r'x is a tensor \(8, 12, 3\); it has to be \(3, H, W'),
        (np.zeros((2, 2, 2, 3)), r'array \(2, 2, 2, 3\)'),
        (BGR.astype(np.uint16), 'numbers of type uint16; .* uint8, or floats of 0..1'),
        (BGR.astype(np.float32), 'floats of .* to 2.*; they have to be 0..1: divide'),
        ((CHANNELS_FIRST / 255 - 0.5) / 0.2, 'do not normalise'),
        (np.full((2, 2), np.nan), 'floats of nan to nan'),
        (np.zeros((0, 4, 3), np.uint8), 'x has no pixels'),
        (Image.fromarray(GREY.astype(np.uint16)), 'more than 8 bits'),
        (3, 'x is int; it has to be a path, URL, PIL image, array or tensor'),
    ],
)
def test_what_is_no_image(image, message):
    with pytest.raises(ImageError, match=message):
        as_bgr(image, 'x')


def test_a_damaged_file_and_an_unknown_order(tmp_path):
    Image.fromarray(np.kron(RGB, np.ones((20, 20, 1), np.uint8))).save(
        tmp_path / 'a.jpg'
    )
    content = (tmp_path / 'a.jpg').read_bytes()
    (tmp_path / 'a.jpg').write_bytes(content[: len(content) // 2])
    with pytest.raises(ImageError, match=r'Image 1 cannot be read \(.*truncated'):
        list_images([BGR, Image.open(tmp_path / 'a.jpg')])
    with pytest.raises(ImageError, match="color has to be 'bgr' or 'rgb', not 'BGR'"):
        as_bgr(BGR, 'x', 'BGR')


def test_what_is_one_image(tmp_path):
    batch = torch.stack([CHANNELS_FIRST] * 2)
    assert len(list_images(batch)) == 2
    for one in ('a.jpg', tmp_path / 'a.jpg', 'https://host/a[1].jpg', BGR, batch[0]):
        assert is_one_image(one)
    for several in (tmp_path, '*.jpg', ['a.jpg'], [BGR], batch, []):
        assert not is_one_image(several)
