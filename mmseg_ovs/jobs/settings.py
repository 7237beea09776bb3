"""How files were made, as JSON, and whether it is how they would be made now."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmseg_ovs.utils import OpenVocabError, write_whole


class JobError(OpenVocabError):
    """Files are damaged, of another setting, or being written by another process."""


def plain(setting: Mapping[str, Any]) -> dict[str, Any]:
    """A setting as it is read back from JSON."""
    return json.loads(json.dumps(setting, default=str))


def differing_keys(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Names of the facts in which two settings differ."""
    keys = [k for k in {**one, **other} if one.get(k) != other.get(k)]
    return ', '.join(keys)


def require_same(
    what: object,
    found: Mapping[str, Any],
    wanted: Mapping[str, Any],
    remedy: str = 'Give another folder, or delete it',
) -> None:
    """Check the setting of what is there.

    Args:
        what: What is there, usually a path.
        found: Its setting.
        wanted: The setting of this run.
        remedy: What to do if they differ.

    Raises:
        JobError: They differ; names the facts.
    """
    differing = differing_keys(found, wanted)
    if differing:
        raise JobError(
            f'{what} was made in another setting, which differs in: {differing}. '
            f'{remedy}'
        )


def write_json(path: Path, content: Mapping[str, Any], end: str = '\n') -> None:
    """Write JSON, whole or not at all."""
    write_whole(path, json.dumps(content, indent=1) + end)


def read_json(path: Path, keys: Collection[str]) -> dict[str, Any] | None:
    """Read what :func:`write_json` wrote.

    Args:
        path: The file.
        keys: What it has to hold.

    Returns:
        The content. None: there is no file.

    Raises:
        JobError: It is damaged or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise JobError(f'{path} is damaged ({error}): delete it') from error
    if not isinstance(content, dict) or not set(keys) <= set(content):
        raise JobError(f'{path} does not hold {", ".join(keys)}: delete it')
    return content
