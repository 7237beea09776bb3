"""Sheets of several models: what is drawn, what is left out, what is refused."""

import cv2
import pytest

from mmseg_ovs.datasets.shapes import write_shapes
from tests.tool_loader import load_tool

main = load_tool('tools/analysis/compare_predictions.py').main
PLAN = """
models:
- {config: text-similarity_mit-tiny_shapes-112x112, name: first}
- {config: text-similarity_mit-tiny_shapes-112x112, name: second}
- {name: another, published: {shapes: 40}}
datasets: [voc21]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Current folder with a plan, and a tiny shapes set at the place of the config."""
    monkeypatch.chdir(tmp_path)
    write_shapes('data/shapes', seed=1, sizes=(1, 1, 2), workers=1)
    (tmp_path / 'plan.yml').write_text(PLAN)
    return tmp_path


def run(*more):
    main(['plan.yml', '--data', 'shapes', '--out', 'out', '--device', 'cpu', *more])


def test_random_weights_are_refused(folder, capsys):
    with pytest.raises(SystemExit, match='No model of the plan can be run'):
        run()
    told = capsys.readouterr().out
    assert 'Left out: first: its weights are not published: train it' in told
    assert 'Left out: another: the method is not here' in told
    with pytest.raises(SystemExit, match='No checkpoint of second at x.pth'):
        run('--checkpoints', 'second=x.pth')
    assert not (folder / 'out').exists()


def test_label_and_models_side_by_side(folder, capsys):
    run('--allow-random')
    sheets = sorted((folder / 'out').glob('*.png'))
    assert [sheet.stem for sheet in sheets] == ['00000', '00001']
    wide = cv2.imread(str(sheets[0]))
    assert wide.shape[1] > 4 * 400  # image, label, two models
    assert wide[:, -300:].std() > 10
    assert '2 sheets of 2 models' in capsys.readouterr().out

    run('--allow-random', '--images', '00001', '--per-row', '2')
    high = cv2.imread(str(sheets[1]))
    assert high.shape[0] > 2 * 400 and high.shape[1] < wide.shape[1]


def test_photos_of_ones_own(folder):
    photo = cv2.imread('data/shapes/images/test/00000.png')
    cv2.imwrite('photo.png', photo[:, :80])
    words = ['--classes', 'red disc', 'blue ring']
    run('--allow-random', '--photos', 'photo.png', *words)
    sheet = cv2.imread('out/photo.png')
    assert 900 > sheet.shape[1] > 3 * 286  # no label


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--images', '7'], "no image '7', but 00000, 00001"),
        (['--photos', 'no.png'], 'No such file'),
        (['--classes', 'a'], '2'),
        (['--count', '0'], '2'),
    ],
)
def test_mistakes(folder, arguments, message):
    with pytest.raises(SystemExit, match=message):
        run('--allow-random', *arguments)
    assert not (folder / 'out').exists()
