"""The page refuses a model whose masks would be noise, or says that they are."""

import pytest

from mmseg_ovs.demo.__main__ import parse_args, start
from mmseg_ovs.demo.models import PageModel
from mmseg_ovs.models.utils import CheckpointError

TINY = 'text-similarity_dinov3-tiny_shapes-112x112'
# Its stochastic depth is a list of numbers, computed when it is built.
MIT = 'text-similarity_mit-tiny_shapes-112x112'


@pytest.mark.parametrize('name', [TINY, MIT])
def test_it_is_refused_before_the_page_opens(name):
    with pytest.raises(CheckpointError, match='names no weights for backbone, '):
        PageModel(name)


def test_nothing_is_downloaded_for_it():
    # Its backbone and its text encoder would be downloaded, its head is untrained.
    with pytest.raises(CheckpointError, match='no weights for decode_head. Give'):
        PageModel('talk2dino_dinov2-b14')


def test_allowed_ones_are_named(monkeypatch):
    pages = []

    class Page:
        def build_page(self, models, limits):
            pages.append(models)

        def launch_page(self, *args):
            return 'http://x'

    monkeypatch.setattr('mmseg_ovs.demo.__main__._import_page', Page)
    words = ['--model', 'a', TINY, '--device', 'cpu']
    with pytest.raises(CheckpointError):
        start(parse_args(words))
    start(parse_args([*words, '--allow-random']))
    assert list(pages[0]) == ['a (RANDOM WEIGHTS: noise)']


def test_a_checkpoint_gives_the_weights(tmp_path):
    path = tmp_path / 'x.pth'
    path.touch()
    assert not PageModel(TINY, str(path)).is_random
