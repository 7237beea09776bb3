"""The vocabulary of a segmentation: class names, their synonyms and the background."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmseg_ovs.jobs import sha256
from mmseg_ovs.utils import OpenVocabError, is_number, write_whole

# Labels are kept in 16 bits and the last value, 65535, means "ignore".
MAX_CLASSES = 65535
_NAMED_DIR = Path(__file__).parent / 'vocabularies'
# What older files call them.
_OLD_KEYS = {
    'prompts': 'synonyms',
    'background': 'background_label',
    'threshold': 'background_score',
}
_FILE_KEYS = {
    *('classes', 'synonyms', 'background_label', 'background_score'),
    *('name', 'source', 'licence', 'note'),
}
_BUILD_KEYS = {'source', 'synonyms', 'background'}


class VocabularyError(OpenVocabError):
    """A vocabulary that cannot be used; the message says why and where."""


@dataclass(frozen=True)
class Vocabulary:
    """Class names with their synonyms; immutable and hashable.

    Every name given to the text encoder is a *row*; the rows of a class (its
    synonyms) are neighbours, and the score of a class is the highest of its rows.

    Args:
        classes: Display name of each label, all different.
        synonyms: Names given to the text encoder for each label. They are ``()`` for a
            background with a constant score.
        background_label: Label of the background class, if the vocabulary has one.
        background_score: Constant score of the background class. None: it is the best
            of its synonyms, as for any other class.

    Raises:
        VocabularyError: If there are no classes or too many, a name is blank, not a
            string or there twice, or the background does not fit.
    """

    classes: tuple[str, ...]
    synonyms: tuple[tuple[str, ...], ...]
    background_label: int | None = None
    background_score: float | None = None

    def __post_init__(self) -> None:
        classes = _names(self.classes, 'class')
        if not classes:
            raise VocabularyError('The vocabulary is empty: name at least one class.')
        if len(classes) > MAX_CLASSES:
            raise VocabularyError(
                f'{len(classes)} classes are more than the {MAX_CLASSES} labels '
                'that 16 bits hold (65535 means "ignore").'
            )
        if len(self.synonyms) != len(classes):
            raise VocabularyError(
                f'There are {len(classes)} classes but synonyms for '
                f'{len(self.synonyms)}: give one list of names for each class.'
            )
        synonyms = tuple(
            _names(names, f'synonym of class {label} ({name!r})')
            for label, (name, names) in enumerate(
                zip(classes, self.synonyms, strict=True)
            )
        )
        object.__setattr__(self, 'classes', classes)
        object.__setattr__(self, 'synonyms', synonyms)
        self._check_background()

    def _check_background(self) -> None:
        label, score = self.background_label, self.background_score
        if label is not None and not (
            type(label) is int and 0 <= label < self.num_classes
        ):
            raise VocabularyError(
                f'The background label {label!r} is out of range: the vocabulary has '
                f'the labels 0 to {self.num_classes - 1}.'
            )
        if score is not None:
            if label is None:
                raise VocabularyError('A background score needs the background label.')
            if not is_number(score):
                raise VocabularyError(
                    f'The background score must be a finite number, not {score!r}.'
                )
            object.__setattr__(self, 'background_score', float(score))
        scored = label if score is not None else None
        for i, names in enumerate(self.synonyms):
            if i == scored and names:
                raise VocabularyError(
                    f'Class {i} ({self.classes[i]!r}) is a background with a constant '
                    f'score and cannot have synonyms as well: {list(names)}.'
                )
            if i != scored and not names:
                raise VocabularyError(
                    f'Class {i} ({self.classes[i]!r}) has no synonym to compare.'
                )
        if not self.rows:
            raise VocabularyError('The vocabulary has only the background class.')

    # ------------------------------------------------------------------ rows
    @property
    def num_classes(self) -> int:
        """Number of labels N, the background included."""
        return len(self.classes)

    @property
    def background_class(self) -> int | None:
        """The background's label: the marked one, else that of a class of this name."""
        if self.background_label is None and 'background' in self.classes:
            return self.classes.index('background')
        return self.background_label

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The R names for the text encoder, class after class."""
        return tuple(name for names in self.synonyms for name in names)

    @cached_property
    def row_to_class(self) -> Tensor:
        """LongTensor (R,): the label of each row."""
        counts = torch.tensor([len(names) for names in self.synonyms])
        return torch.arange(self.num_classes).repeat_interleave(counts)

    def reduce(self, row_scores: Tensor) -> Tensor:
        """Turn scores of rows into scores of classes.

        Args:
            row_scores: (B, R, h, w) scores of all rows.

        Returns:
            (B, N, h, w): the maximum over the synonyms of each class, and the
            constant plane of a background with a score at its label. With one row per
            class this is ``row_scores`` itself, not a copy.
        """
        sizes = [len(names) for names in self.synonyms]
        if row_scores.shape[1] != sum(sizes):
            raise ValueError(
                f'Scores of {row_scores.shape[1]} rows were given, but the '
                f'{len(sizes)} classes have {sum(sizes)} rows.'
            )
        if all(size == 1 for size in sizes):
            return row_scores
        pieces, start, row = [], 0, 0  # rows start..row are waiting to be copied as is
        for size in sizes:
            if size != 1:
                pieces.append(row_scores[:, start:row])
                if size == 0:
                    shape = (row_scores.shape[0], 1, *row_scores.shape[2:])
                    pieces.append(row_scores.new_full(shape, self.background_score))
                else:
                    synonyms = row_scores[:, row : row + size]
                    pieces.append(synonyms.amax(dim=1, keepdim=True))
                start = row + size
            row += size
        pieces.append(row_scores[:, start:row])
        return torch.cat([piece for piece in pieces if piece.shape[1]], dim=1)

    # ----------------------------------------------------------------- files
    def to_dict(self) -> dict[str, Any]:
        """The vocabulary in the form of its JSON files."""
        data: dict[str, Any] = {'classes': list(self.classes)}
        if self.synonyms != tuple((name,) for name in self.classes):
            data['synonyms'] = [list(names) for names in self.synonyms]
        if self.background_label is not None:
            data['background_label'] = self.background_label
        if self.background_score is not None:
            data['background_score'] = self.background_score
        return data

    def to_json(self, path: str | os.PathLike) -> None:
        """Write a JSON file that :meth:`build` reads back as an equal vocabulary."""
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=1) + '\n'
        write_whole(path, text)

    def fingerprint(self) -> str:
        """16 hexadecimal digits that name this vocabulary, equal on every machine.

        Published protocols hold them, so they are made with the older names of keys.
        """
        old = {key: older for older, key in _OLD_KEYS.items()}
        data = {old.get(key, key): value for key, value in self.to_dict().items()}
        return sha256(json.dumps(data, sort_keys=True))[:16]

    # ---------------------------------------------------------- constructors
    @staticmethod
    def named() -> tuple[str, ...]:
        """The names of the vocabularies that the package carries."""
        return tuple(sorted(path.stem for path in _NAMED_DIR.glob('*.json')))

    @classmethod
    def is_source(cls, text: str) -> bool:
        """Whether a text names a vocabulary or a file, or looks as if it should."""
        return text.endswith(('.json', '.txt')) or bool(
            difflib.get_close_matches(text, cls.named(), n=1, cutoff=0.75)
        )

    @classmethod
    def from_metainfo(cls, metainfo: Mapping[str, Any]) -> Vocabulary:
        """The vocabulary of a data set: its ``metainfo['classes']``."""
        if metainfo.get('classes') is None:
            raise VocabularyError(
                "The data set names no classes in its metainfo: set metainfo['classes']"
                ' or give a vocabulary.'
            )
        return cls.build(metainfo['classes'])

    @classmethod
    def build(cls, cfg: Any) -> Vocabulary:
        """Make a vocabulary from whatever names one.

        Args:
            cfg: One of

                - a :class:`Vocabulary`;
                - a list or tuple with an entry for each class: a string, which is the
                  display name and whose commas separate synonyms (``'building,
                  edifice'``), or a list of synonyms, taken as they are and displayed by
                  the first;
                - the name of a vocabulary of the package (:meth:`named`);
                - the path of a ``.json`` file (such a list, or an object like
                  :meth:`to_dict`'s) or of a ``.txt`` file (one class per line, commas
                  between synonyms: the format of SCLIP's ``cls_*.txt``);
                - a dict like :meth:`to_dict`'s;
                - ``dict(source=<any of these>, synonyms='all', background=None)``.

                ``synonyms='first'`` keeps one name per class (except for the background
                class). ``background`` is a rule: None (leave the source as it is),
                ``dict(type='threshold', value=0.55)`` (a constant score),
                ``dict(type='names', names=[...])`` (the best of these names) or
                ``dict(type='class')`` (a class of the source, with its own synonyms).
                The class called ``name`` (default ``'background'``) becomes the
                background; if the source lacks it, it is inserted at ``label``
                (default 0), except for ``type='class'``.

        Raises:
            VocabularyError: If it does not describe a usable vocabulary.
        """
        if isinstance(cfg, Vocabulary):
            return cfg
        if isinstance(cfg, str | os.PathLike):
            return cls._from_name_or_path(cfg)
        if isinstance(cfg, Mapping):
            if 'classes' in cfg:
                return cls._from_dict(cfg)
            return cls._from_recipe(cfg)
        if isinstance(cfg, Sequence):
            return cls._from_list(cfg)
        raise VocabularyError(
            f'Cannot make a vocabulary from {type(cfg).__name__} {cfg!r}: give a list '
            'of class names, the name of a vocabulary, a .json or .txt file or a dict.'
        )

    @classmethod
    def _from_list(cls, entries: Sequence) -> Vocabulary:
        classes, synonyms = [], []
        for label, entry in enumerate(entries):
            if isinstance(entry, str):
                classes.append(entry)
                synonyms.append(entry.split(','))
            elif isinstance(entry, list | tuple) and entry:
                classes.append(entry[0])
                synonyms.append(entry)
            else:
                raise VocabularyError(
                    f'Class {label} must be a string or a list of synonyms, not '
                    f'{entry!r}.'
                )
        return cls(tuple(classes), tuple(synonyms))

    @classmethod
    def _from_name_or_path(cls, source: str | os.PathLike) -> Vocabulary:
        text = os.fspath(source)
        if text in cls.named():
            return cls._from_file(_NAMED_DIR / f'{text}.json')
        if text.endswith(('.json', '.txt')):
            return cls._from_file(Path(text).expanduser())
        close = difflib.get_close_matches(text, cls.named(), n=3, cutoff=0.5)
        hint = f' Did you mean {" or ".join(map(repr, close))}?' if close else ''
        raise VocabularyError(
            f'Unknown vocabulary {text!r}.{hint} Known are {", ".join(cls.named())}; a '
            'file must end in .json or .txt; a single class is given as a list.'
        )

    @classmethod
    def _from_file(cls, path: Path) -> Vocabulary:
        try:
            text = path.read_text(encoding='utf-8-sig')  # Windows' editors mark it
            if path.suffix == '.json':
                data = json.loads(text)
                if not isinstance(data, dict | list):
                    raise VocabularyError('it must hold a list or an object.')
                if isinstance(data, dict) and 'classes' not in data:
                    raise VocabularyError("the object lacks the key 'classes'.")
            else:
                data = text.rstrip().splitlines()
            return cls.build(data)
        except OSError as error:
            raise VocabularyError(
                f'Cannot read the vocabulary {path}: {error.strerror}.'
            ) from error
        # Not UTF-8, not JSON, nested too deep, or a VocabularyError.
        except (ValueError, RecursionError) as error:
            raise VocabularyError(f'In the vocabulary {path}: {error}') from error

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> Vocabulary:
        for old, key in _OLD_KEYS.items():
            if old in data and key in data:
                raise VocabularyError(
                    f'{old!r} is the older name of {key!r}: give one of them.'
                )
        data = {_OLD_KEYS.get(key, key): value for key, value in data.items()}
        _check_keys(data, _FILE_KEYS, 'a vocabulary with classes')
        classes = _sequence(data['classes'], "'classes'")
        synonyms = data.get('synonyms')
        if synonyms is None:
            synonyms = [[name] for name in classes]
        synonyms = [
            _sequence(names, f"'synonyms' of class {label}")
            for label, names in enumerate(_sequence(synonyms, "'synonyms'"))
        ]
        return cls(
            tuple(classes),
            tuple(map(tuple, synonyms)),
            data.get('background_label'),
            data.get('background_score'),
        )

    @classmethod
    def _from_recipe(cls, recipe: Mapping[str, Any]) -> Vocabulary:
        _check_keys(recipe, _BUILD_KEYS, 'a vocabulary made from a source')
        if 'source' not in recipe:
            raise VocabularyError(
                "A vocabulary dict needs the key 'source' (or 'classes')."
            )
        vocabulary = cls.build(recipe['source'])
        synonyms = recipe.get('synonyms', 'all')
        if synonyms == 'first':
            vocabulary = replace(
                vocabulary,
                synonyms=tuple(
                    names if label == vocabulary.background_label else names[:1]
                    for label, names in enumerate(vocabulary.synonyms)
                ),
            )
        elif synonyms != 'all':
            raise VocabularyError(
                f"synonyms must be 'all' or 'first', not {synonyms!r}."
            )
        background = recipe.get('background')
        return vocabulary if background is None else vocabulary._with(background)

    def _with(self, background: Mapping[str, Any]) -> Vocabulary:
        """This vocabulary with the background of a rule."""
        kinds = {'threshold': {'value'}, 'names': {'names'}, 'class': set()}
        kind = background.get('type') if isinstance(background, Mapping) else None
        if kind not in kinds:
            raise VocabularyError(
                "background must be None or a dict of type 'threshold', 'names' or "
                f"'class', not {background!r}."
            )
        what = f'a background of type {kind!r}'
        _check_keys(background, {'type', 'label', 'name'} | kinds[kind], what)
        for key in kinds[kind] - set(background):
            raise VocabularyError(f'{what} needs the key {key!r}.')

        name = background.get('name', 'background')
        label = background.get('label')
        classes, synonyms = list(self.classes), list(self.synonyms)
        if name in classes:
            found = classes.index(name)
            if label not in (None, found):
                raise VocabularyError(
                    f'The background label is {label!r}, but class {found} is called '
                    f'{name!r}: leave the label out, or say which class is meant by '
                    'its name.'
                )
            label = found
        elif kind == 'class':
            raise VocabularyError(
                f'No class is called {name!r}, which was to be the background: '
                f'{_shortened(classes)}.'
            )
        else:
            label = 0 if label is None else label
            if type(label) is not int or not 0 <= label <= len(classes):
                raise VocabularyError(
                    f'The background label {label!r} is out of range: it can be put '
                    f'before, between or after the {len(classes)} classes, at 0 to '
                    f'{len(classes)}.'
                )
            classes.insert(label, name)
            synonyms.insert(label, ())
        if kind == 'threshold':
            synonyms[label] = ()
        elif kind == 'names':
            synonyms[label] = tuple(_sequence(background['names'], "'names'"))
        return Vocabulary(
            tuple(classes), tuple(synonyms), label, background.get('value')
        )


def _names(names: Sequence, what: str) -> tuple[str, ...]:
    """Stripped names, none of which is blank, foreign or there twice."""
    seen: dict[str, int] = {}
    for position, name in enumerate(names):
        if not isinstance(name, str):
            raise VocabularyError(
                f'{what} at position {position} must be a string, not '
                f'{type(name).__name__} {name!r}.'
            )
        name = str(name).strip()
        if not name:
            raise VocabularyError(
                f'{what} at position {position} is blank (positions count from 0).'
            )
        if not _is_unicode(name):
            raise VocabularyError(
                f'{what} {name!r} has half a character (a lone surrogate): it cannot '
                'be written as UTF-8.'
            )
        if name in seen:
            raise VocabularyError(
                f'{what} {name!r} appears twice, at positions {seen[name]} and '
                f'{position}.'
            )
        seen[name] = position
    return tuple(seen)


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _sequence(value: Any, what: str) -> Sequence:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise VocabularyError(f'{what} must be a list, not {value!r}.')
    return value


def _check_keys(given: Mapping, known: set[str], what: str) -> None:
    unknown = sorted(set(given) - known, key=str)
    if unknown:
        raise VocabularyError(
            f'Unknown key {unknown[0]!r} in {what}; known are {sorted(known)}.'
        )


def _shortened(names: Sequence[str], most: int = 10) -> str:
    return ', '.join(names[:most]) + (', ...' if len(names) > most else '')
