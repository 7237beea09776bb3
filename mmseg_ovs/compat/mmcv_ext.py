"""A stand-in for the compiled ``mmcv._ext`` where only mmcv-lite is installed.

``mmseg.models`` imports ``mmcv.ops`` without a guard, and mmcv-lite has no compiled
operators. The stand-in lets that import succeed; an operator that needs compiled code
raises ``NotImplementedError`` when it is *called*. It is an import finder at the end of
``sys.meta_path``: where a full mmcv is installed its own ``_ext`` is found first and
the stand-in is never used.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
import types

_NAME = 'mmcv._ext'


class _StandIn(types.ModuleType):
    """Module whose attributes are functions that name the missing operator."""

    def __getattr__(self, name: str):
        if name.startswith('__'):  # import machinery probes dunder names
            raise AttributeError(name)
        if name in ('get_compiler_version', 'get_compiling_cuda_version'):
            return lambda: 'n/a (mmcv-lite)'

        def missing(*args, **kwargs):
            raise NotImplementedError(
                f'The mmcv operator {name!r} needs the compiled mmcv, but only '
                'mmcv-lite is installed. Uninstall mmcv-lite and install a full '
                'mmcv (>=2.0.0rc4, <2.2.0) to use it.'
            )

        return missing


class _StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        if fullname == _NAME:
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec):
        return _StandIn(spec.name)

    def exec_module(self, module):
        module.IS_STAND_IN = True


def install_mmcv_ext() -> None:
    """Append the finder; does nothing if it is already there."""
    if not any(isinstance(finder, _StandInFinder) for finder in sys.meta_path):
        sys.meta_path.append(_StandInFinder())
