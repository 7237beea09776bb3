"""Which settings changed between two runs, from the texts of their configs."""

from __future__ import annotations

import ast
from collections.abc import Iterator

# Where a run is, not what it does.
_IGNORED = ('work_dir', 'load_from', 'resume', 'launcher', 'local_rank')


def config_changes(old: str, new: str) -> dict[str, tuple[str | None, str | None]]:
    """Settings of two configs that differ.

    The texts are parsed, never run: they may come out of a checkpoint.

    Args:
        old: ``Config.pretty_text`` of one config.
        new: That of another.

    Returns:
        Dotted key to the old and the new value as written; None: not there.
    """
    before, after = dict(_settings(old)), dict(_settings(new))
    return {
        key: (before.get(key), after.get(key))
        for key in {**before, **after}
        if before.get(key) != after.get(key) and key.split('.')[0] not in _IGNORED
    }


def _settings(text: str) -> Iterator[tuple[str, str]]:
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.Assign):
            yield from _leaves(ast.unparse(statement.targets[0]), statement.value)


def _leaves(key: str, node: ast.expr) -> Iterator[tuple[str, str]]:
    """Values under a key; ``dict(a=[1])`` becomes ``key.a.0``."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == 'dict':
        inner = [(item.arg, item.value) for item in node.keywords]
    elif isinstance(node, ast.Dict):
        inner = [
            (str(getattr(name, 'value', name)), value)
            for name, value in zip(node.keys, node.values, strict=True)
        ]
    elif isinstance(node, ast.List | ast.Tuple):
        inner = [(str(i), value) for i, value in enumerate(node.elts)]
    else:
        inner = []
    if not inner:
        yield key, ast.unparse(node)
    for name, value in inner:
        yield from _leaves(f'{key}.{name}', value)
