"""The config of a model on a data set.

What a method sets for a data set (the background rule, names, the size of images)
stands in its benchmark configs ``<model>_<data set>.py``. A model with such a config is
tested with it. Another model of the method takes over what they set beyond the model
and the data set, so that an ablation needs no config for each data set.
"""

from __future__ import annotations

import ast
import tempfile
from pathlib import Path

from mmengine.config import Config

from .plan import DataEntry, ModelEntry, Plan, PlanError

# A test needs none of these, and a runner wants all of them or none.
_TRAINING = (
    *('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'),
    *('val_dataloader', 'val_cfg', 'val_evaluator', 'auto_scale_lr'),
)
_NOT_OF_DATA = ('model', 'default_hooks', 'custom_hooks', 'custom_imports')


def row_config(plan: Plan, model: ModelEntry, data: DataEntry) -> Config:
    """The whole config of a test, without its training parts.

    Raises:
        PlanError: The data set's config has no test data, or it is not clear which
            benchmark config of the method counts.
    """
    own = _benchmark_config(model.config, model.config.stem, data.name)
    if own.is_file() and model.like is None:
        cfg = Config.fromfile(own)
    else:
        cfg = _merge(model, data, _extra_lines(model, data))
    for options in (plan.cfg_options, data.cfg_options, model.cfg_options):
        cfg.merge_from_dict(dict(options))
    for key in _TRAINING:
        cfg.pop(key, None)
    lacking = [k for k in ('test_dataloader', 'test_evaluator') if not cfg.get(k)]
    if lacking:
        raise PlanError(f'{data.config} has no {" and no ".join(lacking)}')
    cfg.setdefault('test_cfg', dict(type='TestLoop'))
    cfg.setdefault('randomness', dict(seed=0))
    cfg.load_from = model.checkpoint or cfg.get('load_from')
    return cfg


def _benchmark_config(beside: Path, model: str, data: str) -> Path:
    return beside.with_name(f'{model}_{data}.py')


def _extra_lines(model: ModelEntry, data: DataEntry) -> str:
    """What the method's benchmark configs set for a data set, as Python."""
    found = {
        path.stem.removesuffix(f'_{data.name}'): path
        for path in sorted(model.config.parent.glob(f'*_{data.name}.py'))
    }
    found = {
        name: path
        for name, path in found.items()
        if model.config.with_name(f'{name}.py').is_file()
    }
    if model.like is not None:
        if model.like not in found:
            raise PlanError(
                f'like: {model.like} has no benchmark config for {data.name} beside '
                f'{model.config.name}; there are those of {sorted(found) or "none"}'
            )
        return _own_lines(found[model.like])
    prefixes = [name for name in found if model.config.stem.startswith(f'{name}_')]
    if prefixes:
        return _own_lines(found[max(prefixes, key=len)])
    lines = {name: _own_lines(path) for name, path in found.items()}
    if len(set(lines.values())) > 1:
        raise PlanError(
            f'The benchmark configs of {", ".join(lines)} set different things for '
            f'{data.name}: say in the plan which of them {model.name} is to follow '
            '(like: NAME), or write '
            f'{_benchmark_config(model.config, model.config.stem, data.name).name}'
        )
    return next(iter(lines.values()), '')


def _own_lines(path: Path) -> str:
    """A config's own statements, without docstring and bases."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    tree.body = [
        node
        for node in tree.body
        if not (
            isinstance(node, ast.Expr)
            or isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == '_base_'
        )
    ]
    return ast.unparse(tree)


def _merge(model: ModelEntry, data: DataEntry, lines: str) -> Config:
    """Model and data set side by side, then the lines."""
    base, of_data = Config.fromfile(model.config), Config.fromfile(data.config)
    wrong = [key for key in _NOT_OF_DATA if key in of_data]
    if wrong:
        raise PlanError(
            f'{data.config} sets {wrong[0]}: the config of a data set has data '
            'loaders and evaluators only'
        )
    for key in of_data:  # of the data set that the model's config may have
        base.pop(key, None)
    for key in _TRAINING:
        base.pop(key, None)
    with tempfile.TemporaryDirectory() as folder:
        base_file, merged = Path(folder, 'model_only.py'), Path(folder, 'merged.py')
        base.dump(base_file)
        bases = [str(base_file), str(data.config.resolve())]
        merged.write_text(f'_base_ = {bases!r}\n{lines}\n', encoding='utf-8')
        return Config.fromfile(merged)
