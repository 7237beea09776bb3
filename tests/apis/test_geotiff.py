"""GeoTIFF in, GeoTIFF out: its place, its bands, its tiles, its errors."""

import json
import sys
import tracemalloc

import numpy as np
import pytest
from PIL import Image
from tiny_model import WORDS, make_image, tiny_config

from mmseg_ovs.apis import (
    GeoTiff,
    GeoTiffError,
    ImageError,
    OpenVocabInferencer,
    Reading,
    segment_geotiff,
)
from mmseg_ovs.apis.geotiff import is_geotiff
from mmseg_ovs.apis.tiles import Box
from mmseg_ovs.predict import main

rasterio = pytest.importorskip('rasterio')

RGB = make_image(120, 150)[..., ::-1]
PLACE = dict(crs='EPSG:32633', transform=(0.5, 0, 4e5, 0, -0.5, 5e6))


def write(path, bands, **options):
    """A GeoTIFF of bands (N, H, W)."""
    bands = np.asarray(bands)
    profile = dict(PLACE, count=len(bands), dtype=bands.dtype.name)
    profile.update(height=bands.shape[1], width=bands.shape[2], driver='GTiff')
    profile.update(options)
    if not isinstance(profile['transform'], rasterio.Affine | None):
        profile['transform'] = rasterio.Affine(*profile['transform'])
    colours = profile.pop('colorinterp', None)
    with rasterio.open(path, 'w', **profile) as file:
        file.write(bands)
        if colours:
            file.colorinterp = [rasterio.enums.ColorInterp[name] for name in colours]
    return path


@pytest.fixture
def photo(tmp_path):
    return write(tmp_path / 'field.tif', np.moveaxis(RGB, -1, 0))


@pytest.fixture(scope='module')
def inferencer(checkpoint):
    return OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')


def segment(inferencer, path, tmp_path, reading=None, words=WORDS, **options):
    """Labels, their profile, and the file itself, closed."""
    vocabulary = inferencer.read_vocabulary(list(words), **options)
    with GeoTiff(path, reading) as source:
        *_, done = segment_geotiff(
            inferencer, source, tmp_path / 'labels.tif', vocabulary, batch_size=2
        )
        assert done == len(source.tiles())
    with rasterio.open(tmp_path / 'labels.tif') as file:
        return file.read(1), file


def read_all(path, reading=None):
    with GeoTiff(path, reading) as source:
        return source.read(Box(0, 0, source.height, source.width))


# --------------------------------------------------------------------- the place
def test_labels_lie_where_the_image_lies(inferencer, photo, tmp_path):
    labels, file = segment(inferencer, photo, tmp_path)
    with rasterio.open(photo) as source:
        assert (file.crs, file.transform) == (source.crs, source.transform)
        assert (file.bounds, file.shape) == (source.bounds, source.shape)
    assert (file.dtypes[0], file.nodata) == ('uint8', 255)
    whole = inferencer(np.ascontiguousarray(RGB[..., ::-1]), WORDS)
    assert np.array_equal(labels, whole.labels)
    with rasterio.open(tmp_path / 'labels.tif') as file:
        colours = [file.colormap(1)[i][:3] for i in range(3)]
        assert np.array_equal(colours, whole.palette)
        assert file.tags(1)['class_2'] == 'sand'


def test_control_points_are_kept(inferencer, tmp_path):
    from rasterio.control import GroundControlPoint

    points = [
        GroundControlPoint(row, column, 10 + column / 100, 50 - row / 100)
        for row, column in ((0, 0), (0, 149), (119, 0), (119, 149))
    ]
    path = write(
        tmp_path / 'a.tif',
        np.moveaxis(RGB, -1, 0),
        crs='EPSG:4326',
        transform=None,
        gcps=points,
    )
    assert is_geotiff(path)
    segment(inferencer, path, tmp_path)
    with rasterio.open(tmp_path / 'labels.tif') as file:
        found, crs = file.gcps
    assert [(p.row, p.col, p.x, p.y) for p in found] == [
        (p.row, p.col, p.x, p.y) for p in points
    ]
    assert crs.to_epsg() == 4326


def test_more_classes_than_8_bits_hold(inferencer, photo, tmp_path):
    words = [f'thing {i}' for i in range(300)]
    labels, file = segment(inferencer, photo, tmp_path, words=words)
    assert (file.dtypes[0], file.nodata) == ('uint16', 65535)
    whole = inferencer(np.ascontiguousarray(RGB[..., ::-1]), words)
    assert np.array_equal(labels, whole.labels)


