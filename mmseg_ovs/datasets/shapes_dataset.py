"""The embedded shapes set as an mmseg data set."""

from __future__ import annotations

from mmseg.registry import DATASETS

from .base import EmptyDataError, OpenVocabSegDataset
from .shapes import CLASSES, SEEN_CLASSES, STUFF_CLASSES, THING_CLASSES, make_palette


@DATASETS.register_module()
class ShapesDataset(OpenVocabSegDataset):
    """Named things over named grounds: 104 classes, 16 of them never in training.

    Made by ``tools/make_shapes.py``. Label 255 (grey strokes) is ignored.

    Args:
        img_suffix: suffix of the images.
        seg_map_suffix: suffix of the label maps.
        **kwargs: see ``mmseg.datasets.BaseSegDataset``.

    Raises:
        FileNotFoundError: the folder of images is missing or has none.
    """

    METAINFO = dict(
        classes=CLASSES,
        palette=make_palette(),
        seen_classes=SEEN_CLASSES,
        groups=dict(things=THING_CLASSES, stuff=STUFF_CLASSES),
    )

    def __init__(
        self, img_suffix: str = '.png', seg_map_suffix: str = '.png', **kwargs
    ) -> None:
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """One record an image."""
        folder = self.data_prefix['img_path']
        try:
            return super().load_data_list()
        except (EmptyDataError, FileNotFoundError) as error:
            raise FileNotFoundError(
                f'no {self.img_suffix} images in {folder!r}: make the set with '
                f'`python tools/make_shapes.py --out {self.data_root or "FOLDER"}`'
            ) from error
