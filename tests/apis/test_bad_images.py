"""Images that cannot be read: one line says what is wrong and what to do."""

import os
import threading
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin
from tiny_model import WORDS, make_image, tiny_config

from mmseg_ovs.apis import ImageError, OpenVocabInferencer
from mmseg_ovs.utils import image_check

PNG = cv2.imencode('.png', make_image())[1].tobytes()
ANSWERS = {
    '/image.png': (200, 'image/png', PNG),
    '/image?size=large': (200, 'application/octet-stream', PNG),
    '/page': (200, 'text/html', b'<html>no image</html>'),
    '/noise.png': (200, 'image/png', b'no image'),
    '/missing.png': (404, 'text/html', b''),
}


@pytest.fixture(scope='module')
def inferencer(checkpoint):
    return OpenVocabInferencer(tiny_config(), checkpoint, 'cpu')


@pytest.fixture(scope='module')
def server():
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            code, kind, content = ANSWERS[self.path]
            self.send_response(code)
            self.send_header('Content-Type', kind)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@pytest.mark.parametrize('path', ['/image.png', '/image?size=large'])
def test_an_address_of_an_image(inferencer, server, path):
    found = inferencer(server + path, WORDS)
    assert np.array_equal(found.labels, inferencer(make_image(), WORDS).labels)


@pytest.mark.parametrize(
    ('path', 'message'),
    [
        ('/page', 'there is no image but text/html: give the address of the image'),
        ('/missing.png', 'the server answers 404 Not Found'),
        ('/noise.png', 'not readable as an image'),
    ],
)
def test_an_address_that_is_no_image(inferencer, server, path, message):
    with pytest.raises(ImageError, match=f'{path}.*{message}') as caught:
        inferencer(server + path, WORDS)
    assert '\n' not in str(caught.value)


def test_a_server_that_is_not_there(inferencer):
    with pytest.raises(ImageError, match='127.0.0.1:1/.*it cannot be reached'):
        inferencer('http://127.0.0.1:1/a.png', WORDS)


def large_tiff(path, bands=None):
    """40,000 x 40,000 pixels; only its header is written."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in {256: 40000, 257: 40000, 277: bands or 3, 258: 8}.items():
        tags[tag] = value
    tags[262] = 2 if bands is None else 1
    tags[258] = (8,) * (bands or 3)
    with open(path, 'wb') as stream:
        stream.write(b'II*\0' + (8).to_bytes(4, 'little'))
        tags.save(stream)
    return path


@pytest.mark.parametrize('large_file', [0, 2**28])
@pytest.mark.parametrize('bands', [None, 13])
def test_a_tiff_of_40000_by_40000_pixels(
    inferencer, tmp_path, monkeypatch, large_file, bands
):
    monkeypatch.setattr(image_check, '_LARGE_FILE', large_file)
    path = large_tiff(tmp_path / 'a.tif', bands)
    message = r'too large \((1600000000 pixels|40000 x 40000).*mmseg_ovs\[geotiff\]'
    with pytest.raises(ImageError, match=message):
        inferencer(path, WORDS)


def test_a_large_file_is_refused_before_it_is_read(inferencer, tmp_path):
    path = large_tiff(tmp_path / 'a.tif')
    os.truncate(path, 2**30)  # with a hole, so it takes no room
    tracemalloc.start()
    with pytest.raises(ImageError, match='too large'):
        inferencer(path, WORDS)
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_tiff_of_13_bands(inferencer, tmp_path):
    rasterio = pytest.importorskip('rasterio')
    path = tmp_path / 'a.tif'
    profile = dict(driver='GTiff', width=9, height=8, count=13, dtype='uint8')
    with rasterio.open(path, 'w', **profile) as file:
        file.write(np.zeros((13, 8, 9), np.uint8))
    with pytest.raises(ImageError, match=r'13 bands: .*mmseg_ovs\[geotiff\]') as error:
        inferencer(path, WORDS)
    assert 'write the three that are red, green and blue' in str(error.value)


def test_other_large_images_are_not_sent_to_the_reader_of_tiff(inferencer, tmp_path):
    Image.new('1', (20000, 9000)).save(tmp_path / 'a.png')
    with pytest.raises(ImageError, match='cut it into parts') as caught:
        inferencer(tmp_path / 'a.png', WORDS)
    assert 'geotiff' not in str(caught.value)
