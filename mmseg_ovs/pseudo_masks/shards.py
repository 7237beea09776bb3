"""A stage's results on disk: shards of JSON lines that survive being killed.

The first line of a shard says what was made and how, each further line is the record of
one image, and the last line holds the SHA-256 of all lines before it. While a shard
is made it ends in ``.part`` and grows by a line an image; a run that is started again
cuts off what is torn and goes on behind it. A record depends on nothing but its image
and the setting, so the bytes are those of a run that was never interrupted.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from mmengine.utils import ProgressBar

from mmseg_ovs.jobs import alone, canonical, digest, file_digest, require_same
from mmseg_ovs.utils import move_into_place, naming_full_disk

from .errors import DamagedShardError, PseudoMaskError, UnreadableImageError

FORMAT = 'mmseg_ovs pseudo-masks, version 1'
_NAME = re.compile(r'shard-(\d{5})-of-(\d{5})\.jsonl')
_FACTS = {'format', 'stage', 'shard', 'images', 'setting'}
T = TypeVar('T')


@dataclass(frozen=True)
class Part:
    """The ``number``-th (from 1) of ``count`` equal parts of the images."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= 99_999:
            raise PseudoMaskError(
                f'there is no shard {self.number}/{self.count}: they are counted from '
                '1, as in 1/4, 2/4, 3/4, 4/4'
            )

    @classmethod
    def parse(cls, text: str) -> Part:
        """From ``'i/n'``."""
        match = re.fullmatch(r'(\d+)/(\d+)', text)
        if not match:
            raise PseudoMaskError(f'a shard is given as i/n (1/4), not as {text!r}')
        return cls(int(match[1]), int(match[2]))

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """Every ``count``-th of ``items``; :func:`interleave` is the inverse."""
        return items[self.number - 1 :: self.count]

    @property
    def file_name(self) -> str:
        """Name of this part's shard."""
        return f'shard-{self.number:05d}-of-{self.count:05d}.jsonl'


WHOLE = Part()


def interleave(parts: Sequence[Iterator[T]]) -> Iterator[T]:
    """All items in the order they had before they were parted."""
    nothing = object()
    for row in zip_longest(*parts, fillvalue=nothing):
        yield from (item for item in row if item is not nothing)


@dataclass(frozen=True)
class Item:
    """An image to make a record of, and all that the record depends on."""

    image_id: int | str
    file_name: str
    payload: Mapping[str, Any]

    def record(self, make: Callable[[Item], dict]) -> dict[str, Any]:
        """The image's record; of one that cannot be read it holds the ``error``."""
        try:
            result = make(self)
        except UnreadableImageError as error:
            result = dict(error=str(error))
        return dict(result, **self._identity())

    def is_of(self, record: Any) -> bool:
        """Whether ``record`` is of this image, made from the same payload."""
        own = self._identity()
        return isinstance(record, dict) and own.items() <= record.items()

    def _identity(self) -> dict[str, Any]:
        source = digest([self.file_name, self.payload])
        return dict(image_id=self.image_id, file_name=self.file_name, source=source)


def describe_shard(
    stage: str, part: Part, images: int, setting: Mapping[str, Any]
) -> dict[str, Any]:
    """First line of a shard.

    Args:
        stage: What was made.
        part: Of which images.
        images: How many.
        setting: JSON-like facts that the records depend on.
    """
    facts = dict(
        format=FORMAT,
        stage=stage,
        shard=[part.number, part.count],
        images=images,
        setting=setting,
    )
    return json.loads(canonical(facts))


def write_shard(
    folder: Path,
    facts: Mapping[str, Any],
    items: Sequence[Item],
    make: Callable[[Item], dict],
) -> Path:
    """Make what is not there yet of a shard.

    Images that could not be read are tried again, so a file that has been fixed does
    not cost the whole shard. A damaged shard is made again.

    Args:
        folder: Folder of this stage's shards.
        facts: See :func:`describe_shard`.
        items: The images of this shard.
        make: Gives an image's record. ``UnreadableImageError`` is noted in it; any
            other exception ends the run, and the next one goes on from there.

    Returns:
        The finished file.

    Raises:
        JobError: There is a shard of another setting, or another process is writing
            this one.
    """
    path = folder / Part(*facts['shard']).file_name
    with alone(folder, path.name), naming_full_disk(path):
        _complete(path, facts, items, make)
    return path


def _complete(
    path: Path,
    facts: Mapping[str, Any],
    items: Sequence[Item],
    make: Callable[[Item], dict],
) -> None:
    known: dict[Any, dict] = {}
    if path.exists():
        try:
            records = load_shard(path, facts)
        except DamagedShardError as error:
            print(f'{error}; it is made again', file=sys.stderr)
        else:
            known = {r['image_id']: r for r in records if 'error' not in r}
            if all(item.is_of(known.get(item.image_id)) for item in items):
                return

    part = path.with_name(path.name + '.part')
    begun = _cut_torn_end(part, facts, items)
    with part.open('ab') as file:
        if begun is None:
            _append(file, facts)
        todo = items[begun or 0 :]
        bar = ProgressBar(len(todo), file=sys.stderr) if todo else None
        for item in todo:
            record = known.get(item.image_id)
            _append(file, record if item.is_of(record) else item.record(make))
            bar.update()
        if bar:
            bar.file.write('\n')
    sha = file_digest(part)
    with part.open('ab') as file:
        _append(file, dict(sha256=sha))
    move_into_place(part, path)


