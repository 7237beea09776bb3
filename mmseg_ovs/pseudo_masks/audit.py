"""How good pseudo-masks are, where COCO's labels are known too.

Masks of nouns are compared with the labels of the classes that the nouns name; nouns of
other things, and images without labels, are left out. Crowds count neither as hit nor
as miss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmseg_ovs.datasets.noun_masks import check_instance, read_instances, read_score
from mmseg_ovs.utils.rle import check_mask

from .class_words import classes_of
from .errors import PseudoMaskError
from .label_masks import LabelMasks, Rle, common, union


class NounMask(NamedTuple):
    """A pseudo-mask."""

    noun: str
    score: float
    mask: Rle


class Pair(NamedTuple):
    """A pseudo-mask and the label of what its noun names; areas in pixels."""

    image: str
    noun: str
    score: float
    both: int
    mask: int
    label: int


@dataclass
class Coverage:
    """How much of a class is found.

    Attributes:
        label: Its labelled pixels.
        images: Images in which it is labelled.
        missed: Those of them where no mask meets it.
        found: Scores and the pixels of it that the masks of that score are the first to
            cover.
    """

    label: int = 0
    images: int = 0
    missed: int = 0
    found: list[tuple[float, int]] = field(default_factory=list)


class Audit:
    """Compares a file of pseudo-masks with labels.

    Args:
        file: What the merge stage has written.
        labels: The labels.
        own: See :func:`classes_of`.

    Attributes:
        masks: Masks of each image by its file name.
        classes: Classes that each noun names.
        pairs: What was compared.
        coverage: Of each class that some noun names.
        unmatched: Masks of each noun that names no class.

    Raises:
        PseudoMaskError: The file is not of this format or without scores, an image has
            another size in the labels, or there is nothing to compare.
    """

    def __init__(
        self,
        file: Path,
        labels: LabelMasks,
        own: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.labels = labels
        self.masks, sizes = _read_masks(file)
        nouns = sorted({m.noun for own in self.masks.values() for m in own})
        try:
            self.classes = classes_of(nouns, labels.names, own)
        except ValueError as error:
            raise PseudoMaskError(str(error)) from error
        self.images = [name for name in self.masks if name in labels.sizes]
        self.pairs: list[Pair] = []
        self.coverage: dict[str, Coverage] = {}
        self.unmatched: Counter[str] = Counter()
        for image in self.images:
            if sizes[image] != labels.sizes[image]:
                raise PseudoMaskError(
                    f'{image} is {sizes[image]} in {file} and {labels.sizes[image]} in '
                    'the labels (height, width): they are of different images'
                )
            self._compare(image)
        if not self.pairs:
            raise PseudoMaskError(
                f'nothing of {file} can be compared: {len(self.images)} of its '
                f'{len(self.masks)} images are in the labels, and '
                f'{len(self.classes)} of {len(nouns)} nouns name one of their classes'
            )

    def _compare(self, image: str) -> None:
        labelled = self.labels.labelled(image)
        of_class: dict[str, list[NounMask]] = {
            name: [] for names in self.classes.values() for name in names
        }
        for mask in self.masks[image]:
            names = self.classes.get(mask.noun)
            if not names:
                self.unmatched[mask.noun] += 1
                continue
            for name in names:
                of_class[name].append(mask)
            if not labelled.issuperset(names):
                continue
            label = self.labels.mask(image, names)
            crowd = self.labels.crowd(image, names)
            area = common(mask.mask) - common(mask.mask, crowd)
            if area:
                both = common(mask.mask, label) - common(mask.mask, label, crowd)
                size = common(label) - common(label, crowd)
                self.pairs.append(Pair(image, mask.noun, mask.score, both, area, size))
        for name in labelled & of_class.keys():
            label = self.labels.mask(image, [name])
            if common(label):  # a polygon may be too small for a pixel
                self._cover(name, label, of_class[name])

    def _cover(self, name: str, label: Rle, masks: list[NounMask]) -> None:
        coverage = self.coverage.setdefault(name, Coverage())
        coverage.images += 1
        coverage.label += common(label)
        seen, before = None, 0
        for mask in sorted(masks, key=lambda m: -m.score):
            seen = union([m for m in (seen, mask.mask) if m is not None])
            now = common(seen, label)
            coverage.found.append((mask.score, now - before))
            before = now
        coverage.missed += not before

    def by_score(self, bins: Sequence[float]) -> list[dict[str, Any]]:
        """Quality of the masks of each bin of scores, and of all from it on.

        Args:
            bins: Lower bounds, ascending.
        """
        label = sum(c.label for c in self.coverage.values())
        found = np.array(
            [f for c in self.coverage.values() for f in c.found] or [(0, 0)]
        )
        rows = []
        for low, high in zip(bins, [*bins[1:], np.inf], strict=True):
            kept = [pair for pair in self.pairs if pair.score >= low]
            own = [pair for pair in kept if pair.score < high]
            covered = found[found[:, 0] >= low, 1].sum() / label if label else np.nan
            kept = quality(kept)
            kept.pop('recall')  # of a part of the labels; coverage is of all
            kept = {f'kept_{key}': value for key, value in kept.items()}
            rows.append(
                dict(score=low, **quality(own), **kept, kept_coverage=float(covered))
            )
        return rows

    def by_noun(self) -> list[dict[str, Any]]:
        """Quality of the masks of each noun, the most frequent first."""
        pairs: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            pairs.setdefault(pair.noun, []).append(pair)
        return [
            dict(
                noun=noun,
                classes=', '.join(self.classes[noun]),
                **quality(own),
                score=float(np.mean([pair.score for pair in own])),
            )
            for noun, own in sorted(pairs.items(), key=lambda item: -len(item[1]))
        ]

    def by_class(self) -> list[dict[str, Any]]:
        """How much of each class is found, the most frequent first."""
        nouns: dict[str, list[str]] = {}
        for noun, names in self.classes.items():
            for name in names:
                nouns.setdefault(name, []).append(noun)
        return [
            {
                'class': name,
                'nouns': ', '.join(nouns[name]),
                'images': own.images,
                'missed': own.missed / own.images,
                'coverage': sum(pixels for _, pixels in own.found) / own.label,
            }
            for name, own in sorted(self.coverage.items(), key=lambda i: -i[1].images)
        ]

    def worst_images(self) -> list[str]:
        """Images with compared masks, that of the lowest mean IoU first."""
        ious: dict[str, list[float]] = {}
        for pair in self.pairs:
            ious.setdefault(pair.image, []).append(iou(pair))
        return sorted(ious, key=lambda image: (np.mean(ious[image]), image))


def iou(pair: Pair) -> float:
    """Intersection over union of a pseudo-mask and its label."""
    return pair.both / (pair.mask + pair.label - pair.both)


def quality(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Numbers of some masks.

    Returns:
        ``masks``; ``wrong``, the share of those whose class is not in the image;
        ``iou``, mean over the masks; ``precision`` and ``recall``, of the pixels of
        all.
    """
    if not pairs:
        keys = ('wrong', 'iou', 'precision', 'recall')
        return dict(masks=0, **dict.fromkeys(keys, float('nan')))
    both, mask, label = (sum(column) for column in list(zip(*pairs, strict=True))[3:])
    return dict(
        masks=len(pairs),
        wrong=sum(not pair.label for pair in pairs) / len(pairs),
        iou=float(np.mean([iou(pair) for pair in pairs])),
        precision=both / mask,
        recall=both / label if label else float('nan'),
    )


def _read_masks(
    file: Path,
) -> tuple[dict[str, list[NounMask]], dict[str, tuple[int, int]]]:
    """Masks of each image by file name, and the sizes of the images."""
    try:
        images, names, annotations = read_instances(str(file))
        masks = {image['file_name']: [] for image in images.values()}
        for number, annotation in enumerate(annotations):
            image_id, category, counts = check_instance(
                str(file), number, annotation, images, names
            )
            image = images[image_id]
            size = (image['height'], image['width'])
            try:
                check_mask(counts, size)
            except ValueError as error:
                raise ValueError(f'{file}, annotation {number}: {error}') from error
            score = read_score(str(file), number, annotation)
            mask = dict(size=list(size), counts=counts.encode('ascii'))
            masks[image['file_name']].append(NounMask(names[category], score, mask))
    except (OSError, ValueError) as error:
        raise PseudoMaskError(str(error)) from error
    sizes = {i['file_name']: (i['height'], i['width']) for i in images.values()}
    return masks, sizes
