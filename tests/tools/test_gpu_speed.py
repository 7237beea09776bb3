"""The GPU table, of toy models on the CPU."""

import re
import sys

import pytest

from tests.tool_loader import load_tool


@pytest.fixture
def run(monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['gpu.py', *arguments])
        with pytest.raises(SystemExit) as left:
            load_tool('tools/speed/gpu.py').main()
        return left.value.code

    return call


def test_a_table_of_all_ways(run, tmp_path, capsys):
    out = tmp_path / 'gpu.md'
    ways = ['plain', 'fp32', 'bf16']
    tiny = ['ovs-dino', '--device', 'cpu', '--tiny', '--runs', '1', '--names', '9']
    assert run(*tiny, '--ways', *ways, '--out', str(out)) == 0
    table = out.read_text()
    assert table in capsys.readouterr().out
    cells = [re.split(r' *\| *', line)[1:-1] for line in table.splitlines()[2:]]
    assert [row[:2] for row in cells[2:]] == [['ovs-dino', way] for way in ways]
    assert {len(row) for row in cells} == {8}
    assert [row[4] for row in cells[2:4]] == ['100.000%'] * 2  # labels as in fp32


def test_help_names_the_tiny_systems_and_quotes_ways(run, capsys):
    assert run('--help') == 0
    text = ' '.join(capsys.readouterr().out.split())
    assert 'with --tiny ovs-dino, dinov3-seg' in text
    assert "'fp32, compiled'" in text


def test_no_gpu_and_no_such_system(run, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    assert 'no GPU here: --device cpu --tiny' in run('ovs-dino')
    assert "No system 'san': there are talk2dino" in run('san')
