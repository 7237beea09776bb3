"""``python -m mmseg_ovs.predict``: what it writes, what it says, its exit codes."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from tiny_model import WORDS, picture, tiny_config

from mmseg_ovs.apis import OpenVocabInferencer
from mmseg_ovs.predict import main


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp('config') / 'tiny.py'
    tiny_config().dump(path)
    return path


@pytest.fixture
def options(config, checkpoint, tmp_path):
    paths = dict(config=config, checkpoint=checkpoint, out=tmp_path / 'out')
    return [f'--{key}={path}' for key, path in paths.items()]


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_the_command_as_documented(folder, options, out, config, checkpoint):
    """In a process of its own; the broken picture in the middle is told at the end."""
    command = [sys.executable, '-m', 'mmseg_ovs.predict', str(folder), '--batch-size=2']
    done = subprocess.run(
        [*command, '--classes', 'a pikachu', 'tree', 'road', *options],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert '2 images segmented' in done.stdout
    assert '1 of 3 images failed:' in done.stderr
    assert (
        f'{folder / "b.png"}: ImageError: not readable' in done.stderr.splitlines()[-1]
    )
    assert '3/3' in done.stderr  # the progress bar
    assert names(out) == ['legend.json', 'pred', 'vis']
    assert names(out / 'pred') == names(out / 'vis') == ['a.png', 'c.png']
    legend = json.loads((out / 'legend.json').read_text())
    words = ['a pikachu', 'tree', 'road']
    assert [entry['name'] for entry in legend['classes']] == words
    inferencer = OpenVocabInferencer(str(config), checkpoint, 'cpu')
    expected = inferencer(folder / 'a.png', words)['predictions'][0]
    written = cv2.imread(str(out / 'pred' / 'a.png'), cv2.IMREAD_UNCHANGED)
    assert (written == expected).mean() > 0.99


def test_several_files_without_failure(folder, options, out, capsys):
    images = [str(folder / 'c.jpg'), str(folder / 'a.png')]
    assert main([*images, *options, '--classes', *WORDS]) == 0
    assert 'failed' not in capsys.readouterr().err
    assert names(out / 'pred') == ['a.png', 'c.png']


def test_vocabulary_and_background(folder, options, out, tmp_path):
    words = tmp_path / 'words.json'
    words.write_text(json.dumps([f'thing {i}' for i in range(300)]))
    image = str(folder / 'a.png')
    arguments = [image, *options, f'--vocabulary={words}', '--background=1e6']
    assert main(arguments) == 0
    legend = json.loads((out / 'legend.json').read_text())
    assert legend['background'] == 0 and len(legend['classes']) == 301
    written = cv2.imread(str(out / 'pred' / 'a.png'), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16 and not written.any()


def test_without_words_those_of_the_training_data(folder, options, out):
    assert main([str(folder / 'a.png'), *options]) == 0
    legend = json.loads((out / 'legend.json').read_text())
    assert tuple(entry['name'] for entry in legend['classes']) == WORDS


def test_settings_override_the_config(folder, options, capsys):
    image = str(folder / 'c.jpg')  # 24 x 33: no multiple of the patch
    override = ['--cfg-options', 'model.backbone.fit=error']
    assert main([image, *options, *override]) == 1
    assert 'no multiples of the patch size' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['{folder}/nowhere.png'], 'No such file or folder: .*nowhere.png'),
        (['{empty}'], 'has no images'),
        (['{folder}', '--classes', 'tree', 'tree'], "'tree' is there twice"),
        (['{folder}', '--vocabulary', 'no_such_list'], 'Unknown vocabulary'),
        (['{folder}', '--config', 'no_such_config'], 'neither a file nor the name'),
        (['{folder}', '--checkpoint', 'no.pth'], 'No checkpoint at no.pth'),
        (['{folder}', '--checkpoint', '{folder}/a.png'], 'a.png .*truncated|plain'),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    folder, options, out, tmp_path, arguments, message
):
    empty = tmp_path / 'empty'
    empty.mkdir()
    filled = [a.format(folder=folder, empty=empty) for a in arguments]
    with pytest.raises(SystemExit, match=f'^error: .*({message})'):
        main([*options, *filled])
    assert not out.exists()


@pytest.mark.parametrize(
    'extra', [['--batch-size', '0'], ['--classes', 'a', '--vocabulary', 'b']]
)
def test_arguments_that_make_no_sense(folder, options, extra):
    with pytest.raises(SystemExit) as caught:
        main([str(folder), *options, *extra])
    assert caught.value.code == 2


def test_pictures_of_one_name_do_not_overwrite_each_other(tmp_path, options, out):
    for sub, seed in (('x', 1), ('y', 2)):
        (tmp_path / sub).mkdir()
        cv2.imwrite(str(tmp_path / sub / 'p.png'), picture(seed=seed))
    assert main([str(tmp_path / 'x'), str(tmp_path / 'y'), *options]) == 0
    assert names(out / 'pred') == ['p.png', 'p_2.png']
