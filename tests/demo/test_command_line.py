"""Mistakes on the command line are told before anything is served."""

import re
import socket

import pytest
from colour_model import write_config

from mmseg_ovs.demo.__main__ import main, parse_args


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'required: --model'),
        (['--model', 'a'], r'NAME CONFIG \[CHECKPOINT\]'),
        (['--model', 'a', 'b', 'c', 'd'], r'NAME CONFIG \[CHECKPOINT\]'),
        (['--model', 'a', 'b', '--model', 'a', 'c'], 'names have to differ'),
        (['--model', 'a', 'b', '--max-megabytes', '0'], 'megabytes .* above 0'),
        (['--model', 'a', 'b', '--max-requests', '0'], 'requests .* above 0, not 0'),
    ],
)
def test_arguments_that_make_no_sense(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_only_this_machine_by_default():
    assert parse_args(['--model', 'a', 'b']).host == '127.0.0.1'


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        (['no_such_config'], 'neither a file nor the name'),
        (['{config}', 'nowhere.pth'], 'No checkpoint at nowhere.pth'),
    ],
)
def test_files_that_are_not_there(tmp_path, files, message):
    config = str(write_config(tmp_path))
    files = [file.format(config=config) for file in files]
    with pytest.raises(SystemExit, match=f'^error: .*{message}'):
        main(['--model', 'a', *files])


def test_a_port_that_is_taken(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(SystemExit, match=f'^error: .*{port}'):
            main(['--port', port, '--model', 'a', str(write_config(tmp_path))])
