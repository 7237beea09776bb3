"""ADE20K-full to A-847: 847 classes, 16-bit labels.

The protocol is that of Cheng et al., "Per-Pixel Classification is Not All You Need"
(NeurIPS 2021), facebookresearch/MaskFormer ``datasets/prepare_ade20k_full_sem_seg.py``,
which SAN and CAT-Seg keep: images with both sides above 512 are resized to a shorter
side of 512 with their labels, and every image is re-encoded.
"""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from .ade20k_847_ids import RAW_IDS
from .conversion import Conversion, ConversionError, Converted, Sample

NUM_CLASSES = 847
IGNORE_INDEX = 65535
SPLITS = {'train': ('training', 25574), 'val': ('validation', 2000)}
SHORTER_SIDE = 512
JPEG_QUALITY = 75  # Pillow's default, with which the papers' images were written
_INDEX = 'index_ade20k.pkl'

# Red takes steps of 10 and green 256 values, so numbers stay below 26 * 256.
_TO_CLASS = np.full(26 * 256, IGNORE_INDEX, dtype=np.uint16)
_TO_CLASS[list(RAW_IDS)] = np.arange(NUM_CLASSES, dtype=np.uint16)


def plan_ade20k_847(source: Path, out: Path, split: str) -> Conversion:
    """Plan a split.

    Args:
        source: ``ADE20K_2021_17_01``. What belongs to it is read from its
            ``index_ade20k.pkl`` if that is there, else what is there is converted.
        out: Folder for ``images/{training,validation}/*.jpg`` and
            ``annotations/{training,validation}/*.png``.
        split: 'train' or 'val'.

    Raises:
        ConversionError: There is no such folder, or its index is damaged.
    """
    if not (source / 'images' / 'ADE').is_dir():
        raise ConversionError(
            f'{source} has no folder images/ADE: give the folder ADE20K_2021_17_01'
        )
    folder, expected = SPLITS[split]
    samples, missing = [], {}
    for path in _paths(source, folder, split):
        name = path.name
        sources = path.with_suffix('.jpg'), path.with_name(f'{name}_seg.png')
        absent = [file.name for file in sources if not file.is_file()]
        if absent:
            where = path.parent.relative_to(source).as_posix()
            missing[name] = f'no {" and no ".join(absent)} in {where}'
            continue
        image = out / 'images' / folder / f'{name}.jpg'
        labels = out / 'annotations' / folder / f'{name}.png'
        samples.append(Sample(name, image, labels, sources, makes_image=True))
    return Conversion(
        name=f'ade20k_847_{split}',
        root=out,
        num_classes=NUM_CLASSES,
        ignore_index=IGNORE_INDEX,
        expected=expected,
        setting=dict(shorter_side=SHORTER_SIDE, jpeg_quality=JPEG_QUALITY),
        samples=samples,
        missing=missing,
        convert=convert_ade20k_847,
    )


def convert_ade20k_847(sample: Sample) -> Converted:
    """Image and labels at their final size.

    Raises:
        ValueError: Image and annotation differ in size.
    """
    image_file, seg_file = sample.source
    with Image.open(image_file) as file:
        image = np.array(file if file.mode in ('L', 'RGB') else file.convert('RGB'))
    with Image.open(seg_file) as file:
        seg = np.array(file.convert('RGB'))
    if image.shape[:2] != seg.shape[:2]:
        raise ValueError(
            f'{image_file.name} has {image.shape[1]} x {image.shape[0]} pixels, '
            f'{seg_file.name} {seg.shape[1]} x {seg.shape[0]}'
        )
    labels = _TO_CLASS[class_numbers(seg)]
    shorter, longer = sorted(labels.shape)
    if shorter > SHORTER_SIDE:
        side = round(longer / shorter * SHORTER_SIDE)
        upright = labels.shape[0] == longer
        size = (SHORTER_SIDE, side) if upright else (side, SHORTER_SIDE)
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', quality=JPEG_QUALITY)
    return Converted(labels, buffer.getvalue())


def class_numbers(seg: np.ndarray) -> np.ndarray:
    """Object numbers (H, W) of a ``_seg.png`` (H, W, 3); 0 is unlabelled."""
    return seg[..., 0] // 10 * np.int32(256) + seg[..., 1]


def _paths(source: Path, folder: str, split: str) -> list[Path]:
    """Images of a split, without suffix, sorted by name."""
    index = source / _INDEX
    if index.is_file():
        listed = read_index(index)
        paths = {
            source.joinpath(*Path(where).parts[1:], Path(name).stem)
            for where, name in listed
            if name.split('_')[1] == split
        }
    else:
        pattern = re.compile(rf'(ADE_{split}_\d+)(?:\.jpg|_seg\.png)')
        found = (source / 'images' / 'ADE' / folder).rglob(f'ADE_{split}_*')
        matches = ((path, pattern.fullmatch(path.name)) for path in found)
        paths = {path.with_name(match[1]) for path, match in matches if match}
    return sorted(paths, key=lambda path: path.name)


def read_index(path: Path) -> list[tuple[str, str]]:
    """Folder and file name of every image in ``index_ade20k.pkl``.

    Raises:
        ConversionError: The file is damaged, or holds what no index holds.
    """
    try:
        with path.open('rb') as file:
            index = _IndexUnpickler(file).load()
        pairs = list(zip(index['folder'], index['filename'], strict=True))
        if not all(re.fullmatch(r'ADE_[a-z]+_\d+\.jpg', name) for _, name in pairs):
            raise ValueError('names are not of the form ADE_val_00000001.jpg')
    except Exception as error:  # pickles fail in many ways
        raise ConversionError(
            f'{path} is damaged: {type(error).__name__}: {error}. Get it again; or '
            'delete it, then what is there is converted'
        ) from error
    return pairs


class _IndexUnpickler(pickle.Unpickler):
    """Reads containers, numbers and numpy arrays; runs nothing else."""

    _NUMPY = {'_reconstruct', 'scalar', 'ndarray', 'dtype'}

    def find_class(self, module: str, name: str):
        numpy_modules = ('numpy', 'numpy.core.multiarray', 'numpy._core.multiarray')
        if module in numpy_modules and name in self._NUMPY:
            return super().find_class(module, name)
        if (module, name) == ('_codecs', 'encode'):  # bytes of old pickles
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f'it names {module}.{name}')
