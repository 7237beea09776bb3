"""Optional libraries, each with the extra of the package that installs it."""

from __future__ import annotations

import importlib
from types import ModuleType

from .errors import OpenVocabError


class MissingLibraryError(OpenVocabError):
    """A library that not all users need is not installed."""


def load_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional library.

    Args:
        module: Name of the module.
        extra: Extra of mmseg_ovs that installs it.
        purpose: What needs it, for the message.

    Raises:
        MissingLibraryError: It cannot be imported; says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingLibraryError(
            f"{purpose} needs {module} ({error}): pip install 'mmseg_ovs[{extra}]'"
        ) from error
