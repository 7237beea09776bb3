"""The benchmark tool: killed, started again, with data and weights that are missing."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmseg_ovs.datasets.shapes import write_shapes
from tests.tool_loader import ROOT, children, is_alive, load_tool

TOOL = ROOT / 'tools' / 'benchmark.py'
PLAN = """
models:
- config: text-similarity_dinov3-tiny_shapes-112x112
  name: first
- config: text-similarity_dinov3-tiny_shapes-112x112
  name: second
  cfg_options: {model.test_cfg.mode: slide, model.test_cfg.crop_size: [64, 64],
                model.test_cfg.stride: [48, 48]}
  published: {shapes: 12.5}
datasets: [shapes, voc21]
cfg_options: {test_dataloader.num_workers: 0, test_dataloader.persistent_workers: false,
              test_dataloader.batch_size: 1}
"""
LIMIT = 300  # seconds that a test may wait for a process


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Current folder with a tiny shapes set where the config looks for it."""
    monkeypatch.chdir(tmp_path)
    write_shapes('data/shapes', seed=1, sizes=(1, 1, 2), workers=1)
    Path('plan.yml').write_text(PLAN)
    return tmp_path


def read_csv(path):
    with open(path, newline='') as file:
        return list(csv.DictReader(file))


def wait_for(condition, process):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, 'waited too long'
        assert process.poll() is None, 'the benchmark ended too early'
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != 'linux', reason='looks into /proc')
def test_killed_and_started_again(folder, capsys):
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    process = subprocess.Popen(
        [sys.executable, str(TOOL), 'plan.yml', '--out', 'out', '--devices', 'cpu']
        + ['--allow-random'],
        env=env,
        stdout=subprocess.DEVNULL,
    )
    results = lambda: sorted(Path('out/runs').glob('*/result.json'))  # noqa: E731
    wait_for(lambda: len(results()) == 1, process)
    wait_for(lambda: list(Path('out/runs').glob('second*/log.txt')), process)
    wait_for(lambda: children(process.pid), process)
    orphans = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while any(map(is_alive, orphans)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_alive, orphans)), 'a test went on after the benchmark'
    (done,) = results()
    assert done.parent.name.startswith('first_shapes_')
    stamp = done.stat().st_mtime_ns

    tool = load_tool(TOOL)
    tool.main(
        ['plan.yml', '--out', 'out', '--devices', 'cpu', '--allow-random']
    )  # absent data: no error
    told = capsys.readouterr().out
    assert 'first on shapes: done before' in told
    missing = 'absent (PascalVOCDataset: data/VOCdevkit/VOC2012 is not there'
    assert told.count(f'voc21: {missing}') == 1  # for both models
    assert done.stat().st_mtime_ns == stamp and len(results()) == 2

    lines = read_csv('out/table.csv')
    assert [line['status'] for line in lines] == ['done', 'absent'] * 2
    first, _, second, _ = lines
    assert first['mode'] == 'whole' and second['window'] == '64 x 64, stride 48 x 48'
    assert first['weights'] == second['weights'] and 'AT RANDOM' in first['weights']
    assert first['data hash'] == second['data hash']
    assert second['published mIoU'] == '12.5'
    assert len(read_csv(first['per class'])) == 104
    assert first['vocabulary'].startswith('104 classes')
    result = json.loads(done.read_text())
    assert float(first['mIoU']) == result['metrics']['mIoU']
    assert f'{float(second["mIoU"]):.2f} with random weights (12.5)' in told

    # other data is another run; the old result stays
    write_shapes('data/shapes', seed=2, sizes=(1, 1, 2), workers=1)
    zoo = tool.Zoo.read(tool.configs_folder())
    rows = tool.prepare_rows(
        tool.plan_of(tool.parse_args(['plan.yml']), zoo), Path('out'), True
    )
    assert [row.status for row in rows] == ['pending', 'absent'] * 2


