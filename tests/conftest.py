"""Shared test set-up: the package is imported first, so its compat is installed."""

import gc
import logging
import multiprocessing
import os
import random

os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import numpy as np
import pytest
import torch
from hypothesis import settings
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope

import mmseg_ovs  # noqa: F401

# Property tests try the same examples each time, however slow the machine is.
settings.register_profile('tests', deadline=None, derandomize=True, database=None)
settings.load_profile('tests')


def pytest_addoption(parser):
    parser.addoption(
        '--full-size',
        action='store_true',
        help='also try full-size models (tests/properties/test_full_size.py, minutes)',
    )


def pytest_ignore_collect(collection_path, config):
    left_out = collection_path.name == 'test_full_size.py'
    return True if left_out and not config.option.full_size else None


def pytest_collection_finish():
    # What is imported stays: no search for garbage has to look at it.
    gc.collect()
    gc.freeze()
    # Processes that tests start are forked from one that has imported the package.
    multiprocessing.get_context('forkserver').set_forkserver_preload(
        ['mmseg_ovs', 'open_clip']
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    # A runner leaves its own scope behind, and names would depend on the test before.
    init_default_scope('mmseg')


@pytest.fixture(autouse=True)
def _seed():
    """Random numbers do not depend on the test before."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _one_library(monkeypatch):
    """Matrix products run in the library that layers are built for."""
    name = 'mmseg_ovs.acceleration.probe.onednn_is_faster'
    monkeypatch.setattr(name, lambda threads: None)


@pytest.fixture
def warned():
    """Texts of the warnings that the logger has been given, growing."""
    yield from _texts(logging.WARNING)


@pytest.fixture
def logged():
    """The same with all other messages."""
    yield from _texts(logging.INFO)


def _texts(level):
    logger, texts = MMLogger.get_current_instance(), []
    handler = logging.Handler(level)
    handler.emit = lambda record: texts.append(record.getMessage())
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)
