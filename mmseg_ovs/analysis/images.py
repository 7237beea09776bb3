"""Images one after the other, with a progress bar; those that fail are noted."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import mmcv
import numpy as np
from mmengine.utils import ProgressBar

from mmseg_ovs.apis import ImageError, ImageSource, list_images


class ImageStream:
    """Iterates over the readable images of files and folders.

    Args:
        images: See :func:`mmseg_ovs.apis.list_images`.
        out: Where results are written: images there are refused.

    Attributes:
        failures: A line for each image that could not be read, so far.
        read: Images given out so far.
        current: Source of the image given out last.

    Raises:
        ImageError: There are no such files, a folder holds no images, or one is a
            result. When
            iterated: not one image could be read.
    """

    def __init__(self, images: object, out: Path) -> None:
        self.sources = list_images(images)
        for source in self.sources:
            if Path(source.name).resolve().parent == out.resolve():
                raise ImageError(
                    f'{source.name} lies in {out}, where results are written: give '
                    'another --out'
                )
        self.failures: list[str] = []
        self.read = 0
        self.current: ImageSource | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Images uint8 BGR (H, W, 3), as mmseg reads them."""
        self.failures, self.read = [], 0
        bar = ProgressBar(len(self), file=sys.stderr)
        for source in self.sources:
            try:
                image = mmcv.imread(
                    source.content, backend_args=dict(backend='checked_images')
                )
                if image is None:
                    raise ValueError('not an image, or damaged')
            except Exception as error:  # of any file format
                reason = ' '.join(str(error).split())
                self.failures.append(f'{source.name}: {reason}')
            else:
                self.read += 1
                self.current = source
                yield image
            bar.update()
        print(file=sys.stderr)
        if not self.read:
            raise ImageError(
                f'None of the {len(self)} images could be read. {self.failures[0]}'
            )

    def report_failures(self) -> int:
        """Print the images that failed; gives the exit code, 1 if there are any."""
        if not self.failures:
            return 0
        print(
            f'{len(self.failures)} of {len(self)} images could not be read and are '
            'left out:',
            *(f'  {failure}' for failure in self.failures),
            sep='\n',
            file=sys.stderr,
        )
        return 1
