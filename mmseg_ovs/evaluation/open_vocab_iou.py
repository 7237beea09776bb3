"""mmseg's mean IoU, split into seen and unseen classes."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import all_gather_object
from mmengine.logging import MMLogger, print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from mmseg_ovs.structures import Vocabulary
from mmseg_ovs.structures.seen_names import seen_by_name
from mmseg_ovs.utils import OpenVocabError, replacing, some_of

_PER_CLASS = (
    *('label', 'class', 'IoU', 'accuracy'),
    *('intersection', 'predicted pixels', 'labelled pixels'),
)


@METRICS.register_module()
class OpenVocabIoUMetric(IoUMetric):
    """``IoUMetric``, with the same figures, plus means over parts of the vocabulary.

    With seen classes known, ``mIoU_seen``, ``mIoU_unseen`` and their harmonic mean
    ``hIoU`` are added (zero-label protocol of Xian et al., "Semantic Projection
    Network", CVPR 2019); with groups, ``mIoU_<group>``; with both, also
    ``mIoU_<group>_seen`` and ``mIoU_<group>_unseen``. As in mmseg, a class that is
    neither in the labels nor in the predictions is left out of every mean; the mean
    over nothing is nan.

    Args:
        ignore_index: label left out, at most 65535 and not a class.
        seen_classes: names of the classes met in training; overrides the data set's
            ``metainfo['seen_classes']``.
        seen_vocabulary: instead, a vocabulary met in training (name, file or list,
            see :meth:`Vocabulary.build`): classes it names are seen, see
            :func:`seen_by_name`.
        groups: name to class names, such as ``dict(things=[...], stuff=[...])``;
            overrides the data set's ``metainfo['groups']``. Groups may overlap and
            need not cover all classes.
        per_class_csv: file to write with a line for each class: label, name, IoU and
            accuracy in percent (empty where the class does not occur), and pixels of
            the intersection, the prediction and the label.
        **kwargs: see ``mmseg.evaluation.IoUMetric``.

    Raises:
        ValueError: a label is neither a class nor ``ignore_index``; ``ignore_index``
            is a class; a name is not in the vocabulary; a sample has no label, or one
            of another size than its prediction;
            ``output_dir`` with more than 255 classes, or for two images of one name;
            ``format_only`` without it; both kinds of seen classes.
    """

    def __init__(
        self,
        ignore_index: int = 255,
        seen_classes: Sequence[str] | None = None,
        seen_vocabulary: str | Sequence[str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        per_class_csv: str | os.PathLike | None = None,
        **kwargs,
    ) -> None:
        super().__init__(ignore_index=ignore_index, **kwargs)
        if self.format_only and not self.output_dir:
            raise ValueError(
                f'{type(self).__name__}: format_only without output_dir does nothing'
            )
        self._written: dict[str, str] = {}  # by file name, for output_dir
        if not 0 <= ignore_index <= 65535:
            raise ValueError(f'ignore_index must be in 0..65535, got {ignore_index}')
        if seen_classes and seen_vocabulary:
            raise ValueError('give seen_classes or seen_vocabulary, not both')
        self.seen_classes = seen_classes
        self.seen_vocabulary = seen_vocabulary
        if seen_vocabulary is not None:
            self._trained = Vocabulary.build(seen_vocabulary).rows
        self.groups = groups
        self.per_class_csv = per_class_csv

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Check the labels, then count as mmseg does."""
        if self.output_dir is not None and len(self.dataset_meta['classes']) > 255:
            raise ValueError(
                f'output_dir: mmseg writes predictions as 8-bit png, too small for '
                f'{len(self.dataset_meta["classes"])} classes; score without it'
            )
        if not self.format_only:
            for sample in data_samples:
                self._check_label(sample)
        if self.output_dir is not None:
            for sample in data_samples:
                self._check_name(sample['img_path'])
        super().process(data_batch, data_samples)

    def intersect_and_union(
        self, pred_label: Tensor, label: Tensor, num_classes: int, ignore_index: int
    ) -> tuple[Tensor, ...]:
        """Pixels of intersection, union, prediction and label of each class.

        The numbers of mmseg's histograms, counted as integers, which is faster. Takes
        label maps (H, W), gives four float tensors (num_classes,); called by
        ``process``.
        """
        # One bin more takes what is not counted: quicker than taking it out.
        known = label != ignore_index
        pairs = label.long() * 2 + (label == pred_label)
        pairs = pairs.where(known, 2 * num_classes).flatten()
        counts = torch.bincount(pairs, minlength=2 * num_classes + 1)
        misses, hits = counts[: 2 * num_classes].view(num_classes, 2).unbind(dim=1)
        pred = pred_label.long().where(known, num_classes).flatten()
        pred = torch.bincount(pred, minlength=num_classes)[:num_classes]
        # together, since a GPU waits for each
        hits, pred, true = torch.stack([hits, pred, misses + hits]).float().cpu()
        return hits, pred + true - hits, pred, true

    def compute_metrics(self, results: list) -> dict[str, float]:
        """mmseg's metrics and the means over parts, in percent."""
        metrics = super().compute_metrics(results)
        if self.format_only or 'mIoU' not in self.metrics:
            return metrics
        areas = [sum(column) for column in zip(*results, strict=True)]
        self._report_unlabelled(areas[-1])
        if self.per_class_csv is not None:
            self._write_classes(*areas)
        parts = self._parts()
        if not parts:
            return metrics
        iou = self.total_area_to_metrics(
            *areas, metrics=['mIoU'], nan_to_num=self.nan_to_num
        )['IoU']
        means = {
            f'mIoU_{name}': _percent_mean(iou[index]) for name, index in parts.items()
        }
        if 'seen' in parts:
            seen, unseen = means['mIoU_seen'], means['mIoU_unseen']
            total = seen + unseen
            means['hIoU'] = 2 * seen * unseen / total if total else 0.0
        # Two decimals, as mmseg reports.
        split = {name: float(np.round(value, 2)) for name, value in means.items()}
        self._log(split, parts, iou)
        metrics.update(split)
        return metrics

    def _write_classes(
        self, intersect: Tensor, union: Tensor, pred: Tensor, label: Tensor
    ) -> None:
        """Write ``per_class_csv`` from pixels (number of classes,)."""
        rows = zip(
            self.dataset_meta['classes'],
            100 * intersect / union,
            100 * intersect / label,
            *(intersect, pred, label),
            strict=True,
        )
        with (
            replacing(self.per_class_csv) as temporary,
            open(temporary, 'w', newline='', encoding='utf-8') as file,
        ):
            writer = csv.writer(file)
            writer.writerow(_PER_CLASS)
            for number, (name, iou, accuracy, *pixels) in enumerate(rows):
                shares = [f'{float(x):.4f}' if x == x else '' for x in (iou, accuracy)]
                writer.writerow([number, name, *shares, *map(int, pixels)])

    def _report_unlabelled(self, label_area: Tensor) -> None:
        """One line about the classes of which no pixel is labelled."""
        classes = self.dataset_meta['classes']
        empty = [c for c, area in zip(classes, label_area, strict=True) if not area]
        suspicious = len(empty) >= len(classes) - 1
        if not (empty or suspicious):
            return
        text = (
            f'{len(empty)} of {len(classes)} classes have no labelled pixel: '
            f'{some_of(empty, 10)}'
            if empty
            else f'{classes[0]} is the only class, so nothing can be confused with it'
        )
        if suspicious:
            text += (
                f'. {self.ignore_index} means "not labelled": if the files are masks '
                'of 0 and 255, write 1 in place of 255. Check reduce_zero_label, too: '
                'it makes 0 "not labelled" and 1 class 0'
            )
        # mmengine shows a warning once, however many metrics and validations repeat it.
        logger = MMLogger.get_current_instance()
        print_log(text, logger=logger, level=logging.WARNING)

    def _check_name(self, path: str) -> None:
        """mmseg names the files of ``output_dir`` by the image's name alone."""
        other = self._written.setdefault(Path(path).stem, path)
        if other != path:
            raise ValueError(
                f'{type(self).__name__}: {other} and {path} have one file in '
                'output_dir: write label maps with tools/test.py --out (or '
                'LabelMapsHook), which keep the folders of images'
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """As in mmengine; processes see different images, so names are compared."""
        for names in all_gather_object(self._written):
            for path in names.values():
                self._check_name(path)
        self._written = {}
        return super().evaluate(size)

    def _check_label(self, sample: dict) -> None:
        classes = self.dataset_meta['classes']
        path = sample.get('img_path', 'without img_path')
        where = f'{type(self).__name__}: sample {path}'
        if self.ignore_index < len(classes):
            raise ValueError(
                f'ignore_index={self.ignore_index} is class '
                f'{classes[self.ignore_index]!r} of this vocabulary of {len(classes)}: '
                'its pixels would not be scored; use a larger one (65535) in the data '
                'set and the metric'
            )
        if 'gt_sem_seg' not in sample:
            raise ValueError(
                f'{where} has no label to compare with: add LoadLabelMap (or '
                'LoadAnnotations) to the pipeline and seg_map_path to data_prefix, or '
                'only write predictions, with tools/test.py --out'
            )
        label = sample['gt_sem_seg']['data']
        shape = sample['pred_sem_seg']['data'].shape
        if label.shape != shape:
            raise ValueError(
                f'{where}: the label has {tuple(label.shape)} pixels, the prediction '
                f'{tuple(shape)}: is the label of another size than its image?'
            )
        outside = (label < 0) | ((label >= len(classes)) & (label != self.ignore_index))
        if outside.any():
            values = torch.unique(label[outside]).tolist()
            raise ValueError(
                f'{where}: label values {values[:5]} are neither one of the '
                f'{len(classes)} classes nor ignore_index={self.ignore_index}'
            )

    def _parts(self) -> dict[str, np.ndarray]:
        """Class indices of each part of the vocabulary that is reported."""
        classes = list(self.dataset_meta['classes'])
        groups = self.groups or self.dataset_meta.get('groups') or {}
        seen_names = self._seen_names(classes)
        parts = {
            name: _indices(names, classes, f'group {name!r}')
            for name, names in groups.items()
        }
        if seen_names is not None:
            seen = _indices(seen_names, classes, 'seen_classes')
            unseen = np.setdiff1d(np.arange(len(classes)), seen)
            for name, index in list(parts.items()):
                parts[f'{name}_seen'] = np.intersect1d(index, seen)
                parts[f'{name}_unseen'] = np.intersect1d(index, unseen)
            parts.update(seen=seen, unseen=unseen)
        return parts

    def _seen_names(self, classes: list[str]) -> Sequence[str] | None:
        if self.seen_vocabulary is not None:
            return seen_by_name(classes, self._trained)
        return self.seen_classes or self.dataset_meta.get('seen_classes') or None

    @staticmethod
    def _log(split: dict, parts: dict[str, np.ndarray], iou: np.ndarray) -> None:
        table = PrettyTable(['classes', 'number', 'in the mean', 'mIoU'])
        for name, index in parts.items():
            scored = int(np.isfinite(iou[index]).sum())
            table.add_row([name, len(index), scored, split[f'mIoU_{name}']])
        logger = MMLogger.get_current_instance()
        print_log('parts of the vocabulary:\n' + table.get_string(), logger=logger)


def _indices(names: Sequence[str], classes: list[str], what: str) -> np.ndarray:
    """Sorted labels of the named classes."""
    unknown = sorted(set(names) - set(classes))
    if unknown:
        raise OpenVocabError(
            f'{what} names classes that the data set lacks: {unknown[:5]}'
        )
    return np.array(sorted({classes.index(name) for name in names}), dtype=np.int64)


def _percent_mean(values: np.ndarray) -> float:
    """Mean of the values that are numbers, in percent."""
    values = values[np.isfinite(values)]
    return float(values.mean() * 100) if values.size else float('nan')
