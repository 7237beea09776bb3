"""What every data set of this package adds to mmseg's ``BaseSegDataset``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mmengine import fileio
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmseg_ovs.utils import IMAGE_SUFFIXES, OpenVocabError, some_of

from .sample_errors import NamesFailingSample


class EmptyDataError(OpenVocabError):
    """A data set without images."""


@DATASETS.register_module()
class OpenVocabSegDataset(NamesFailingSample, BaseSegDataset):
    """``BaseSegDataset`` whose samples tell the loader how to read their labels.

    Every sample carries ``num_classes`` and ``ignore_index``, so that
    :class:`LoadLabelMap` needs no arguments. Classes which a subset in
    ``metainfo['classes']`` leaves out are sent to ``ignore_index``; mmseg writes
    255 there, which is a real class when there are more than 255 of them.

    ``metainfo`` may carry ``seen_classes`` (names of the classes met in training)
    and ``groups`` (name to list of class names) for :class:`OpenVocabIoUMetric`.

    Args:
        *args, **kwargs: See ``mmseg.datasets.BaseSegDataset``.
        hidden_classes: Names to train without, to see how a model does on names that it
            never met. Their pixels become ``ignore_index`` and the vocabulary loses
            them; ``metainfo['hidden_classes']``, which checkpoints store, names them.

    Raises:
        OpenVocabError: A hidden class is none of the classes, or no class is left.
    """

    def __init__(
        self, *args, hidden_classes: str | Sequence[str] = (), **kwargs
    ) -> None:
        super().__init__(*args, **kwargs)
        # A command line cannot write a list of one.
        hidden = {hidden_classes} if isinstance(hidden_classes, str) else hidden_classes
        self._in_files = self._metainfo.get('classes')
        if self.label_map is not None:
            self._in_files = self.METAINFO['classes']
        if hidden:
            self._hide(set(hidden))

    def _hide(self, hidden: set[str]) -> None:
        meta = self._metainfo
        classes = list(meta.get('classes') or ())
        if unknown := sorted(hidden.difference(classes)):
            raise OpenVocabError(
                f'hidden_classes names classes that {type(self).__name__} lacks: '
                f'{some_of(unknown)}. It has {some_of(classes, 10)}'
            )
        kept = [i for i, name in enumerate(classes) if name not in hidden]
        if not kept:
            raise OpenVocabError('hidden_classes hides every class: leave some')
        for name in ('classes', 'palette'):
            meta[name] = type(meta[name])(meta[name][i] for i in kept)
        if meta.get('seen_classes'):
            meta['seen_classes'] = _without(meta['seen_classes'], hidden)
        if groups := meta.get('groups'):
            meta['groups'] = {k: _without(v, hidden) for k, v in groups.items()}
        meta['hidden_classes'] = [name for name in classes if name in hidden]
        self.label_map = meta['label_map'] = self._file_label_map()

    def _file_label_map(self) -> dict[int, int]:
        """Label of a file to class; what was left out becomes ``ignore_index``."""
        kept = {name: i for i, name in enumerate(self._metainfo['classes'])}
        return {
            i: kept.get(name, self.ignore_index)
            for i, name in enumerate(self._in_files)
        }

    def _join_prefix(self) -> None:
        # mmengine refuses seg_map_path=None, which means that there are no labels.
        given = self.data_prefix.items()
        self.data_prefix = {k: v for k, v in given if v is not None}
        super()._join_prefix()

    def load_data_list(self) -> list[dict]:
        """One record an image; ``.JPG`` is an image of ``img_suffix='.jpg'``.

        Other images in the folder are counted in a warning.

        Raises:
            EmptyDataError: There are no images.
            OpenVocabError: ``img_suffix`` is not a text.
        """
        if not isinstance(self.img_suffix, str):
            raise OpenVocabError(
                f"img_suffix is one suffix such as '.jpg', not {self.img_suffix!r}: "
                'put a data set for each suffix into a ConcatDataset'
            )
        folder = self.data_prefix.get('img_path') or ''
        if self.ann_file and not Path(self.ann_file).is_dir():
            records = super().load_data_list()
            if not records:
                raise EmptyDataError(f'{self.ann_file} lists no images')
            return records
        names = sorted(
            fileio.list_dir_or_file(
                folder,
                list_dir=False,
                recursive=True,
                backend_args=self.backend_args,
            )
        )
        given, records = self.img_suffix, []
        for ending in {name[len(name) - len(given) :] for name in names}:
            if ending.lower() == given.lower():
                self.img_suffix = ending  # mmseg compares letter by letter
                records += super().load_data_list()
        self.img_suffix = given
        self._name_others(folder, names, records)
        return sorted(records, key=lambda record: record['img_path'])

    def _name_others(self, folder: str, names: list[str], records: list[dict]) -> None:
        ending = self.img_suffix.lower()
        images = [n for n in names if Path(n).suffix.lower() in IMAGE_SUFFIXES]
        if self.data_prefix.get('seg_map_path') == folder:
            images = [n for n in images if not n.endswith(self.seg_map_suffix)]
        others = [name for name in images if not name.lower().endswith(ending)]
        if not records:
            kinds = sorted({Path(name).suffix for name in names})
            raise EmptyDataError(
                f'There are no images with img_suffix={self.img_suffix!r} in '
                f'{folder}, whose files end in: {", ".join(kinds) or "(it is empty)"}'
            )
        # mmengine does not list links to files that are gone.
        links = [p for p in Path(folder).rglob('*') if p.is_symlink()]
        gone = [p.name for p in links if not p.exists()]
        for count, text in (
            (
                len(others),
                f'{len(others)} of {len(images)} images are left out, since they do '
                f'not end in img_suffix={self.img_suffix!r}: {some_of(others)}',
            ),
            (len(gone), f'{len(gone)} links lead nowhere: {some_of(gone)}'),
        ):
            if count:
                print_log(f'{folder}: {text}', logger='current', level=logging.WARNING)

    def get_data_info(self, idx: int) -> dict:
        """One sample's record, with ``num_classes`` and ``ignore_index``."""
        info = super().get_data_info(idx)
        info['num_classes'] = len(self.metainfo['classes'])
        info['ignore_index'] = self.ignore_index
        if self.label_map is not None:
            info['label_map'] = self._file_label_map()
        return info


def _without(names: Sequence[str], hidden: set[str]) -> list[str]:
    return [name for name in names if name not in hidden]
