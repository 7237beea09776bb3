"""What a benchmark runs: models and data sets, from a YAML file or the metafiles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from mmseg_ovs.composition import UnknownConfigError, find_config, find_data
from mmseg_ovs.composition.names import configs_folder, data_name
from mmseg_ovs.utils import OpenVocabError

from .common import CommonProtocol
from .zoo import DATASETS, Model, Zoo

_MODEL_KEYS = {'config', 'name', 'checkpoint', 'cfg_options', 'published', 'note'}
_DATA_KEYS = {'config', 'cfg_options'}
_PLAN_KEYS = {'title', 'models', 'datasets', 'cfg_options', 'protocol'}
ALL = 'all'


class PlanError(OpenVocabError):
    """A plan that cannot be run; the message says why."""


@dataclass(frozen=True)
class ModelEntry:
    """A line of the table.

    Attributes:
        config: Config of the model; data that it names are replaced. None: a method
            that is not here, of which the table has the published figures alone.
        name: How the table calls it.
        checkpoint: Of the whole model; None: each part loads what its config names.
        cfg_options: Settings over those of the config.
        published: mIoU in percent by data set, over those of the metafile.
        note: What a reader of the table has to know of it.
        method_class: Of the metafile.
        readme: How to train it if the metafile says that nobody can have its weights.
    """

    config: Path | None
    name: str
    checkpoint: str | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, float] = field(default_factory=dict)
    note: str = ''
    method_class: str | None = None
    readme: str | None = None

    @property
    def stem(self) -> str:
        """Name of the config in the metafiles; empty without one."""
        return self.config.stem if self.config else ''

    @property
    def untrained(self) -> str:
        """Why there is nothing to test, and what to do about it; else empty.

        Weights of parts that are named in ``cfg_options`` are taken for what lacks.
        """
        named = any('init_cfg' in key for key in self.cfg_options)
        if self.readme is None or self.checkpoint or named:
            return ''
        note = f' ({self.note})' if self.note else ''
        return (
            f'its weights are not published: train it{note}, see {self.readme}, and '
            f'give --checkpoints {self.stem}=FILE'
        )


@dataclass(frozen=True)
class DataEntry:
    """A column of the table.

    Attributes:
        config: Base config with ``test_dataloader`` and ``test_evaluator``.
        name: Its name, such as ``'ade20k-847'``.
        cfg_options: Settings over those of the config, for every model.
    """

    config: Path
    name: str
    cfg_options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Models times data sets.

    Attributes:
        models, datasets: Lines and columns of the table.
        title: Heading of the table.
        cfg_options: Settings over those of all configs.
        protocol: Replaces the settings of each model; None: they stay.
        left_out: Models that ``all`` would mean if their weights were published.
    """

    models: Sequence[ModelEntry]
    datasets: Sequence[DataEntry]
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    protocol: CommonProtocol | None = None
    left_out: Sequence[str] = ()
    title: str = 'Benchmark'

    def with_checkpoints(self, files: Mapping[str, str]) -> Plan:
        """The plan with checkpoints of whole models, by name in the table or config.

        Raises:
            PlanError: The plan has no such model, or there is no such file.
        """
        models, left = [], dict(files)
        for model in self.models:
            names = [name for name in (model.name, model.stem) if name in files]
            for name in names:
                left.pop(name, None)
                model = replace(model, checkpoint=files[name])
            models.append(model)
        for name, file in files.items():
            if name in left:
                known = ', '.join(model.stem for model in self.models if model.stem)
                raise PlanError(f'The plan has no model {name!r}. It has: {known}')
            if '://' not in file and not Path(file).is_file():
                raise PlanError(f'No checkpoint of {name} at {file}')
        return replace(self, models=models)


