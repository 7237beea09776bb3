"""One run of a converter: restartable, checked, and honest about what is missing.

Beside the label maps of split S of data set D are ``D_S.sha256`` (for
``sha256sum -c``) and ``D_S.json``, which says what was made, from what, and what is
missing. Both are the same however often a run was interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.utils import ProgressBar
from PIL import Image

from mmseg_ovs.jobs import (
    JobError,
    alone,
    read_json,
    require_same,
    run_all,
    sha256,
    write_json,
)
from mmseg_ovs.utils import remove_leftovers, write_whole

from .label_files import count_labels, encode_labels


class ConversionError(JobError):
    """A data set that cannot be converted; the message says why and how to fix it."""


class Converted(NamedTuple):
    """What a converter makes of an image.

    Args:
        labels: (H, W), integers.
        image: The image's file, where the converter makes a new one.
    """

    labels: np.ndarray
    image: bytes | None = None


@dataclass(frozen=True)
class Sample:
    """An image, its label map to be made, and what that is made from.

    Args:
        name: Its name without suffix.
        image: The image that the label map belongs to.
        labels: The label map.
        source: Whatever the converter needs.
        makes_image: ``image`` is made by the converter as well.
    """

    name: str
    image: Path
    labels: Path
    source: Any
    makes_image: bool = False

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files that are made."""
        return (self.image, self.labels) if self.makes_image else (self.labels,)


@dataclass(frozen=True)
class Conversion:
    """A split of a data set, planned.

    Args:
        name: Name of data set and split, of which the report's file names are made.
        root: Folder of the report; all outputs are below it.
        num_classes: Number of classes N.
        ignore_index: Label of unlabelled pixels.
        expected: Images that the published split has.
        setting: What else the label maps depend on (not the sources), as JSON.
        samples: Those whose sources are there.
        missing: The others: name and what is missing.
        convert: From ``Sample`` to :class:`Converted`, importable by its name.
        list_file: Where the names of the converted images are listed, if anywhere.
    """

    name: str
    root: Path
    num_classes: int
    ignore_index: int
    expected: int
    setting: dict[str, Any]
    samples: Sequence[Sample]
    missing: Mapping[str, str]
    convert: Callable[[Sample], Converted]
    list_file: Path | None = None


