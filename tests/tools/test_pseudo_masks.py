"""The command line of the pseudo-masks: killed, resumed, and used wrongly."""

import importlib
import shutil
import sys
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

import mmseg_ovs.pseudo_masks
from mmseg_ovs.datasets import NounMasksDataset
from tests.tool_loader import load_tool

main = load_tool('tools/pseudo_masks/run.py').main
tiny = load_tool('tests/pseudo_masks/tiny_models.py')


class Files:
    """What the command line is given."""

    def __init__(self, folder: Path) -> None:
        self.captions, self.images = tiny.save_images(folder / 'data')
        self.tagger = tiny.save_tagger(folder / 'tagger')
        self.detector = tiny.save_detector(folder / 'detector')
        self.sam, self.sam_checkpoint = tiny.save_sam(folder / 'sam')

    def arguments(self, stage: str, out: Path, *more: str) -> list[str]:
        given = dict(
            tag=['captions', 'images', 'tagger'],
            filter=[],
            boxes=['images', 'detector'],
            masks=['images', 'sam', 'sam_checkpoint'],
            merge=[],
        )[stage]
        values = [(f'--{n.replace("_", "-")}', str(getattr(self, n))) for n in given]
        own = dict(filter=['--min-images', '1'], boxes=['--threshold', '0.5'])
        pairs = [word for pair in values for word in pair]
        return [stage, '--out', str(out), *pairs, *own.get(stage, []), *more]

    def run(self, out: Path) -> list[int]:
        stages = ('tag', 'filter', 'boxes', 'masks', 'merge')
        return [main(self.arguments(stage, out)) for stage in stages]


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return Files(tmp_path_factory.mktemp('files'))


@pytest.fixture(scope='module')
def finished(files, tmp_path_factory):
    out = tmp_path_factory.mktemp('finished')
    assert files.run(out) == [0, 0, 0, 0, 0]
    return out


def test_the_data_set_reads_what_comes_out(finished, files):
    init_default_scope('mmseg')
    dataset = NounMasksDataset(
        ann_file=str(finished / 'pseudo_masks.json'),
        data_prefix=dict(img_path=str(files.images)),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadNounMasks')],
    )
    assert 0 < len(dataset) <= len(tiny.CAPTIONS)
    for sample in dataset:
        assert sample['gt_noun_masks'].shape == (
            *sample['img'].shape[:2],
            len(sample['nouns']),
        )
        assert sample['gt_noun_masks'].any(axis=(0, 1)).all()
        assert sample['captions']


def test_figures_are_printed(files, tmp_path, capsys):
    files.run(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    images, captions = len(tiny.CAPTIONS), sum(map(len, tiny.CAPTIONS))
    assert lines[0].endswith(f'{images} images, {captions} captions')
    assert 'on the stop list' in lines[1]
    assert 'boxes of' in lines[2]
    assert f'masks of {images} images' in lines[4]
    assert '0 could not be read' in lines[4]


def test_unreadable_images_are_listed_and_the_exit_code_is_one(files, tmp_path, capsys):
    own = Files.__new__(Files)
    own.__dict__.update(files.__dict__)
    own.images = Path(shutil.copytree(files.images, tmp_path / 'images'))
    (own.images / '004.png').write_bytes(b'no image')
    assert own.run(tmp_path / 'out') == [0, 0, 1, 1, 1]
    error = capsys.readouterr().err
    assert error.count('1 images could not be read:\n  004.png is no image') == 3


@pytest.mark.parametrize(
    'stage, change, words',
    [
        ('tag', ['--shard', '0/2'], 'counted from 1'),
        ('tag', ['--captions', 'none.json'], 'none.json does not exist'),
        ('tag', ['--tagger', 'none'], 'is missing'),
        ('filter', [], 'no shards in'),
        ('boxes', [], 'run the filter stage first'),
        ('masks', [], 'cannot be opened'),
        ('merge', [], 'run the filter stage first'),
    ],
)
def test_mistakes_end_with_two(files, tmp_path, capsys, stage, change, words):
    assert main(files.arguments(stage, tmp_path, *change)) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ')
    assert words in error


def test_models_that_are_missing(files, finished, tmp_path, capsys):
    boxes = files.arguments('boxes', finished, '--detector', str(tmp_path))
    assert main(boxes) == 2
    masks = files.arguments('masks', finished, '--sam-checkpoint', 'none.pth')
    assert main(masks) == 2
    error = capsys.readouterr().err
    assert 'no detector can be read from' in error
    assert 'No checkpoint at none.pth' in error


def test_own_stop_words(files, finished, tmp_path, capsys):
    shutil.copytree(finished / 'tags', tmp_path / 'tags')
    words = tmp_path / 'stop.txt'
    words.write_text('Dog\nball tree\n')
    assert main(files.arguments('filter', tmp_path, '--stop-words', str(words))) == 0
    assert '3 on the stop list' in capsys.readouterr().out


def test_shards_run_from_the_command_line(files, finished, tmp_path):
    for stage in ('tag', 'boxes', 'masks'):
        for number in (2, 1):
            shard = f'{number}/2'
            assert main(files.arguments(stage, tmp_path, '--shard', shard)) == 0
        if stage == 'tag':
            assert main(files.arguments('filter', tmp_path)) == 0
    file = tmp_path / 'masks of' / 'train.json'
    assert main(files.arguments('merge', tmp_path, '--to', str(file))) == 0
    merged = file.read_bytes()
    assert merged == (finished / 'pseudo_masks.json').read_bytes()


def test_the_package_needs_neither_nltk_nor_transformers(monkeypatch):
    monkeypatch.setattr(mmseg_ovs, 'pseudo_masks', None)
    for name in list(sys.modules):
        if name.startswith('mmseg_ovs.pseudo_masks'):
            monkeypatch.delitem(sys.modules, name)
        elif name.split('.')[0] in ('nltk', 'transformers'):
            monkeypatch.setitem(sys.modules, name, None)  # refuses to be imported
    importlib.import_module('mmseg_ovs.pseudo_masks')
    with pytest.raises(ImportError):
        importlib.import_module('transformers')
