"""Weights by address: what a model needs, where it comes from, where it lies."""

from .address import local_path
from .download import DownloadError, local_file
from .files import WeightFile, weight_files

__all__ = ['DownloadError', 'WeightFile', 'local_file', 'local_path', 'weight_files']
