"""A readable error where the host libraries are not installed."""

from __future__ import annotations

from importlib.util import find_spec

_HOST = ('mmengine', 'mmcv', 'mmseg')


def require_host() -> None:
    """Check that mmengine, mmcv (or mmcv-lite) and mmsegmentation can be found.

    They are an extra of this package, not a requirement of it, because each may come
    from more than one distribution (mmcv or mmcv-lite, upstream or a fork).

    Raises:
        ImportError: One is missing; the message says which and how to install it.
    """
    missing = [name for name in _HOST if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'mmseg_ovs is a plugin of MMSegmentation, and {", ".join(missing)} is not '
            "installed. Install the host with: pip install 'mmseg_ovs[openmmlab]' "
            '(see docs/install.md).'
        )
