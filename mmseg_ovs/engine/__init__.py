"""Training and testing: hooks, launching, sharding of weights."""

from . import hooks
from .sharding import OpenVocabFSDPStrategy

__all__ = ['OpenVocabFSDPStrategy', 'hooks']
