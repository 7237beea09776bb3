"""The running page, asked as programs ask it."""

import ipaddress
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from colour_model import stripes, write_config
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from mmseg_ovs.apis import Video
from mmseg_ovs.demo import page
from mmseg_ovs.demo.images import Limits
from mmseg_ovs.demo.models import PageModel
from tests.docs.doc_blocks import read_blocks


@pytest.fixture(scope='module')
def connect(server, tmp_path_factory):
    """Makes clients; each is a user."""
    return partial(
        Client,
        server.url,
        download_files=tmp_path_factory.mktemp('answers'),
        verbose=False,
        analytics_enabled=False,
    )


@pytest.fixture(scope='module')
def client(connect):
    return connect()


def ask(client, image, words, model='colours', background=None, refine=False):
    """Mask (H, W) by class name, the line below the result, and the result."""
    result, status = client.predict(
        image=image and handle_file(str(image)),
        classes=words,
        model=model,
        background=background is not None,
        background_score=background,
        refine=refine,
        api_name='/segment',
    )
    labels = np.array(Image.open(result['mask']))
    masks = {}
    for entry in result['classes']:
        masks[entry['name']] = labels == entry['label']
        assert entry['share'] == masks[entry['name']].mean()
    return masks, status, result


def columns(mask):
    """Whether a mask covers the centres of the three stripes."""
    return mask[10, 12::24].tolist()


def test_masks_names_and_time(client, image):
    masks, status, _ = ask(client, image, 'red\ngreen, yellow\nblue')
    assert {name: columns(mask) for name, mask in masks.items()} == {
        'red': [True, False, False],
        'blue': [False, True, False],
        'green, yellow': [False, False, True],
    }
    assert re.match(r'\d+\.\d{3} s on cpu for 72 x 32 pixels\.', status)


def test_background_refinement_and_hint(client, image):
    masks, status, _ = ask(client, image, 'red, yellow', 'refined colours', 0.5, True)
    assert masks.keys() == {'background', 'red, yellow'}
    assert columns(masks['background']) == [False, True, True]
    assert 'Loading the model took' in status and 'One class' not in status
    masks, status, _ = ask(client, image, 'red, yellow')
    assert masks.keys() == {'red, yellow'}
    assert 'One class: every pixel gets it. Commas' in status


def test_overlay_and_scores_of_full_size(client, image):
    _, _, result = ask(client, image, 'red\nblue\ngreen')
    assert Path(result['overlay']).name == 'stripes-overlay.jpg'
    assert Image.open(result['overlay']).size == (72, 32)
    with np.load(result['scores']) as content:
        assert content['names'].tolist() == ['red', 'blue', 'green']
        assert content['scores'].shape == (3, 32, 72)
        assert columns(content['scores'].argmax(0)) == [0, 1, 2]


def test_scores_that_would_take_too_much_are_left_out(image, tmp_path, monkeypatch):
    monkeypatch.setattr(page, '_LARGEST_SCORES', 4 * 2 * 72 * 32 / 2**20)  # two names
    monkeypatch.setenv('GRADIO_TEMP_DIR', str(tmp_path / 'gradio'))
    models = {'colours': PageModel(str(write_config(tmp_path)), device='cpu')}
    press = page._handler(models, Limits())
    upload = dict(path=str(image), orig_name='stripes.png')
    for words, kept in (('red\nblue', True), ('red\nblue\ngreen', False)):
        result, status = press(upload, words, 'colours', False, '', False)
        assert ('scores' in result) == kept == (result['score_range'] is not None)
        assert ('No scores: they would take more than' in status) == (not kept)


def test_random_weights_are_called_noise(client, image):
    _, status, _ = ask(client, image, 'red', 'untrained (RANDOM WEIGHTS: noise)')
    assert 'Random weights: this result is noise.' in status


def test_the_client_of_the_docs(server, image, tmp_path, monkeypatch, capsys):
    docs = Path(__file__).parents[2] / 'docs'
    (block,) = (b for b in read_blocks(docs / 'page.md') if b.marks.get('run by'))
    monkeypatch.chdir(tmp_path)
    Image.open(image).save('photo.jpg', quality=100)
    words = (('building, edifice', 'red, crimson'), ('tree', 'green'), ('road', 'blue'))
    code = block.text.replace('http://127.0.0.1:7860/', server.url)
    for old, new in words:
        code = code.replace(old, new)
    names = {}
    exec(code, names)
    assert columns(names['labels']) == [0, 2, 1]
    shares = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert sorted((s[0], s[-1]) for s in shares) == [
        (str(n), '33.3%') for n in range(3)
    ]


def test_two_users_at_once(connect, client, image):
    """Each gets the masks of the own words."""
    other = connect()

    def user(client, words):
        return [set(ask(client, image, words)[0]) for _ in range(3)]

    with ThreadPoolExecutor(2) as users:
        one = users.submit(user, client, 'red\nblue\ngreen')
        two = users.submit(user, other, 'crimson\nblue\ngreen')
    assert one.result() == [{'red', 'blue', 'green'}] * 3
    assert two.result() == [{'crimson', 'blue', 'green'}] * 3


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('', 'Type at least one class'),
        ('red\nred', 'appears twice'),
        ('\n'.join(map(str, range(10_000))), '10000 names are more than the 500'),
        ('red\nunicorn', r'no text embeddings for 1 of 2 names: \[.*unicorn'),
    ],
)
def test_words_that_cannot_be_used(client, image, words, message):
    with pytest.raises(AppError, match=message):
        ask(client, image, words)


@pytest.mark.parametrize('score', [None, '', 'high'])
def test_a_background_score_that_is_no_number(client, image, score):
    with pytest.raises(AppError, match='Type the background score, a number'):
        client.predict(
            handle_file(str(image)),
            'red',
            'colours',
            True,
            score,
            False,
            api_name='/segment',
        )


def test_a_model_that_is_not_there(client, image):
    with pytest.raises(AppError, match=r"no model 'mine': \['colours'"):
        ask(client, image, 'red', 'mine')


def test_no_image(client):
    with pytest.raises(AppError, match='Choose an image first'):
        ask(client, None, 'red')


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('a.png', b'hello', 'a.png is not an image'),
        ('a.txt', b'hello', 'a.txt is not an image'),
        ('a.svg', b'<svg xmlns="http://www.w3.org/2000/svg"/>', 'is not an image'),
    ],
)
def test_files_that_are_no_images(client, tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(AppError, match=message):
        ask(client, path, 'red')


def test_markup_in_words_is_text(client, image):
    with pytest.raises(AppError, match='&lt;b&gt;'):
        ask(client, image, '<b>')


def test_too_many_pixels_or_bytes(client, tmp_path):
    path = tmp_path / 'flat.png'
    Image.new('RGB', (400, 300)).save(path)
    with pytest.raises(AppError, match='flat.png has 400 x 300 pixels, more than'):
        ask(client, path, 'red')
    path.write_bytes(bytes(200_000))
    with pytest.raises(Exception, match='413|[Ee]xceed'):
        ask(client, path, 'red')


def test_files_of_the_server_cannot_be_asked_for(server, image):
    """A request that names a file instead of uploading it."""
    upload = dict(path=str(image), meta=dict(_type='gradio.FileData'))
    url = f'{server.url}gradio_api/call/segment'
    call = httpx.post(url, json=dict(data=[upload, 'red', 'colours', False, 0, False]))
    answer = httpx.get(f'{url}/{call.json()["event_id"]}', timeout=60).text
    assert 'event: error' in answer and 'stripes' not in answer


def test_the_server_connects_to_nobody(client, image, server):
    ask(client, image, 'red\nblue')
    connections = server.connections.read_text().splitlines()
    hosts = {eval(line)[0] for line in connections if line.startswith('(')}
    assert all(ipaddress.ip_address(host).is_loopback for host in hosts), hosts
    assert hosts, 'it asks itself whether it is there: the record should show it'


def test_a_video(client, tmp_path):
    """The overlay has all frames; speed and flicker are told."""
    clip = tmp_path / 'clip.avi'
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*'MJPG'), 5, (72, 32))
    for _ in range(3):
        writer.write(np.ascontiguousarray(stripes('red', 'blue', 'green')[..., ::-1]))
    writer.release()

    def segment(path, temporal):
        return client.predict(
            video=handle_file(str(path)),
            classes='red\nblue\ngreen',
            model='colours',
            temporal=temporal,
            api_name='/segment_video',
        )

    for temporal in ('none', 'propagate'):
        overlay, status = segment(clip, temporal)
        path = overlay['video'] if isinstance(overlay, dict) else overlay
        assert Video(path).num_frames == 3
        assert 'of 5 frames a second' in status and 'labels flicker: 0.00%' in status
    damaged = tmp_path / 'damaged.avi'
    damaged.write_bytes(b'no video')
    with pytest.raises(AppError, match='damaged.avi is not readable as a video'):
        segment(damaged, 'none')
