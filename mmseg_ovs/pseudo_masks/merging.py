"""Last stage: all shards as one file in COCO's format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, TextIO

from pycocotools import mask as coco_mask

from mmseg_ovs.jobs import canonical, require_same
from mmseg_ovs.utils import remove_leftovers, replacing
from mmseg_ovs.utils.rle import check_mask

from .errors import PseudoMaskError
from .filtering import NOUNS, read_nouns
from .masks import MASKS
from .shards import open_stage

PSEUDO_MASKS = 'pseudo_masks.json'


def merge(out: Path, file: Path | None = None) -> dict[str, Any]:
    """Write all masks into one file, if nothing is lost, doubled or damaged.

    The shards are read twice; memory holds the list of images and a record of each
    shard. An earlier file stays until the new one is complete.

    Args:
        out: Folder of the whole run.
        file: What to write; ``pseudo_masks.json`` in ``out`` by default.

    Returns:
        The report that the file holds under ``info``.

    Raises:
        PseudoMaskError: Names the shard or image that is not as it has to be.
    """
    content = read_nouns(out)
    setting = _setting(out, content)
    images, report = _survey(out, content)
    info = dict(
        description='Pseudo-masks of the nouns of captions',
        setting=setting,
        report=report,
    )
    categories = [dict(id=n['id'], name=n['name']) for n in content['nouns']]
    file = file or out / PSEUDO_MASKS
    if file.parent.is_dir():
        remove_leftovers(file.parent, file.stem)
    with (
        replacing(file) as temporary,
        temporary.open('w', encoding='utf-8') as stream,
    ):
        stream.write(f'{{"info": {canonical(info)},\n"categories": ')
        _write_list(stream, categories)
        stream.write(',\n"images": ')
        _write_list(stream, images)
        stream.write(',\n"annotations": ')
        _write_list(stream, _annotations(out, content))
        stream.write('}\n')
    return report


def _setting(out: Path, content: dict[str, Any]) -> dict[str, Any]:
    setting, _ = open_stage(out / MASKS, MASKS)
    own = {key: setting.get(key) for key in content['setting']}
    require_same(
        out / MASKS,
        own,
        content['setting'],
        f'Other nouns than those of {out / NOUNS}: filter again as before, or make '
        'boxes and masks again',
    )
    return setting


def _records(out: Path, content: dict[str, Any]) -> Iterator[tuple[dict, dict]]:
    """Each image of ``nouns.json`` with its record of masks."""
    _, records = open_stage(out / MASKS, MASKS)
    seen = set()
    for image, record in zip_longest(content['images'], records):
        if record is None:
            raise PseudoMaskError(
                f'image {image["id"]} ({image["file_name"]}) and what follows is '
                f'missing in {out / MASKS}'
            )
        number = record['image_id']
        if number in seen:
            raise PseudoMaskError(f'image {number} is twice in {out / MASKS}')
        seen.add(number)
        if image is None or (number, record['file_name']) != (
            image['id'],
            image['file_name'],
        ):
            expected = 'no further one' if image is None else f'image {image["id"]}'
            raise PseudoMaskError(
                f'{out / MASKS} holds image {number} ({record["file_name"]}) where '
                f'{expected} is expected'
            )
        yield image, record


def _survey(out: Path, content: dict[str, Any]) -> tuple[list[dict], dict[str, Any]]:
    """The list of images, and what became of them."""
    images, unreadable, without = [], [], []
    masks = 0
    for image, record in _records(out, content):
        if 'error' in record:
            unreadable.append(
                dict(
                    id=image['id'],
                    file_name=image['file_name'],
                    error=record['error'],
                )
            )
            continue
        height, width = record['size']
        images.append(
            dict(
                id=image['id'],
                file_name=image['file_name'],
                height=height,
                width=width,
                captions=image['captions'],
            )
        )
        if not record['masks']:
            without.append(image['id'])
        masks += len(record['masks'])
        nouns = [mask['noun'] for mask in record['masks']]
        if len(set(nouns)) < len(nouns) or set(nouns) - set(image['nouns']):
            raise PseudoMaskError(
                f'image {image["id"]} in {out / MASKS} has masks of nouns {nouns}, '
                f'and its nouns are {image["nouns"]}'
            )
    report = dict(
        images=len(content['images']),
        masks=masks,
        without_nouns=sum(not image['nouns'] for image in content['images']),
        without_masks=without,
        unreadable=unreadable,
    )
    return images, report


def _annotations(out: Path, content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, record in _records(out, content):
        for mask in record.get('masks', []):
            number += 1
            rle = dict(size=record['size'], counts=mask['counts'])
            try:
                check_mask(mask['counts'], record['size'])
            except ValueError as error:
                raise PseudoMaskError(
                    f'the mask of noun {mask["noun"]} of image {image["id"]} in '
                    f'{out / MASKS} is broken: {error}'
                ) from error
            packed = dict(rle, counts=mask['counts'].encode('ascii'))
            yield dict(
                id=number,
                image_id=image['id'],
                category_id=mask['noun'],
                segmentation=rle,
                area=int(coco_mask.area(packed)),
                bbox=[float(value) for value in coco_mask.toBbox(packed)],
                iscrowd=0,
                score=mask['score'],
            )


def _write_list(stream: TextIO, values: Iterable[Any]) -> None:
    """A JSON list with a value a line, without holding them all."""
    stream.write('[')
    for place, value in enumerate(values):
        stream.write((',\n' if place else '\n') + canonical(value))
    stream.write(']')
