"""Odd and damaged images: the right result or a clear error, in bounded memory.

All are read in a process of its own, which may not hang and whose memory is measured.
"""

import multiprocessing
import re
import resource
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from broken_images import Case, cases, encode, write_all
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.datasets import OpenVocabSegDataset
from mmseg_ovs.pseudo_masks.errors import UnreadableImageError
from mmseg_ovs.pseudo_masks.images import read_image
from mmseg_ovs.utils import checked_image, image_check

CONFIGS = Path(__file__).parents[2] / 'configs'
MODEL = CONFIGS / 'text_similarity/text-similarity_dinov3-tiny_shapes-112x112.py'
CASES = cases()
LIMIT = 300  # seconds for all
# What reading all of them may add to the memory of the process, in MB.
MEMORY = 300
CLASSES = ('red disk', 'wavy blue ground')


def peak_memory() -> float:
    """In MB; of this process, and of the largest child."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def answer_of(function, *arguments):
    """What a function returns, or the error as text."""
    try:
        return function(*arguments)
    except Exception as error:
        return ''.join(traceback.format_exception_only(error)).strip()


def read_all(folder: Path) -> dict[str, dict]:
    """What becomes of each file, by reader and name."""
    init_default_scope('mmseg')
    names = [case.name for case in CASES]
    before = peak_memory()
    report: dict[str, dict] = {}

    cfg = Config.fromfile(CONFIGS / '_base_/datasets/voc21.py')
    load = TRANSFORMS.build(cfg.test_pipeline[0])
    report['loader'] = {
        name: answer_of(lambda: load(dict(img_path=str(folder / name)))['img'])  # noqa: B023
        for name in names
    }
    report['pseudo-masks'] = {
        name: answer_of(lambda: read_image(folder, name)[..., ::-1])  # noqa: B023
        for name in names
    }

    (folder / 'all.txt').write_text('\n'.join(names))
    dataset = OpenVocabSegDataset(
        data_root=str(folder),
        ann_file='all.txt',
        img_suffix='',
        data_prefix=dict(img_path=''),
        metainfo=dict(classes=CLASSES),
        pipeline=[cfg.test_pipeline[0]],
        test_mode=True,
        lazy_init=True,
    )
    dataset.ann_file = str(folder / 'all.txt')
    dataset.full_init()
    report['data set'] = {
        name: answer_of(lambda: dataset[i]['img'])  # noqa: B023
        for i, name in enumerate(names)
    }

    inferencer = OpenVocabInferencer(
        Config.fromfile(MODEL), device='cpu', allow_random=True
    )
    paths = [str(folder / name) for name in names]
    report['predictor'] = {
        name: prediction.labels if prediction.error is None else prediction.reason
        for name, prediction in zip(
            names, inferencer.predict(paths, CLASSES, batch_size=4), strict=True
        )
    }
    report['memory'] = dict(added=peak_memory() - before)
    return report


@pytest.fixture(scope='module')
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    write_all(folder)
    context = multiprocessing.get_context('forkserver')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(read_all, folder).result(LIMIT)


@pytest.mark.parametrize('reader', ['loader', 'data set', 'pseudo-masks', 'predictor'])
@pytest.mark.parametrize('case', CASES, ids=lambda case: case.name)
def test_the_right_result_or_a_clear_error(report, case: Case, reader):
    answer = report[reader][case.name]
    if not case.good:
        assert isinstance(answer, str), f'{answer.shape} came out'
        named = reader in ('predictor', 'pseudo-masks') or case.name in answer
        assert named, f'the error does not name the file: {answer}'
        return
    assert isinstance(answer, np.ndarray), answer
    assert answer.shape[:2] == case.pixels.shape[:2]
    if reader != 'predictor':
        assert answer.dtype == np.uint8
        difference = np.abs(answer[..., ::-1].astype(float) - case.pixels).mean()
        assert difference <= case.tolerance


@pytest.mark.parametrize('name', ['huge.png', 'huge.jpg', 'large.png', 'bomb.png'])
def test_what_is_too_large_is_said(report, name):
    for reader in ('loader', 'data set', 'pseudo-masks', 'predictor'):
        assert 'too large' in report[reader][name]


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('float.tif', 'floating-point 32-bit numbers: convert it'),
        ('signed.tif', 'signed 16-bit numbers'),
        ('deep.tif', 'unsigned 32-bit numbers'),
        ('bands.tif', '6 bands'),
        ('photo.heic', 'it is HEIC, and damaged'),
    ],
)
def test_kinds_that_are_not_read_are_said(report, name, reason):
    for reader in ('loader', 'data set', 'pseudo-masks', 'predictor'):
        assert re.search(reason, report[reader][name])


@pytest.mark.parametrize(
    ('name', 'warning'),
    [
        ('twelve_bits.png', 'below 4096: it is read as an image of 12 bits'),
        ('hot_pixel.png', 'below 4096: it is read as an image of 12 bits'),
        ('moving.gif', 'has 2 frames: only the first is read'),
        ('pages.tif', 'has 2 frames'),
    ],
)
def test_what_is_left_out_of_a_file_is_said(name, warning, warned):
    (case,) = (case for case in CASES if case.name == name)
    image_check._warn.cache_clear()
    checked_image(case.content, name)
    assert len(warned) == 1 and name in warned[0] and warning in warned[0]


def test_memory_is_bounded(report):
    assert report['memory']['added'] < MEMORY


def test_the_errors_of_pseudo_masks_are_their_own(tmp_path):
    write_all(tmp_path)
    for case in CASES:
        if not case.good:
            with pytest.raises(UnreadableImageError):
                read_image(tmp_path, case.name)


@pytest.mark.parametrize('size', [(1, 5000), (5000, 1), (2, 3000)])
def test_strips_through_a_pipeline_that_resizes(tmp_path, size):
    path = tmp_path / 'strip.png'
    path.write_bytes(encode(Image.new('RGB', size[::-1], (9, 99, 199)), 'PNG'))
    cfg = Config.fromfile(MODEL)
    voc = Config.fromfile(CONFIGS / '_base_/datasets/voc21.py')
    cfg.test_dataloader.dataset.pipeline = voc.test_pipeline
    inferencer = OpenVocabInferencer(cfg, device='cpu', allow_random=True)
    (prediction,) = inferencer.predict([str(path)], CLASSES)
    if prediction.error is None:
        assert prediction.labels.shape == size
    else:
        assert 'resize' in prediction.reason.lower()


def test_heic_without_its_plugin(monkeypatch):
    formats = tuple(name for name in image_check.image_formats() if name != 'HEIF')
    monkeypatch.setattr(image_check, 'image_formats', lambda: formats)
    photo = next(case for case in cases() if case.name == 'photo.heic')
    with pytest.raises(
        image_check.RefusedImageError, match=r"pip install 'mmseg_ovs\[heic\]'"
    ):
        image_check.checked_image(photo.content, photo.name)
