"""The metafiles of the shipped configs: what they have to say, and what they say.

A metafile is that of model-index, which openmim reads, with these extra fields:
``Metadata`` of a collection has ``Method Class``; ``Metadata`` of a model has ``Weights
Licence`` (which says 'not published' of weights that nobody can have) and ``Gated``
(whether weights have to be asked for), and the model itself may have an ``Alias``, a
short name; a result has ``Origin`` ('published' or
'measured') and ``Source``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mmseg_ovs.utils import OpenVocabError

# Ten times faster than the one in Python, which builds of PyYAML may be without.
_LOADER = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)
METHOD_CLASSES = (
    'mask-supervised',
    'caption-supervised',
    'image-supervised',
    'training-free',
)
ORIGINS = ('published', 'measured')
# Column titles by the name of the data set's config; in the order of tables.
DATASETS = {
    'voc21': 'VOC21',
    'context60': 'Context60',
    'coco-object': 'COCO-Object',
    'voc20': 'VOC20',
    'context59': 'Context59',
    'coco-stuff164k': 'COCO-Stuff',
    'cityscapes': 'Cityscapes',
    'ade20k': 'ADE20K',
    'ade20k-847': 'A-847',
    'context459': 'PC-459',
    'voc20b': 'PAS-20b',
    'camvid': 'CamVid',
    'shapes': 'shapes',
}
# How tables of papers and READMEs head the same columns.
ABBREVIATIONS = {
    'C60': 'Context60',
    'C59': 'Context59',
    'PC-60': 'Context60',
    'PC-59': 'Context59',
    'Object': 'COCO-Object',
    'Stuff': 'COCO-Stuff',
    'City': 'Cityscapes',
    'ADE': 'ADE20K',
    'A-150': 'ADE20K',
    'PAS-20': 'VOC20',
    'PAS-20^b': 'PAS-20b',
}


class ZooError(OpenVocabError):
    """A metafile that cannot be used."""


@dataclass(frozen=True)
class Model:
    """An entry of ``Models`` with its collection.

    Attributes:
        entry: As in the metafile.
        collection: The entry of ``Collections`` that it belongs to.
    """

    entry: Mapping[str, Any]
    collection: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Also the stem of its config."""
        return self.entry['Name']

    @property
    def alias(self) -> str | None:
        """A short name."""
        return self.entry.get('Alias')

    @property
    def method_class(self) -> str | None:
        """One of :data:`METHOD_CLASSES`."""
        return (self.collection.get('Metadata') or {}).get('Method Class')

    @property
    def metadata(self) -> Mapping[str, Any]:
        """``Weights Licence``, ``Gated`` and whatever else there is."""
        return self.entry.get('Metadata') or {}

    @property
    def has_weights(self) -> bool:
        """Whether all its weights are published."""
        licence = self.metadata.get('Weights Licence', '')
        return 'not published' not in licence and not licence.startswith('none:')

    @property
    def results(self) -> list[Mapping[str, Any]]:
        """Entries of ``Results``."""
        return self.entry.get('Results') or []

    def figure(self, title: str, origin: str) -> float | None:
        """mIoU in percent on a data set (its title), if known."""
        for item in self.results:
            if (item['Dataset'], item.get('Origin')) == (title, origin):
                return item['Metrics']['mIoU']
        return None

    @property
    def weights(self) -> str:
        """Licence of the weights, and whether they are gated."""
        licence = self.metadata.get('Weights Licence', 'not stated')
        return f'{licence} (gated)' if self.metadata.get('Gated') else licence


