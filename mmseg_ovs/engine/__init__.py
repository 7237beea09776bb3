"""Training and testing: hooks, launching, sharding of weights."""

from . import hooks
from .data_vocabulary import data_vocabulary
from .sharding import OpenVocabFSDPStrategy

__all__ = ['OpenVocabFSDPStrategy', 'data_vocabulary', 'hooks']
