"""Values of the command line that cannot work: one line before anything is loaded."""

import argparse
import os

import pytest
import torch

from mmseg_ovs.composition import ConfigError, find_config, read_config_file
from mmseg_ovs.utils import (
    ArgumentError,
    Device,
    OutputFile,
    OutputFolder,
    exit_with_message,
)
from tests.tool_loader import load_tool


def parse(action, value):
    parser = argparse.ArgumentParser()
    parser.add_argument('--value', action=action)
    return parser.parse_args(['--value', str(value)]).value


@pytest.mark.parametrize(
    ('device', 'message'),
    [
        ('cuda:foo', 'not one of PyTorch: give cpu'),
        ('gpu', 'not one of PyTorch'),
        ('cuda:0', 'finds no GPU here'),
    ],
)
def test_devices_that_are_not_there(device, message, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ArgumentError, match=message):
        parse(Device, device)
    assert parse(Device, 'cpu') == 'cpu'


def test_gpus_are_counted(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    assert parse(Device, 'cuda') == 'cuda' and parse(Device, 'cuda:1') == 'cuda:1'
    with pytest.raises(ArgumentError, match='there are 2 GPUs'):
        parse(Device, 'cuda:2')


def test_places_for_results(tmp_path, monkeypatch):
    file = tmp_path / 'file'
    file.write_text('')
    for action in (OutputFolder, OutputFile):
        assert parse(action, tmp_path / 'new/x') == str(tmp_path / 'new/x')
        with pytest.raises(ArgumentError, match='file is a file, and a folder'):
            parse(action, file / 'below')
    with pytest.raises(ArgumentError, match='--value: .*file is a file'):
        parse(OutputFolder, file)
    with pytest.raises(ArgumentError, match='is a folder; name a file'):
        parse(OutputFile, tmp_path)
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    with pytest.raises(ArgumentError, match='no permission to write'):
        parse(OutputFolder, tmp_path / 'new')


def test_interrupted_commands_are_short(capsys):
    with pytest.raises(SystemExit) as caught, exit_with_message():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    assert capsys.readouterr().err == '\ninterrupted\n'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = (', r'SyntaxError: .*never closed .*line 1'),
        ("_base_ = 'no.py'", 'FileNotFoundError: .*no.py'),
        ('x = 1 / 0', 'ZeroDivisionError'),
        ("custom_imports = dict(imports=['nope'])", 'nope'),
    ],
)
def test_broken_configs(text, message, tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text(text)
    with pytest.raises(ConfigError, match=f'broken.py cannot be read: .*{message}'):
        read_config_file(find_config(path))


@pytest.mark.parametrize('tool', ['tools/test.py', 'tools/train.py'])
def test_configs_without_a_model(tool, tmp_path, monkeypatch):
    path = tmp_path / 'empty.py'
    path.write_text('x = 1')
    monkeypatch.setattr('sys.argv', [tool, str(path)])
    with pytest.raises(SystemExit, match=r'^error: The config .*empty.py has no model'):
        load_tool(tool).main()