# --------------------------------------------------------------------- the tiles
def test_each_tile_is_segmented_as_an_image(inferencer, photo, tmp_path):
    reading = Reading(tile=64)
    labels, _ = segment(inferencer, photo, tmp_path, reading)
    with GeoTiff(photo, reading) as source:
        assert len(source.tiles()) == 9
        for tile in source.tiles():
            y, x, height, width = tile.box
            part = RGB[y : y + height, x : x + width, ::-1]
            expected = inferencer(np.ascontiguousarray(part), WORDS).labels[tile.inner]
            y, x, height, width = tile.kept
            found = labels[y : y + height, x : x + width]
            assert (found == expected).mean() > 0.99


def test_memory_does_not_grow_with_the_file(inferencer, tmp_path):
    """Of 6000 x 6000 pixels without data but for one tile: 108 MB as RGB."""
    path = tmp_path / 'large.tif'
    profile = dict(driver='GTiff', height=6000, width=6000, count=3, dtype='uint8')
    place = dict(crs='EPSG:32633', transform=rasterio.Affine(*PLACE['transform']))
    options = dict(nodata=0, compress='deflate', tiled=True, sparse_ok=True)
    with rasterio.open(path, 'w', **profile, **place, **options) as file:
        window = rasterio.windows.Window(3000, 2000, 150, 120)
        file.write(np.moveaxis(RGB, -1, 0).clip(1), window=window)
    tracemalloc.start()
    labels, _ = segment(inferencer, path, tmp_path, Reading(tile=512))
    # The labels that the test reads are 36 MB of it.
    assert tracemalloc.get_traced_memory()[1] < 60e6
    tracemalloc.stop()
    there = np.zeros(labels.shape, bool)
    there[2000:2120, 3000:3150] = True
    assert (labels[~there] == 255).all() and (labels[there] < 3).all()


def test_a_tile_that_fails_leaves_no_file(photo, tmp_path, checkpoint):
    cfg = tiny_config()
    cfg.model.backbone.fit = 'error'  # sides have to be multiples of the patch
    inferencer = OpenVocabInferencer(cfg, checkpoint, 'cpu')
    with pytest.raises(ImageError, match='the tile at column 0, row 0: .*patch size'):
        segment(inferencer, photo, tmp_path, Reading(tile=50))
    assert [path.name for path in tmp_path.iterdir()] == ['field.tif']


# --------------------------------------------------------------------- the bands
def test_bands_are_those_that_the_file_names(tmp_path):
    red, green, blue = np.moveaxis(RGB, -1, 0)
    names = ('undefined', 'blue', 'green', 'red')
    four = write(tmp_path / 'a.tif', [blue * 0, blue, green, red], colorinterp=names)
    assert np.array_equal(read_all(four)[0], RGB)
    grey = write(tmp_path / 'b.tif', [red])
    assert np.array_equal(read_all(grey)[0], np.dstack([red] * 3))
    alpha = write(
        tmp_path / 'c.tif',
        [red, green, blue, np.where(red > 100, 255, 0).astype(np.uint8)],
        colorinterp=('red', 'green', 'blue', 'alpha'),
    )
    pixels, there = read_all(alpha)
    assert np.array_equal(pixels, RGB) and np.array_equal(there, red > 100)


def test_thirteen_bands_have_to_be_named(tmp_path):
    bands = np.random.default_rng(0).integers(0, 4000, (13, 8, 9)).astype(np.uint16)
    path = write(tmp_path / 'sentinel.tif', bands)
    with pytest.raises(GeoTiffError, match='has 13 bands .*--bands 4 3 2 for example'):
        GeoTiff(path)
    with pytest.raises(GeoTiffError, match='has the bands 1 to 13, no 14'):
        GeoTiff(path, Reading(bands=(4, 3, 14)))
    pixels, _ = read_all(path, Reading(bands=(4, 3, 2), limits=(0, 4080)))
    expected = np.moveaxis(bands[[3, 2, 1]], 0, -1) / 16
    assert np.abs(pixels - expected).max() <= 0.5


def test_values_are_stretched_alike_in_all_tiles(tmp_path):
    values = np.arange(100 * 120, dtype=np.float32).reshape(1, 100, 120)
    values[0, 0] = np.nan
    path = write(tmp_path / 'a.tif', values)
    with GeoTiff(path) as source:
        low, high = source.limits
        assert low == pytest.approx(np.nanpercentile(values, 2))
        whole, there = source.read(Box(0, 0, 100, 120))
        part, _ = source.read(Box(40, 50, 8, 9))
    assert np.array_equal(part, whole[40:48, 50:59])
    assert whole.min() == 0 and whole.max() == 255
    assert np.array_equal(there, np.isfinite(values[0]))


def test_a_palette_is_read_as_colours(tmp_path):
    numbers = np.random.default_rng(0).integers(0, 4, (8, 9)).astype(np.uint8)
    colours = np.random.default_rng(1).integers(0, 256, (4, 3)).astype(np.uint8)
    path = write(tmp_path / 'a.tif', numbers[None])
    with rasterio.open(path, 'r+') as file:
        file.write_colormap(1, dict(enumerate(map(tuple, colours.tolist()))))
    assert np.array_equal(read_all(path)[0], colours[numbers])


