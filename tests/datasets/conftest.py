"""Data sets are built as mmseg's runner builds them: names are mmseg's by default."""

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield
