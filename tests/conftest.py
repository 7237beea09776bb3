"""Shared test set-up: the package is imported first, so its compat is installed."""

import os

os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import pytest
import torch

import mmseg_ovs  # noqa: F401


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)
