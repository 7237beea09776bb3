"""The tables: what was measured, what was published, what is not there."""

import csv
import io
from pathlib import Path

from mmseg_ovs.benchmark.plan import DataEntry, ModelEntry
from mmseg_ovs.benchmark.rows import ABSENT, DONE, FAILED, PUBLISHED, Row
from mmseg_ovs.benchmark.tables import write_tables
from mmseg_ovs.benchmark.zoo import Zoo
from tests.tool_loader import ROOT

ZOO = Zoo.read(ROOT / 'configs')


def rows(tmp_path):
    """Two models on two data sets; one cell absent, one failed."""
    first = ModelEntry(Path('ovs-dino_dinov2-b14.py'), 'ours & theirs')
    second = ModelEntry(Path('mine.py'), 'b', published={'voc21': 12.5})
    made = [
        Row(model, DataEntry(Path(f'{data}.py'), data), folder=tmp_path / data)
        for model in (first, second)
        for data in ('voc21', 'ade20k')
    ]
    for row, figure in zip(made[:3], (50.0, 21.256, 13.0), strict=True):
        row.status = DONE
        row.result = dict(
            metrics=dict(mIoU=figure, mAcc=70.0),
            protocol={
                **{'mode': 'slide', 'weights': f'hash {figure}'},
                'data set': 'VOC(data_root=x)',
            },
            seconds=3,
        )
    made[3].status, made[3].reason = ABSENT, 'data/ade is not there'
    return made


def test_tables(tmp_path):
    text = write_tables(rows(tmp_path), ZOO, tmp_path)
    head, _, first, second = text.splitlines()
    assert head == '| model | class | weights | VOC21 | ADE20K | mean |'
    # means of complete lines only; published figures of the metafile
    weights = ZOO.models['ovs-dino_dinov2-b14'].weights
    assert first == (
        f'| ours & theirs | caption-supervised | {weights} | 50.00 (64) | '
        '21.26 (20.6) | 35.63 (42.3) |'
    )
    assert second == '| b | not stated | not stated | 13.00 (12.5) | absent | – |'

    page = (tmp_path / 'table.md').read_text(encoding='utf-8')
    assert text in page and 'absent: data/ade is not there' in page
    assert 'mode      slide\nweights   hash 21.256\ndata set  VOC' in page

    lines = list(
        csv.DictReader(
            io.StringIO((tmp_path / 'table.csv').read_text(encoding='utf-8'))
        )
    )
    assert [line['mIoU'] for line in lines] == ['50.0', '21.256', '13.0', '']
    assert [line['published mIoU'] for line in lines] == ['64.0', '20.6', '12.5', '']
    assert [line['mode'] for line in lines] == ['slide'] * 3 + ['']
    assert lines[3]['status'] == 'absent'
    assert [line['data set'] for line in lines] == ['voc21', 'ade20k'] * 2
    assert lines[0]['data set (protocol)'] == 'VOC(data_root=x)'

    latex = (tmp_path / 'table.tex').read_text(encoding='utf-8')
    assert r'ours \& theirs' in latex and '% weights   hash 13.0' in latex


def test_a_figure_of_random_weights_is_no_score(tmp_path):
    made = rows(tmp_path)
    made[1].result['protocol']['weights'] += '; AT RANDOM: neck'
    text = write_tables(made, ZOO, tmp_path)
    assert '| 50.00 (64) | 21.26 with random weights (20.6) | – (42.3) |' in text


def test_whose_settings(tmp_path):
    made = rows(tmp_path)
    for row, settings in zip(
        made, ('common', 'common', 'common but x', ''), strict=True
    ):
        row.settings = settings
    head, _, first, second = write_tables(made, ZOO, tmp_path).splitlines()
    assert head.startswith('| model | class | weights | settings | VOC21 |')
    assert '| common | 50.00 (64) |' in first
    assert '| common but x | 13.00 (12.5) | absent |' in second
    page = (tmp_path / 'table.md').read_text(encoding='utf-8')
    assert 'Settings: common but x.' in page
    latex = (tmp_path / 'table.tex').read_text(encoding='utf-8')
    assert r'\begin{tabular}{llllrrr}' in latex


def test_a_failure_is_no_zero(tmp_path):
    made = rows(tmp_path)
    made[1].fail('exit code 1')
    assert made[1].status == FAILED
    text = write_tables(made, ZOO, tmp_path)
    assert '| 50.00 (64) | failed (20.6) | – (42.3) |' in text
    lines = list(
        csv.DictReader(
            io.StringIO((tmp_path / 'table.csv').read_text(encoding='utf-8'))
        )
    )
    assert (lines[1]['status'], lines[1]['mIoU']) == ('failed', '')
    assert lines[1]['reason'] == 'exit code 1'


def test_methods_that_are_not_here(tmp_path):
    made = rows(tmp_path)
    other = ModelEntry(None, 'theirs', published={'voc21': 29.41255}, note='a paper')
    for data in ('voc21', 'ade20k'):
        made.append(Row(other, DataEntry(Path('x.py'), data), status=PUBLISHED))
    text = write_tables(made, ZOO, tmp_path, 'My table')
    assert (
        text.splitlines()[-1] == '| theirs | – | published only | – (29.41) | – | – |'
    )
    page = (tmp_path / 'table.md').read_text(encoding='utf-8')
    assert page.startswith('# My table\n') and '- theirs: a paper\n' in page
    assert '## theirs on voc21' not in page
    last = (tmp_path / 'table.csv').read_text(encoding='utf-8').splitlines()[-2]
    assert last.startswith('theirs,voc21,–,published only,own,published only,29.41255')
