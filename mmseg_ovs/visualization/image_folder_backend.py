"""Where drawn images go on disk."""

from pathlib import Path

import numpy as np
from mmengine.visualization import LocalVisBackend
from mmseg.registry import VISBACKENDS
from PIL import Image

from mmseg_ovs.utils import replacing


@VISBACKENDS.register_module()
class ImageFolderVisBackend(LocalVisBackend):
    """``LocalVisBackend`` that makes folders of names with ``/`` and raises errors.

    mmengine's leaves an image out, without a word, if its folder does not exist or the
    disk is full.
    """

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs) -> None:
        """Write ``NAME_STEP.png``, RGB (H, W, 3), as mmengine names it.

        Raises:
            OSError: It cannot be written.
        """
        self.experiment  # noqa: B018  makes the folder
        file = Path(self._img_save_dir) / f'{name}_{step}.png'
        with replacing(file, durable=False) as temporary:
            Image.fromarray(image).save(temporary)
