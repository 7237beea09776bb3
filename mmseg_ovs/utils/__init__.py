"""Helpers that belong to no one part of the package."""

from .atomic_file import (
    move_into_place,
    naming_full_disk,
    remove_leftovers,
    replacing,
    write_whole,
)
from .errors import OpenVocabError, exit_with_message
from .image_check import RefusedImageError, check_image
from .tensor_file import tensor_file

__all__ = [
    'OpenVocabError',
    'RefusedImageError',
    'check_image',
    'exit_with_message',
    'move_into_place',
    'naming_full_disk',
    'remove_leftovers',
    'replacing',
    'tensor_file',
    'write_whole',
]
