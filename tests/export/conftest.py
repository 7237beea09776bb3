"""Every system exported once, by the tool."""

from pathlib import Path

import pytest
import torch

from tests.tiny import build, config
from tests.tool_loader import load_tool


@pytest.fixture(scope='session')
def tool():
    """``main`` of tools/export.py."""
    return load_tool('tools/export.py').main


@pytest.fixture(scope='session')
def files(tmp_path_factory):
    """Gives a system's arguments for the tool: config, checkpoint and ONNX file."""

    def write(system):
        folder = tmp_path_factory.mktemp(system.__name__)
        config(system, folder).dump(folder / 'tiny.py')
        state = build(system, folder).state_dict()
        torch.save(dict(state_dict=state), folder / 'tiny.pth')
        paths = [str(folder / name) for name in ('tiny.py', 'tiny.pth', 'model.onnx')]
        return [paths[0], '--checkpoint', paths[1], '--out', paths[2]]

    return write


@pytest.fixture(scope='session')
def exported(tool, files):
    """Gives a system's model and the arguments with which it was exported, once."""
    done = {}

    def export(system):
        if system not in done:
            arguments = files(system)
            tool(arguments)
            done[system] = build(system, Path(arguments[0]).parent), arguments
        return done[system]

    return export