@dataclass
class Report:
    """How a run ended.

    Args:
        name: As in :class:`Conversion`.
        expected: Images that the published split has.
        converted: Images whose label maps are there and checked.
        made: How many of them this run made.
        missing: Images without source: name and what is missing.
        failed: Images whose source is broken: name and reason.
        pixels: Pixels of each class and, last, unlabelled ones.
    """

    name: str
    expected: int
    converted: int = 0
    made: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    pixels: list[int] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Everything that the published split has is there."""
        return not (self.missing or self.failed) and self.converted == self.expected

    def __str__(self) -> str:
        *classes, unlabelled = self.pixels
        total = max(sum(self.pixels), 1)
        lines = [
            f'{self.name}: {self.converted} of {self.expected} images '
            f'({self.made} made now), {sum(map(bool, classes))} of {len(classes)} '
            f'classes occur, {unlabelled / total:.1%} of the pixels are unlabelled'
        ]
        for what, names in (('missing', self.missing), ('failed', self.failed)):
            if names:
                lines.append(f'  {len(names)} {what}:')
            lines += [f'    {name}: {names[name]}' for name in sorted(names)[:10]]
            if len(names) > 10:
                lines.append(f'    ... all are listed in {self.name}.json')
        unnamed = self.expected - self.converted - len(self.missing) - len(self.failed)
        if unnamed > 0:
            lines.append(
                f'  {unnamed} more belong to the published split; nothing of them is '
                'here'
            )
        if unnamed < 0:
            lines.append(f'  {-unnamed} more than the published split has')
        return '\n'.join(lines)


class _Made(NamedTuple):
    name: str
    digests: dict[str, str]
    pixels: np.ndarray | None
    made: bool
    error: str | None = None


def run(conversion: Conversion, workers: int = 1) -> Report:
    """Make what is missing or damaged, check everything, write list and report.

    Args:
        conversion: What to do.
        workers: Processes.

    Raises:
        JobError: Nothing to convert; there are label maps of another setting or origin;
            another process is at work; a worker was killed.
        OSError: Files cannot be written.
    """
    if not conversion.samples:
        reasons = sorted(conversion.missing.items())[:3]
        raise ConversionError(
            f'{conversion.name}: there is nothing to convert in {conversion.root}. '
            + '; '.join(f'{name}: {why}' for name, why in reasons)
        )
    with alone(conversion.root, conversion.name):
        return _run(conversion, workers)


def _run(conversion: Conversion, workers: int) -> Report:
    report_file = conversion.root / f'{conversion.name}.json'
    list_file = conversion.root / f'{conversion.name}.sha256'
    _claim(conversion, report_file)
    _remove_leftovers(conversion)
    known = _read_digests(list_file)

    report = Report(
        conversion.name, conversion.expected, missing=dict(conversion.missing)
    )
    pixels = np.zeros(conversion.num_classes + 1, dtype=np.int64)
    digests: dict[str, str] = {}
    names = []
    bar = ProgressBar(len(conversion.samples), file=sys.stderr)
    for made in _make_all(conversion, known, workers):
        bar.update()
        if made.error is not None:
            report.failed[made.name] = made.error
            continue
        names.append(made.name)
        digests.update(made.digests)
        pixels += made.pixels
        report.made += made.made
    bar.file.write('\n')
    report.converted = len(names)
    report.pixels = pixels.tolist()

    if conversion.list_file is not None:
        write_whole(conversion.list_file, ''.join(f'{name}\n' for name in names))
    lines = (f'{digest}  {name}\n' for name, digest in sorted(digests.items()))
    write_whole(list_file, ''.join(lines))
    _write_report(conversion, report_file, report)
    return report


def _claim(conversion: Conversion, report_file: Path) -> None:
    """Note whose label maps these are, before the first is made.

    Raises:
        JobError: They are of another setting, or not of this tool.
    """
    report = read_json(report_file, ['setting'])
    if report is not None:
        require_same(
            f'{conversion.name} in {conversion.root}',
            report['setting'],
            conversion.setting,
            f'Delete its label maps and {report_file}',
        )
        return
    foreign = [p.labels for p in conversion.samples if p.labels.exists()]
    if foreign:
        raise ConversionError(
            f'{len(foreign)} label maps are there that this tool has not made, '
            f'such as {foreign[0]}: use them as they are, or move them away'
        )
    _write_report(conversion, report_file, None)


def _write_report(conversion: Conversion, path: Path, report: Report | None) -> None:
    content: dict[str, Any] = dict(
        setting=conversion.setting,
        num_classes=conversion.num_classes,
        ignore_index=conversion.ignore_index,
        expected=conversion.expected,
        complete=report is not None and report.complete,
    )
    if report is not None:
        *classes, unlabelled = report.pixels
        content.update(
            converted=report.converted,
            missing=dict(sorted(report.missing.items())),
            failed=dict(sorted(report.failed.items())),
            pixels=classes,
            unlabelled_pixels=unlabelled,
        )
    write_json(path, content)


def _remove_leftovers(conversion: Conversion) -> None:
    """Delete what a killed run had not finished."""
    folders = {path.parent for p in conversion.samples for path in p.outputs}
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    remove_leftovers(conversion.root, conversion.name)
    if conversion.list_file is not None and conversion.list_file.parent.is_dir():
        remove_leftovers(conversion.list_file.parent, conversion.list_file.stem)


def _read_digests(path: Path) -> dict[str, str]:
    """SHA-256 by relative path, of a finished run."""
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split('  ', 1) for line in lines)
    return {name: digest for digest, name in pairs}


def _make_all(
    conversion: Conversion, known: Mapping[str, str], workers: int
) -> Iterator[_Made]:
    """Results in the order of the images."""
    make = partial(
        _make,
        conversion.convert,
        conversion.root,
        conversion.num_classes,
        conversion.ignore_index,
    )
    tasks = [
        (sample, [known.get(_relative(p, conversion.root)) for p in sample.outputs])
        for sample in conversion.samples
    ]
    return run_all(make, tasks, workers)


def _make(
    convert: Callable[[Sample], Converted],
    root: Path,
    num_classes: int,
    ignore_index: int,
    task: tuple[Sample, list[str | None]],
) -> _Made:
    """Keep an image's outputs if they are intact, else make them."""
    sample, known = task
    check = partial(_check, sample, root, num_classes, ignore_index)
    if all(path.is_file() for path in sample.outputs):
        try:
            digests, pixels = check()
        except ValueError:
            pass  # damaged: made again
        else:
            pairs = zip(digests.values(), known, strict=True)
            if all(then in (None, now) for now, then in pairs):
                return _Made(sample.name, digests, pixels, made=False)
    try:
        labels, image = convert(sample)
        content = encode_labels(labels, num_classes)
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'
        return _Made(sample.name, {}, None, made=False, error=reason)
    # Not within the try: a full disk is no fault of the image.
    if image is not None:
        write_whole(sample.image, image)
    write_whole(sample.labels, content)
    try:
        digests, pixels = check()
    except ValueError as error:
        # No data set may find wrong label maps.
        sample.labels.unlink()
        return _Made(sample.name, {}, None, made=False, error=str(error))
    return _Made(sample.name, digests, pixels, made=True)


def _check(
    sample: Sample, root: Path, num_classes: int, ignore_index: int
) -> tuple[dict[str, str], np.ndarray]:
    """SHA-256 of each output by relative path, and the pixels of each class.

    Raises:
        ValueError: Image or label map is not as it should be.
    """
    contents = {path: path.read_bytes() for path in sample.outputs}
    try:
        with Image.open(sample.image) as image:
            size = image.size
            if sample.makes_image:
                image.load()
    except Exception as error:  # what decoders make of damaged files
        raise ValueError(f'the image cannot be read: {error}') from error
    pixels = count_labels(contents[sample.labels], num_classes, ignore_index, size)
    digests = {
        _relative(path, root): sha256(content) for path, content in contents.items()
    }
    return digests, pixels


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
