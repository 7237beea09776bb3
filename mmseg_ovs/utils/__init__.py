"""Helpers that belong to no one part of the package."""

from .atomic_file import replacing

__all__ = ['replacing']