def _append(file: Any, value: Any) -> None:
    file.write(canonical(value).encode() + b'\n')
    file.flush()  # what the system has taken over survives the process


def _cut_torn_end(
    part: Path, facts: Mapping[str, Any], items: Sequence[Item]
) -> int | None:
    """Number of images that a stopped run has made; None if it has not begun."""
    if not part.exists():
        return None
    begun, end = None, 0
    with part.open('rb') as file:
        for line in file:
            value = _parse(line)
            if begun is None:
                if value is None:
                    break
                require_same(part, _flat(value), _flat(facts))
                begun = 0
            elif begun < len(items) and items[begun].is_of(value):
                begun += 1
            else:
                break
            end += len(line)
    os.truncate(part, end)
    return begun


def _parse(line: bytes) -> Any:
    """The value in a line, None if it is torn."""
    if not line.endswith(b'\n'):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None


def read_shard(path: Path) -> Iterator[dict[str, Any]]:
    """A shard's facts, then its records, checked on the way.

    Raises:
        DamagedShardError: It is missing, torn, changed or no shard; at the latest when
            the last record was taken.
    """
    try:
        file = path.open('rb')
    except OSError as error:
        raise DamagedShardError(f'{path} cannot be opened: {error.strerror}') from error
    with file:
        sha, count, images = hashlib.sha256(), -1, None
        for line in file:
            value = _parse(line)
            if not isinstance(value, dict):
                raise DamagedShardError(f'{path} is damaged in line {count + 2}')
            if count < 0:
                if value.get('format') != FORMAT or not value.keys() >= _FACTS:
                    raise DamagedShardError(f'{path} is not a shard of {FORMAT!r}')
                images = value['images']
            elif value.keys() == {'sha256'}:
                break
            sha.update(line)
            count += 1
            yield value
        else:
            value = {}
        if value.get('sha256') != sha.hexdigest() or file.read(1):
            raise DamagedShardError(f'{path} is damaged or torn: its digest differs')
        if count != images:
            raise DamagedShardError(f'{path} has {count} records, not {images}')


def load_shard(
    path: Path, facts: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """All records of a shard.

    Args:
        path: The file.
        facts: What its first line has to say.

    Raises:
        DamagedShardError: See :func:`read_shard`.
        JobError: It was made in another setting.
    """
    found, *records = read_shard(path)
    if facts is not None:
        require_same(path, _flat(found), _flat(facts))
    return records


def _flat(facts: Any) -> dict[str, Any]:
    facts = facts if isinstance(facts, dict) else {}
    return dict(facts, **facts.get('setting', {}), setting=None)


def find_shards(folder: Path) -> list[Path]:
    """The shards of a finished stage, in order.

    Raises:
        PseudoMaskError: One is missing or not finished, or there are shards of two
            partitions.
    """
    names = [p.name for p in folder.glob('shard-*')] if folder.is_dir() else []
    unfinished = sorted(n for n in names if n.endswith('.part'))
    if unfinished:
        raise PseudoMaskError(
            f'{folder / unfinished[0]} is not finished: run its stage again to go on'
        )
    found = sorted(n for n in names if _NAME.fullmatch(n))
    if not found:
        raise PseudoMaskError(f'there are no shards in {folder}: run its stage first')
    counts = {int(_NAME.fullmatch(name)[2]): name for name in found}
    if len(counts) > 1:
        raise PseudoMaskError(
            f'{folder} holds shards of different partitions: '
            f'{" and ".join(counts.values())}. Delete those of one'
        )
    (count,) = counts
    wanted = [Part(number, count).file_name for number in range(1, count + 1)]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise PseudoMaskError(
            f'{len(missing)} of {count} shards are missing in {folder}: '
            f'{", ".join(missing[:3])}{", ..." if len(missing) > 3 else ""}'
        )
    if set(found) - set(wanted):
        strange = sorted(set(found) - set(wanted))[0]
        raise PseudoMaskError(f'{folder / strange} is of no partition: delete it')
    return [folder / name for name in wanted]


def open_shard(path: Path, stage: str) -> tuple[dict[str, Any], Iterator[dict]]:
    """What a shard's first line says, and its records, see :func:`read_shard`.

    Raises:
        PseudoMaskError: It is missing, renamed or of another stage.
    """
    records = read_shard(path)
    facts = next(records, None)
    if facts is None:
        raise DamagedShardError(f'{path} is empty')
    if (facts['stage'], Part(*facts['shard']).file_name) != (stage, path.name):
        number, count = facts['shard']
        raise PseudoMaskError(
            f'{path} has a wrong name: it is shard {number}/{count} of {facts["stage"]}'
        )
    return facts, records


def open_stage(folder: Path, stage: str) -> tuple[dict[str, Any], Iterator[dict]]:
    """Setting and records of a finished stage, in the order of the images.

    Raises:
        PseudoMaskError: A shard is missing, renamed, of another stage, or (when its
            records are taken) damaged.
        JobError: Shards were made in different settings.
    """
    setting, shards = None, []
    for path in find_shards(folder):
        facts, records = open_shard(path, stage)
        setting = setting or facts['setting']
        remedy = 'This is not that of the shards before it: delete it, make it again'
        require_same(path, facts['setting'], setting, remedy)
        shards.append(records)
    return setting, interleave(shards)
