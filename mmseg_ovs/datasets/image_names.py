"""Names of results that differ for all images of a data set."""

import os
from pathlib import PurePath

from torch.utils.data import Dataset

from mmseg_ovs.utils import unique_name


def image_names(dataset: Dataset) -> dict[str, str]:
    """Name of each image by its path: path below the image folder, without suffix.

    Without one image folder (several data sets) it is the path below the folder that
    all images share. Of two images with the same name the second gets ``_2``.

    Args:
        dataset: One of MMEngine's, also wrapped, whose samples have ``img_path``.
    """
    paths = [dataset.get_data_info(i)['img_path'] for i in range(len(dataset))]
    folders = [PurePath(path).parent.parts for path in paths]
    root = (getattr(dataset, 'data_prefix', None) or {}).get('img_path')
    if root:
        folders.append(PurePath(root).parts)
    shared = len(os.path.commonprefix(folders))
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(paths):
        stem = PurePath(*PurePath(path).parts[shared:]).with_suffix('').as_posix()
        names[path] = unique_name(stem, taken)
    return names
