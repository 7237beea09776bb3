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
from .errors import NonFiniteError, OpenVocabError, exit_with_message, some_of
from .extras import MissingLibraryError, load_extra
from .image_check import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    RefusedImageError,
    check_header,
    checked_image,
    image_formats,
)
from .numbers import is_number, is_positive
from .tensor_file import tensor_file
from .unique_name import unique_name
from .web_image import download_image, is_web_address

__all__ = [
    'IMAGE_SUFFIXES',
    'MAX_PIXELS',
    'ArgumentError',
    'Device',
    'MissingLibraryError',
    'NonFiniteError',
    'OpenVocabError',
    'OutputFile',
    'OutputFolder',
    'RefusedImageError',
    'check_device',
    'check_header',
    'checked_image',
    'image_formats',
    'is_number',
    'is_positive',
    'is_web_address',
    'load_extra',
    'check_output_folder',
    'download_image',
    'exit_with_message',
    'move_into_place',
    'naming_full_disk',
    'remove_leftovers',
    'replacing',
    'some_of',
    'tensor_file',
    'unique_name',
    'write_whole',
]
