"""Figures of tables: whose numbers they are, and what a picture needs."""

import cv2
import numpy as np
import pytest

from mmseg_ovs.benchmark.score_figures import read_scores
from mmseg_ovs.utils import OpenVocabError
from tests.tool_loader import load_tool

main = load_tool('tools/analysis/plot_benchmark.py').main
TABLE = """model,data set,status,published mIoU,mIoU,weights
ours,voc21,done,64.0,61.5,hash
ours,ade20k,absent,20.6,,
ours,shapes,done,,30.0,hash
theirs,voc21,published only,50.0,,
theirs,ade20k,published only,10.0,,
theirs,shapes,published only,25.0,,
noise,voc21,done,,3.0,AT RANDOM: all
noise,ade20k,done,,3.0,AT RANDOM: all
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / 'table.csv'
    path.write_text(TABLE)
    return path


def test_figures_of_a_model_are_all_measured_or_all_published(table):
    scores = read_scores(table)
    assert scores.datasets == ['VOC21', 'ADE20K', 'shapes']
    assert scores.models.keys() == {'ours', 'theirs, published'}
    np.testing.assert_equal(scores.models['ours'], [61.5, np.nan, 30])
    assert scores.left_out == ['noise']  # of random weights
    assert read_scores(table, 'measured').left_out == ['theirs', 'noise']
    published = read_scores(table, 'published').models
    np.testing.assert_equal(published['ours, published'], [64, 20.6, np.nan])
    whole = scores.whole()
    assert whole.models.keys() == {'theirs, published'}
    assert whole.left_out == ('noise', 'ours')


@pytest.mark.parametrize('kind', ['radar', 'bars'])
def test_pictures(table, kind, capsys):
    main([str(table), '--out', str(table.with_suffix('.png')), '--kind', kind])
    picture = cv2.imread(str(table.with_suffix('.png')))
    assert min(picture.shape[:2]) > 500 and picture.std() > 10
    told = capsys.readouterr().out
    count, left = (1, 'noise; ours') if kind == 'radar' else (2, 'noise')
    assert f'{count} models on 3 data sets' in told and f'figures: {left}\n' in told


@pytest.mark.parametrize(
    ('change', 'arguments', 'message'),
    [
        ('model,data set', ['--models', 'x'], "no model 'x'. It has: ours; theirs"),
        ('a,b', [], "no column 'model'"),
        ('model,data set', ['--figures', 'published', '--models', 'noise'], 'has no p'),
        ('model,data set', ['--models', 'ours'], 'draw bars'),
        ('model,data set', ['--out', 'x.txt'], '2'),
    ],
)
def test_mistakes(table, change, arguments, message):
    table.write_text(TABLE.replace('model,data set', change))
    with pytest.raises(SystemExit, match=message):
        main([str(table), '--out', str(table.with_suffix('.png')), *arguments])
    assert not table.with_suffix('.png').exists()


def test_a_radar_needs_three_data_sets(table):
    table.write_text(
        ''.join(line for line in TABLE.splitlines(True) if 'shape' not in line)
    )
    with pytest.raises(SystemExit, match='three data sets, not 2: draw bars'):
        main([str(table), '--out', str(table.with_suffix('.png'))])
    with pytest.raises(OpenVocabError, match='cannot be read'):
        read_scores(table.parent)
