"""Helpers that belong to no one part of the package."""

from .arguments import (
    ArgumentError,
    Device,
    OutputFile,
    OutputFolder,
    check_device,
    check_output_folder,
)
from .atomic_file import (
    move_into_place,
    naming_full_disk,
    remove_leftovers,
    replacing,
    write_whole,
)
from .errors import NonFiniteError, OpenVocabError, exit_with_message
from .image_check import RefusedImageError, check_image
from .tensor_file import tensor_file

__all__ = [
    'ArgumentError',
    'Device',
    'NonFiniteError',
    'OpenVocabError',
    'OutputFile',
    'OutputFolder',
    'RefusedImageError',
    'check_device',
    'check_image',
    'check_output_folder',
    'exit_with_message',
    'move_into_place',
    'naming_full_disk',
    'remove_leftovers',
    'replacing',
    'tensor_file',
    'write_whole',
]