def find_plan(name: str | Path) -> Path:
    """The file of a plan.

    Args:
        name: Path of a YAML file, or the name of a shipped one (``configs/plans``).

    Raises:
        PlanError: There is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = {p.stem: p for p in sorted((configs_folder() / 'plans').glob('*.yml'))}
    if str(name) in shipped:
        return shipped[str(name)]
    raise PlanError(
        f'{name} is neither a file nor the name of a plan of mmseg_ovs. There are: '
        f'{", ".join(shipped)}.'
    )


def read_plan(
    path: str | Path,
    zoo: Zoo,
    models: Sequence[str] = (),
    datasets: Sequence[str] = (),
    cfg_options: Mapping[str, Any] | None = None,
) -> Plan:
    """Read a plan::

        title: My table                     # heading
        models:                             # 'all', or any of
        - talk2dino_dinov2-reg-b14          # a path, a shipped config, a collection
        - config: talk2dino_dinov2-reg-l14
          name: L, whole                    # the rest may be left out
          checkpoint: work_dirs/x/iter_1.pth
          cfg_options: {model.test_cfg.mode: whole}
          published: {voc21: 65.8}
          note: of a second training
        - name: of another house            # no config: its published figures alone
          published: {voc21: 60.1}
        datasets:                           # left out: the benchmarks of the methods
        - voc21
        - config: configs/_base_/datasets/camvid.py
          cfg_options: {test_dataloader.dataset.data_root: /data/camvid}
        cfg_options: {test_dataloader.num_workers: 2}
        protocol: {shorter_side: 448, names: plain}   # see CommonProtocol

    Args:
        path: The YAML file, or the name of a shipped one.
        zoo: The metafiles.
        models, datasets: If given, in the place of those of the plan.
        cfg_options: Settings over those of the plan.

    Raises:
        PlanError: It cannot be read, or names what is not there.
    """
    path = find_plan(path)
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, yaml.YAMLError) as error:
        raise PlanError(f'{path} cannot be read: {error}') from error
    content = _checked(content, _PLAN_KEYS, str(path))
    plan = make_plan(
        models or content.get('models') or [],
        datasets or content.get('datasets') or [],
        zoo,
        {**(content.get('cfg_options') or {}), **(cfg_options or {})},
        content.get('protocol'),
    )
    return replace(plan, title=content.get('title') or plan.title)


def make_plan(
    models: Iterable[str | Mapping],
    datasets: Iterable[str | Mapping],
    zoo: Zoo,
    cfg_options: Mapping[str, Any] | None = None,
    protocol: Mapping[str, Any] | None = None,
) -> Plan:
    """Make a plan of names or entries; see :func:`read_plan`.

    Raises:
        PlanError: Something is not there, or a name occurs twice.
    """
    models = [models] if isinstance(models, str) else list(models)
    entries = [entry for item in models for entry in _models(item, zoo)]
    if not any(entry.config for entry in entries):
        raise PlanError('The plan names no model.')
    datasets = list(datasets) or _benchmarks(entries, zoo)
    if not datasets:
        names = ', '.join(entry.name for entry in entries)
        raise PlanError(
            f'The plan names no data set, and the metafiles name no benchmarks of '
            f'{names}'
        )
    columns = [_data(item) for item in datasets]
    _check_published(entries, {*DATASETS, *(column.name for column in columns)})
    for what, names in (
        ('model', [entry.name for entry in entries]),
        ('data set', [column.name for column in columns]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise PlanError(f'The {what} {twice[0]!r} is in the plan twice')
    common = None if protocol is None else _protocol(protocol)
    names = {entry.stem for entry in entries}
    left_out = [m.name for m in _compared(zoo) if m.name not in names]
    return Plan(
        entries,
        columns,
        dict(cfg_options or {}),
        common,
        left_out if ALL in models else (),
    )


def _checked(content: Any, known: set[str], what: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise PlanError(f'{what} has to be a mapping with keys of {sorted(known)}')
    unknown = sorted(set(content) - known, key=str)
    if unknown:
        raise PlanError(f'{what}: unknown key {unknown[0]!r}, known: {sorted(known)}')
    return content


def _models(item: str | Mapping, zoo: Zoo) -> list[ModelEntry]:
    if item == ALL:
        names = [model.name for model in _compared(zoo) if model.has_weights]
        return [entry for name in names for entry in _models(name, zoo)]
    if isinstance(item, str) and item in zoo.collections:
        names = [model.name for model in _of_method(item, zoo)]
        return [entry for name in names for entry in _models(name, zoo)]
    if isinstance(item, str):
        item = dict(config=item)
    item = dict(_checked(item, _MODEL_KEYS, 'A model of the plan'))
    if 'config' not in item:
        if set(item) - {'note'} != {'name', 'published'}:
            raise PlanError(
                f'A model of the plan has no config: {item}. Without one it has name '
                'and published, and no checkpoint'
            )
        return [ModelEntry(config=None, **item)]
    try:
        config = find_config(item.pop('config'))
    except UnknownConfigError as error:
        known = ', '.join(sorted(zoo.collections))
        raise PlanError(f'{error} Collections are: {known}.') from error
    name, facts = item.pop('name', config.stem), {}
    if known := zoo.models.get(config.stem):
        readme = (
            None if known.has_weights else known.collection.get('README', 'its method')
        )
        facts = dict(method_class=known.method_class, readme=readme)
    return [ModelEntry(config=config, name=name, **facts, **item)]


def _check_published(entries: Iterable[ModelEntry], known: set[str]) -> None:
    """Nothing would read the figures of a data set that there is not."""
    for entry in entries:
        unknown = sorted(set(entry.published) - known)
        if unknown:
            raise PlanError(
                f'{entry.name}: published figures of {unknown[0]!r}, which is no data '
                f'set. There are: {", ".join(sorted(known))}'
            )


def _of_method(collection: str, zoo: Zoo) -> list[Model]:
    """The models of a method with published scores; without any, all of them."""
    models = zoo.of_collection(collection)
    return [model for model in models if model.results] or models


def _compared(zoo: Zoo) -> list[Model]:
    """The models of all methods that have benchmarks."""
    return [
        model
        for name, item in zoo.collections.items()
        if (item.get('Metadata') or {}).get('Benchmarks')
        for model in _of_method(name, zoo)
    ]


def _protocol(content: Any) -> CommonProtocol:
    known = {item.name for item in fields(CommonProtocol)}
    content = _checked(content, known, 'The protocol of the plan')
    try:
        return CommonProtocol(**content)
    except ValueError as error:
        raise PlanError(f'The protocol of the plan: {error}') from error


def _benchmarks(entries: Sequence[ModelEntry], zoo: Zoo) -> list[str]:
    """Data sets of the methods of the models, in the order of tables."""
    found = {n for e in entries for n in zoo.benchmarks_of(e.stem)}
    return [name for name in DATASETS if name in found]


def _data(item: str | Mapping) -> DataEntry:
    if isinstance(item, str):
        item = dict(config=item)
    item = dict(_checked(item, _DATA_KEYS, 'A data set of the plan'))
    try:
        path = find_data(str(item.get('config')))
    except UnknownConfigError as error:
        raise PlanError(str(error)) from error
    return DataEntry(path, data_name(path), item.get('cfg_options') or {})
