"""Images of a field: soil, crop and weed."""

from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module()
class WeedsDataset(BaseSegDataset):
    """Label maps are grey PNG: 0 soil, 1 crop, 2 weed, 255 not labelled."""

    METAINFO = dict(
        classes=('soil', 'crop', 'weed'),
        palette=[[120, 85, 50], [70, 160, 70], [220, 70, 60]],
    )

    def __init__(self, **kwargs) -> None:
        super().__init__(img_suffix='.png', seg_map_suffix='.png', **kwargs)
