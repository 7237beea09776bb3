"""Data preprocessors."""

from .open_vocab_data_preprocessor import OpenVocabDataPreProcessor

__all__ = ['OpenVocabDataPreProcessor']
