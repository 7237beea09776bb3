"""A tiny training, run once for all tests that compare with it."""

from functools import partial

import pytest
import torch
from mmseg.registry import MODELS
from processes import run_processes
from tiny_run import MODEL, train, write_config


@pytest.fixture(scope='session')
def tiny_config(tmp_path_factory):
    """The config; it names the weights to start from."""
    folder = tmp_path_factory.mktemp('tiny')
    path = write_config(folder)
    torch.manual_seed(2)
    model = MODELS.build(MODEL)
    model.init_weights()
    torch.save(model.state_dict(), folder / 'start.pth')
    path.write_text(f'{path.read_text()}load_from = {str(folder / "start.pth")!r}\n')
    return path


@pytest.fixture(scope='session')
def alone(tiny_config):
    """Weights after four steps of one process with batches of four."""
    (state,) = run_processes(1, train, tiny_config, tiny_config.parent / 'alone')
    return state


@pytest.fixture(scope='session')
def of_two(tiny_config):
    """Weights after four steps of two processes with batches of two, by rank."""
    options = {'train_dataloader.batch_size': 2}
    run = partial(train, launcher='pytorch', **options)
    return run_processes(2, run, tiny_config, tiny_config.parent / 'of_two')