@dataclass(frozen=True)
class Zoo:
    """All metafiles below a folder of configs.

    Attributes:
        collections: Entries of ``Collections`` by name.
        models: Models by name.
    """

    collections: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Model]

    @classmethod
    def read(cls, configs: str | Path) -> Zoo:
        """Read ``<configs>/*/metafile.yml``.

        Raises:
            ZooError: A file has no models, or a model's collection is not there.
        """
        collections, models = {}, {}
        for path in sorted(Path(configs).glob('*/metafile.yml')):
            content = yaml.load(path.read_text(encoding='utf-8'), _LOADER) or {}
            found = {item['Name']: item for item in content.get('Collections') or []}
            collections.update(found)
            for entry in content.get('Models') or []:
                if entry.get('In Collection') not in found:
                    raise ZooError(
                        f'{path}: {entry.get("Name")} is in the collection '
                        f'{entry.get("In Collection")!r}, which the file lacks'
                    )
                models[entry['Name']] = Model(entry, found[entry['In Collection']])
        return cls(collections, models)

    def of_collection(self, name: str) -> list[Model]:
        """The models of a collection."""
        return [m for m in self.models.values() if m.collection['Name'] == name]

    def published(self, model: str, dataset: str) -> float | None:
        """Published mIoU in percent of a model on a data set, if known.

        Args:
            model: Stem of the model's config.
            dataset: Name of the data set's config, such as ``'voc21'``.
        """
        if model not in self.models:
            return None
        return self.models[model].figure(dataset_title(dataset), 'published')

    def benchmarks_of(self, model: str) -> list[str]:
        """Names of the data sets that the method of a model is tested on."""
        if model not in self.models:
            return []
        return self.models[model].collection.get('Metadata', {}).get('Benchmarks', [])


def dataset_title(name: str) -> str:
    """Column title of a data set's config."""
    return DATASETS.get(name, name)


def missing_facts(zoo: Zoo, collection: str) -> list[str]:
    """What the entries of a collection lack or have wrong, a line each."""
    item = zoo.collections[collection]
    problems = []
    kind = (item.get('Metadata') or {}).get('Method Class')
    if kind not in METHOD_CLASSES:
        problems.append(
            f"{collection}: Metadata['Method Class'] is {kind!r}, not one of "
            f'{METHOD_CLASSES}'
        )
    unknown = set(item.get('Metadata', {}).get('Benchmarks', ())) - set(DATASETS)
    if unknown:
        problems.append(
            f"{collection}: Metadata['Benchmarks'] has {sorted(unknown)}, which are "
            f'not among {list(DATASETS)}'
        )
    for model in zoo.of_collection(collection):
        problems += [f'{model.name}: {text}' for text in _model_problems(model)]
    return problems


def _model_problems(model: Model) -> Iterator[str]:
    licence, gated = model.metadata.get('Weights Licence'), model.metadata.get('Gated')
    if not (isinstance(licence, str) and licence):
        yield "Metadata['Weights Licence'] is missing"
    if not isinstance(gated, bool):
        yield f"Metadata['Gated'] has to be true or false, not {gated!r}"
    titles = set(DATASETS.values())
    for result in model.results:
        where = f'result on {result.get("Dataset")!r}'
        if result.get('Dataset') not in titles:
            yield f'{where}: the data set is not one of {sorted(titles)}'
        if result.get('Origin') not in ORIGINS:
            yield f"{where}: Origin has to be 'published' or 'measured'"
        if not result.get('Source'):
            yield f'{where}: Source is missing (paper and table, or config and date)'
        miou = (result.get('Metrics') or {}).get('mIoU')
        if not (isinstance(miou, int | float) and 0 < miou <= 100):
            yield f'{where}: Metrics.mIoU has to be in percent, not {miou!r}'


def readme_figures(text: str) -> dict[str, dict[str, float]]:
    """Figures in the tables of a README whose columns are data sets.

    Args:
        text: Markdown.

    Returns:
        First cell of a row to title of the data set to number.
    """
    rows: dict[str, dict[str, float]] = {}
    titles: list[str | None] = []
    for line in text.splitlines():
        if not line.startswith('|'):
            titles = []
            continue
        cells = [cell.strip(' *') for cell in line.strip().strip('|').split('|')]
        if not titles:
            found = [ABBREVIATIONS.get(cell, cell) for cell in cells]
            known = [title if title in DATASETS.values() else None for title in found]
            titles = known if sum(title is not None for title in known) > 2 else []
            continue
        numbers = {
            title: float(cell)
            for title, cell in zip(titles, cells, strict=False)
            if title and re.fullmatch(r'\d+(\.\d+)?', cell)
        }
        if numbers:
            rows[cells[0]] = numbers
    return rows
