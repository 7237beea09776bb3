"""Writing the set to disk in mmseg's layout, once, and repairing what got damaged.

``OUT/images/SPLIT/00000.png``, ``OUT/annotations/SPLIT/00000.png``,
``OUT/captions_SPLIT.json`` (COCO's caption format), ``OUT/classes.json`` and, written
last, ``OUT/manifest.json`` with the settings and the SHA-256 of every file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from mmseg_ovs.jobs import JobError, file_digest, read_json, run_all, sha256
from mmseg_ovs.utils import remove_leftovers, write_whole

from .captions import describe_scene
from .names import (
    CLASSES,
    IGNORE_LABEL,
    SEEN_CLASSES,
    STUFF_CLASSES,
    THING_CLASSES,
    UNSEEN_CLASSES,
)
from .render import render_scene
from .scene import SIZE, SPLITS, compose_scene

#: Images in train, val and test.
DEFAULT_SIZES = (2000, 200, 200)
_FOLDERS = ('images', 'annotations')
_MANIFEST = 'manifest.json'


def _generator_version() -> str:
    """Digest of the code that draws: changed code means another set."""
    sources = sorted(Path(__file__).parent.glob('*.py'))
    return sha256(*(s.read_bytes() for s in sources if s.name != Path(__file__).name))


def _write(path: Path, data: bytes) -> str:
    """Write a file whole or not at all; its SHA-256."""
    write_whole(path, data, durable=False)  # the next run looks at the digests
    return sha256(data)


def _png(array: np.ndarray) -> bytes:
    return cv2.imencode('.png', array)[1].tobytes()


def _json(content: dict) -> bytes:
    return (json.dumps(content, indent=1) + '\n').encode()


def _names(split: str, index: int) -> list[str]:
    """Relative paths of an image and its labels."""
    return [f'{folder}/{split}/{index:05d}.png' for folder in _FOLDERS]


def _write_image(out: Path, seed: int, which: tuple[str, int]) -> dict[str, str]:
    """Draw and write one image and its labels; SHA-256 by relative path."""
    split, index = which
    image, labels = render_scene(compose_scene(seed, split, index))
    arrays = (cv2.cvtColor(image, cv2.COLOR_RGB2BGR), labels)
    names = _names(split, index)
    return {
        name: _write(out / name, _png(array))
        for name, array in zip(names, arrays, strict=True)
    }


def _captions(seed: int, split: str, size: int) -> dict:
    """COCO caption annotations of a split; file names are relative to its images."""
    return dict(
        images=[
            dict(id=i, file_name=f'{i:05d}.png', height=SIZE, width=SIZE)
            for i in range(size)
        ],
        annotations=[
            dict(
                id=i,
                image_id=i,
                caption=describe_scene(compose_scene(seed, split, i)),
            )
            for i in range(size)
        ],
    )


def _class_list() -> dict:
    return dict(
        classes=CLASSES,
        seen=SEEN_CLASSES,
        unseen=UNSEEN_CLASSES,
        things=THING_CLASSES,
        stuff=STUFF_CLASSES,
        ignore_label=IGNORE_LABEL,
    )


def _images(sizes: Sequence[int]) -> Iterator[tuple[str, int]]:
    for split, size in zip(SPLITS, sizes, strict=True):
        yield from ((split, index) for index in range(size))


def _known_digests(out: Path, settings: dict) -> dict[str, str]:
    """SHA-256 of every file, empty unless a whole set of these settings is there."""
    try:
        manifest = read_json(out / _MANIFEST, ('settings', 'files'))
    except JobError:
        manifest = None
    return manifest['files'] if manifest and manifest['settings'] == settings else {}


def _is_intact(out: Path, name: str, known: dict[str, str]) -> bool:
    path = out / name
    # An unknown file is not read.
    return name in known and path.is_file() and file_digest(path) == known[name]


def _remove_surplus(out: Path, sizes: Sequence[int]) -> None:
    """Delete images of an earlier, larger set, which mmseg would load as well.

    Raises:
        FileExistsError: A file in the image folders was not written by this tool.
    """
    for folder in _FOLDERS:
        for split, size in zip(SPLITS, sizes, strict=True):
            (out / folder / split).mkdir(parents=True, exist_ok=True)
            remove_leftovers(out / folder / split)
            for path in (out / folder / split).iterdir():
                match = re.fullmatch(r'(\d{5,})\.png', path.name)
                if match is None:
                    raise FileExistsError(
                        f'{path} does not belong to the shapes set: move it away or '
                        'choose another folder'
                    )
                if int(match[1]) >= size:
                    path.unlink()


def write_shapes(
    out: str | Path,
    seed: int = 0,
    sizes: Sequence[int] = DEFAULT_SIZES,
    workers: int = 1,
) -> int:
    """Make the set in a folder, or repair it; intact files stay untouched.

    Args:
        out: Folder of the set, made if missing.
        seed: Seed of the set, not negative.
        sizes: Images in train, val and test, each at least 1.
        workers: Processes that draw.

    Returns:
        Number of images drawn: 0 if everything was there and intact.

    Raises:
        ValueError: Bad sizes, seed or workers.
        FileExistsError: There is a foreign file in the image folders.
    """
    sizes = [int(size) for size in sizes]
    if len(sizes) != len(SPLITS) or min(sizes) < 1:
        raise ValueError(
            f'sizes must be {len(SPLITS)} positive numbers '
            f'({", ".join(SPLITS)}), got {sizes}'
        )
    if seed < 0:
        raise ValueError(f'seed must not be negative, got {seed}')
    if workers < 1:
        raise ValueError(f'workers must be at least 1, got {workers}')
    out = Path(out)
    settings = dict(seed=seed, sizes=sizes, generator=_generator_version())
    _remove_surplus(out, sizes)
    remove_leftovers(out)
    known = _known_digests(out, settings)

    texts = {'classes.json': _class_list}
    for split, size in zip(SPLITS, sizes, strict=True):
        texts[f'captions_{split}.json'] = partial(_captions, seed, split, size)
    damaged_texts = [name for name in texts if not _is_intact(out, name, known)]
    damaged = [
        (split, index)
        for split, index in _images(sizes)
        if not all(_is_intact(out, name, known) for name in _names(split, index))
    ]
    if not damaged and not damaged_texts:
        return 0

    # Without its manifest an interrupted set is never taken for a whole one.
    (out / _MANIFEST).unlink(missing_ok=True)
    digests = dict(known)
    for name in damaged_texts:
        digests[name] = _write(out / name, _json(texts[name]()))
    for written in run_all(partial(_write_image, out, seed), damaged, workers):
        digests.update(written)
    _write(out / _MANIFEST, _json(dict(settings=settings, files=digests)))
    return len(damaged)
