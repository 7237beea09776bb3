"""Errors in a data pipeline that say which file they are about."""

from __future__ import annotations

import os
from collections.abc import Iterable

import cv2
import mmengine.fileio as fileio

from mmseg_ovs.utils import OpenVocabError

# What readers raise about files; other errors are of the code and keep their traceback.
_OF_FILES = (OSError, ValueError, AssertionError, cv2.error)


class SampleError(OpenVocabError):
    """An image or a label cannot be used; names the file."""

    def __str__(self) -> str:
        # Loader processes hand on the text of a traceback, whose end is the message.
        return super().__str__().rpartition(f'{type(self).__name__}: ')[-1].strip()


class NamesFailingSample:
    """Mixin for ``BaseDataset``: a failing pipeline names the image it failed on.

    Decoders see bytes only, so their own errors (an empty file given to OpenCV, for
    one) do not say which of 100,000 files is broken.
    """

    def prepare_data(self, idx: int):
        """Run the pipeline on sample ``idx``.

        Raises:
            SampleError: A file cannot be used; names the image and the reason.
            RuntimeError: The pipeline failed otherwise; likewise.
        """
        try:
            return super().prepare_data(idx)
        except Exception as error:
            path = self.get_data_info(idx)['img_path']
            kind = SampleError if isinstance(error, _OF_FILES) else RuntimeError
            raise kind(
                f'{type(self).__name__} sample {idx}, image {path}: '
                f'{type(error).__name__}: {error}'
            ) from error


def check_images_exist(
    names: Iterable[str],
    folder: str | os.PathLike,
    ann_file: str,
    backend_args: dict | None = None,
) -> None:
    """Look for image files in a folder (one listing: cheaper than 100,000 look-ups).

    Args:
        names: File names, relative to the folder.
        folder: Image folder.
        ann_file: The file that names them, for messages.
        backend_args: File backend, as in mmseg.

    Raises:
        FileNotFoundError: Some are missing.
    """
    present = set()
    if fileio.isdir(folder, backend_args=backend_args):
        present.update(
            fileio.list_dir_or_file(
                folder, list_dir=False, recursive=True, backend_args=backend_args
            )
        )
    names = list(names)
    missing = sorted(name for name in names if name not in present)
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(names)} images named in {ann_file} are not in '
            f'{os.fspath(folder)}: {", ".join(missing[:3])}'
            f'{", ..." if len(missing) > 3 else ""}; check data_root and data_prefix'
        )