# ------------------------------------------------------------------ which are meant
def test_what_is_read_in_tiles(tmp_path, photo):
    assert is_geotiff(photo)
    plain = dict(crs=None, transform=None)
    bands = np.moveaxis(RGB, -1, 0)
    assert not is_geotiff(write(tmp_path / 'a.tif', bands, **plain))
    assert is_geotiff(write(tmp_path / 'b.tif', bands.astype(np.float32), **plain))
    assert is_geotiff(write(tmp_path / 'c.tif', bands[[0] * 13], **plain))
    (tmp_path / 'd.tif').write_bytes(b'no image')
    for other in (tmp_path / 'd.tif', 'https://host/a.tif', tmp_path / 'a.jpg'):
        assert not is_geotiff(other)


def test_without_rasterio_a_warning_says_what_is_lost(photo, monkeypatch, warned):
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    assert not is_geotiff(photo)
    (text,) = warned
    assert 'field.tif has a place on the map, which its results will not have' in text
    assert "pip install 'mmseg_ovs[geotiff]'" in text


# --------------------------------------------------------------------- the command
@pytest.fixture
def options(checkpoint, tmp_path):
    tiny_config().dump(tmp_path / 'tiny.py')
    paths = dict(config=tmp_path / 'tiny.py', checkpoint=checkpoint)
    return [f'--{key}={path}' for key, path in paths.items()]


def test_the_command(photo, options, tmp_path, capsys, inferencer):
    out = tmp_path / 'out'
    Image.fromarray(RGB).save(tmp_path / 'photo.png')
    large = write(tmp_path / 'bands.tif', np.zeros((13, 8, 9), np.uint16))
    inputs = [str(photo), str(tmp_path / 'photo.png'), str(large)]
    arguments = [*options, f'--out={out}', '--tile=64', '--classes', *WORDS]
    assert main([*inputs, *arguments]) == 1
    told = capsys.readouterr()
    assert '2 images and GeoTIFFs segmented' in told.out
    assert 'bands.tif has 13 bands and does not say' in told.err
    assert 'field.tif: 150 x 120 pixels, bands 1, 2, 3 of 3, uint8 0 to 255' in told.err
    assert '9/9' in told.err  # the bar
    found = sorted(str(p.relative_to(out)) for p in out.rglob('*.*'))
    assert found == [
        *('legend.json', 'overlay/field.tif', 'overlay/photo.jpg'),
        *('pred/field.tif', 'pred/photo.png', 'vis/field.png', 'vis/photo.png'),
    ]
    assert set(json.loads((out / 'legend.json').read_text())['images']) == {
        *('field', 'photo', 'bands')
    }
    with rasterio.open(out / 'overlay' / 'field.tif') as file:
        assert file.count == 3 and file.crs.to_epsg() == 32633
        drawn = np.moveaxis(file.read(), 0, -1)
    with rasterio.open(out / 'pred' / 'field.tif') as file:
        labels = file.read(1)
    palette = inferencer.palette(inferencer.read_vocabulary(list(WORDS)))
    expected = 0.4 * RGB + 0.6 * palette[labels]
    assert np.abs(drawn - expected).mean() < 25  # JPEG, and borders of segments
    assert main([*inputs[:2], *arguments, '--skip-existing']) == 0
    assert 'have results: 2' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('extra', 'message'),
    [
        (['--scores'], '--scores is for images, and .*field.tif is a GeoTIFF'),
        (['--format', 'coco'], '--format is for images'),
        (['--bands', '1', '2'], '2 bands were given: give the numbers of red, green'),
        (['--limits', '0', 'inf'], r'limits \(0.0, inf\) have to be'),
        (['--every', '2'], '--every is for videos, and the inputs have none'),
        (['--limits', '9', '1'], r'limits \(9.0, 1.0\) have to be a low and a high'),
    ],
)
def test_mistakes(photo, options, tmp_path, extra, message):
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        main([str(photo), *options, f'--out={tmp_path}/out', *extra])
    assert not (tmp_path / 'out').exists()


def test_limits_beside_the_values(photo):
    """All would be black or white, and the labels those of nothing."""
    with pytest.raises(
        GeoTiffError, match=r'100.0% of the values .* it has 0 to 2\d\d'
    ):
        GeoTiff(photo, Reading(limits=(1000, 2000)))
    GeoTiff(photo, Reading(limits=(0, 2000))).__exit__()


def test_options_that_nothing_reads(options, tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'photo.png')
    arguments = [str(tmp_path / 'photo.png'), *options, f'--out={tmp_path}/out']
    for option in ('--bands', '--tile'):
        with pytest.raises(SystemExit, match=f'{option} is for TIFF files, and the'):
            main([*arguments, option, '1'])
