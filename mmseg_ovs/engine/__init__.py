"""Training and testing: hooks and launching."""

from . import hooks

__all__ = ['hooks']