@pytest.mark.slow
def test_a_failed_test_does_not_stop_the_others(folder, capsys):
    plan = PLAN.replace('  name: first', '  name: first\n  checkpoint: none.pth')
    Path('plan.yml').write_text(plan)
    with pytest.raises(SystemExit) as error:
        load_tool(TOOL).main(
            ['plan.yml', '--out', 'out', '--devices', 'cpu', '--allow-random']
        )
    assert error.value.code == 1
    told = capsys.readouterr().out
    assert 'No checkpoint at none.pth' in told
    assert '| first |' in told and '| failed | absent | – |' in told
    lines = read_csv('out/table.csv')
    assert [line['status'] for line in lines] == ['failed', 'absent', 'done', 'absent']


COMMON = """
models: [one_view.py, two_views.py, text-similarity_dinov3-tiny_shapes-112x112]
datasets: [shapes]
protocol: {shorter_side: 96, window: 64, stride: 48, names: plain, postprocessors: none}
cfg_options: {test_dataloader.num_workers: 0, test_dataloader.batch_size: 1}
"""


@pytest.mark.slow
def test_one_protocol_for_all(folder, capsys):
    base = ROOT / 'configs/text_similarity/text-similarity_dinov3-tiny_shapes-112x112'
    Path('one_view.py').write_text(f"_base_ = '{base}.py'\n")
    Path('two_views.py').write_text(
        f"_base_ = '{base}.py'\n"
        "model = dict(postprocessors=[dict(type='PAMR')], test_cfg=dict("
        "mode='local-global', aggregation='logits', image_size=(144, 144), "
        'crop_size=(112, 112), stride=(32, 32), input_size=(112, 112)))\n'
        "default_hooks = dict(vocabulary=dict(background=dict(type='names', "
        "names=['nothing'])))\n"
    )
    Path('plan.yml').write_text(COMMON)
    load_tool(TOOL).main(
        ['plan.yml', '--out', 'out', '--devices', 'cpu', '--allow-random']
    )
    told = capsys.readouterr().out
    assert 'Common protocol: shorter side 96, windows of 64 at stride 48' in told
    first, second, third = read_csv('out/table.csv')
    assert first['settings'] == 'common'
    assert first['input'] == 'Resize(keep_ratio=True, scale=(2048, 96))'
    assert first['window'] == '64 x 64, stride 48 x 48, resized to 64 x 64'
    kept = 'common but own size and windows (mode local-global)'
    assert second['settings'] == kept
    assert second['image'] == 'stretched to 144 x 144'
    assert third['mode'] == 'whole'
    assert third['settings'].endswith('windows (trained on masks at this size)')
    for line in (first, second, third):
        assert line['post-processors'] == 'none'
        assert 'names of the data set' in line['vocabulary']
    assert f'| two_views | not stated | not stated | {kept} |' in told
    page = Path('out/table.md').read_text(encoding='utf-8')
    assert f'Settings: {kept}.' in page and 'with the common protocol' in page


def test_models_to_be_trained(folder, capsys):
    with pytest.raises(SystemExit) as error:
        load_tool(TOOL).main(['plan.yml', '--out', 'out', '--devices', 'cpu'])
    assert error.value.code == 1
    told = capsys.readouterr().out
    assert 'To be trained first: first: its weights are not published' in told
    assert '| to be trained | to be trained | – |' in told


def test_mistakes_in_the_arguments(folder, capsys):
    tool = load_tool(TOOL)
    for arguments in (
        [],
        ['plan.yml', '--devices', '0', '0'],
        ['plan.yml', '--checkpoints', 'first'],
    ):
        with pytest.raises(SystemExit, match='2'):
            tool.main(arguments)
    with pytest.raises(SystemExit, match='Collections are'):
        tool.main(['--models', 'no-such'])
    with pytest.raises(SystemExit, match='There are: common_protocol'):
        tool.main(['no-such-plan'])
    with pytest.raises(SystemExit, match='name of a data set'):
        tool.main(['plan.yml', '--datasets', 'no-such'])
    with pytest.raises(SystemExit, match='No checkpoint of first at x.pth'):
        tool.main(['plan.yml', '--checkpoints', 'first=x.pth'])
    assert not Path('work_dirs').exists()
