"""Open-vocabulary segmentation for MMSegmentation 1.x.

Importing the package registers every part, so that a config needs nothing but
``custom_imports = dict(imports=['mmseg_ovs'], allow_failed_imports=False)``.
"""

from .compat import install_compat

# Before anything that imports mmseg: with mmcv-lite, mmseg.models would fail.
install_compat()

from . import datasets, engine, evaluation, models, visualization  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = [
    '__version__',
    'datasets',
    'engine',
    'evaluation',
    'models',
    'visualization',
]
