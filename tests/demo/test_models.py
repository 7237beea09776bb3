"""The models behind the page: loaded late, kept, shared without mixing words."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from colour_model import COLOURS, stripes, write_config
from PIL import Image

from mmseg_ovs.apis import ImageError, ImageSource, UnknownConfigError
from mmseg_ovs.demo.models import PageModel
from mmseg_ovs.models.text_encoders import UnknownNameError
from mmseg_ovs.models.utils import CheckpointError
from mmseg_ovs.structures import Vocabulary


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp('models')
    refining = write_config(folder, postprocessors=[dict(type='PAMR', stage='image')])
    configs = dict(plain=write_config(folder), refining=refining)
    return {name: PageModel(str(path), device='cpu') for name, path in configs.items()}


def ask(model, image, words, **kwargs):
    source = ImageSource('mine.png', np.ascontiguousarray(image[..., ::-1]))
    return model.segment(source, Vocabulary.build(words), **kwargs)


def test_loaded_when_first_asked_for_and_kept(tmp_path):
    model = PageModel(str(write_config(tmp_path)), device='cpu')
    vectors = tmp_path / 'colours.safetensors'
    vectors.rename(tmp_path / 'away')
    with pytest.raises(FileNotFoundError):  # only now
        ask(model, stripes('red'), ['red'])
    (tmp_path / 'away').rename(vectors)  # tried again
    first = ask(model, stripes('red'), ['red'])
    second = ask(model, stripes('red'), ['red'])
    assert first.loading_seconds > 0 and second.loading_seconds == 0
    assert first.seconds > 0 and first.device == 'cpu'


def test_labels_of_own_words(models):
    image = stripes('red', 'blue', 'green')
    answer = ask(models['plain'], image, ['green', 'red', 'crimson, blue'])
    assert answer.prediction.vocabulary.classes == ('green', 'red', 'crimson, blue')
    assert answer.prediction.labels.shape == image.shape[:2]
    assert answer.prediction.labels[10, 12::24].tolist() == [1, 2, 0]
    assert np.array_equal(answer.prediction.image, image)


def test_background_below_a_score(models):
    image = stripes('red', 'blue')
    answer = ask(models['plain'], image, ['red'], background_score=0.5)
    assert answer.prediction.vocabulary.classes == ('background', 'red')
    assert answer.prediction.labels[10, 12::24].tolist() == [1, 0]
    assert not ask(
        models['plain'], image, ['red']
    ).prediction.labels.any()  # the next has none


@pytest.mark.parametrize('name', ['plain', 'refining'])
def test_refinement_on_and_off_for_any_model(models, name):
    assert models[name].refines == (name == 'refining')
    y, x = np.mgrid[:40, :40]
    truth = ((y - 19) ** 2 + (x - 18) ** 2 < 90).astype(int)  # patches are 4 wide
    image = np.array([COLOURS['red'], COLOURS['blue']], np.uint8)[truth]

    def wrong(refine):
        answer = ask(models[name], image, ['red', 'blue'], refine=refine)
        return (answer.prediction.labels != truth).mean()

    coarse, fine, again = wrong(False), wrong(True), wrong(False)
    assert fine < 0.5 * coarse
    assert again == coarse


def test_two_at_once_keep_their_own_words(tmp_path):
    """Labels, background and refinement of a request are its own; one loads."""
    config = write_config(tmp_path, backbone=dict(type='ColourPatches', pause=0.01))
    model = PageModel(str(config), device='cpu')
    image = stripes('red', 'blue', 'green')
    lists = [['red', 'blue', 'green'], ['green', 'grey', 'yellow, red', 'blue']]
    other = PageModel(str(config), device='cpu')
    alone = [
        ask(other, image, words, refine=bool(number)).prediction.labels
        for number, words in enumerate(lists)
    ]
    barrier = threading.Barrier(2)

    def user(number):
        # Nobody's, or background below a score that all pixels exceed: labels from 1.
        options = dict(background_score=0.2 if number else None, refine=bool(number))
        for _ in range(5):
            barrier.wait(timeout=60)
            answer = ask(model, image, lists[number], **options)
            assert np.array_equal(answer.prediction.labels, alone[number] + number)

    with ThreadPoolExecutor(2) as users:
        for result in [users.submit(user, number) for number in (0, 1)]:
            result.result()


def test_what_cannot_be_segmented(models, tmp_path):
    with pytest.raises(UnknownNameError, match='unicorn'):
        ask(models['plain'], stripes('red'), ['red', 'unicorn'])
    path = tmp_path / 'a.png'
    Image.fromarray(stripes('red')).save(path)
    path.write_bytes(path.read_bytes()[:40])
    source = ImageSource('mine.png', str(path))
    with pytest.raises(ImageError, match='mine.png could not be segmented: .*readable'):
        models['plain'].segment(source, Vocabulary.build(['red']))


@pytest.mark.parametrize(
    ('name', 'score'),
    [
        ('talk2dino_dinov2-reg-b14', 0.55),
        ('talk2dino_dinov2-l14', 0.54),
        ('tcl_clip-b16', 0.4),
        ('lposs_clip-b16', None),  # its background has names
        ('maskclip_clip-b16', None),
    ],
)
def test_the_background_score_is_that_of_the_config(name, score):
    assert PageModel(name, allow_random=True).background_score == score


def test_files_that_are_not_there_are_told_at_once(tmp_path):
    with pytest.raises(UnknownConfigError, match='neither a file nor the name'):
        PageModel('no_such_config')
    with pytest.raises(CheckpointError, match='No checkpoint at nowhere.pth'):
        PageModel(str(write_config(tmp_path)), 'nowhere.pth')
