"""Errors in a data pipeline that say which file they are about."""

from __future__ import annotations


class NamesFailingSample:
    """Mixin for ``BaseDataset``: a failing pipeline names the image it failed on.

    Decoders see bytes only, so their own errors (an empty file given to OpenCV, for
    one) do not say which of 100,000 files is broken.
    """

    def prepare_data(self, idx: int):
        """Run the pipeline on sample ``idx``.

        Raises:
            RuntimeError: the pipeline failed; names the image and the reason.
        """
        try:
            return super().prepare_data(idx)
        except Exception as error:
            path = self.get_data_info(idx)['img_path']
            raise RuntimeError(
                f'{type(self).__name__} sample {idx}, image {path}: '
                f'{type(error).__name__}: {error}'
            ) from error
