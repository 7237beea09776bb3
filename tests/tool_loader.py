"""Scripts of this repository: as a module, run in this process, or in their own."""

import importlib.util
import os
import runpy
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
from mmengine.logging import MessageHub, MMLogger
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer

from mmseg_ovs.visualization import OpenVocabVisualizer

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def _searching(folder: Path) -> Iterator[None]:
    """Python looks for a script's imports in the script's folder first."""
    path = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path


def load_tool(path: str | Path) -> ModuleType:
    """The module of a script; ``path`` starts at the root of the repository."""
    file = ROOT / path
    name = '_'.join(file.relative_to(ROOT).with_suffix('').parts)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module
    with _searching(file.parent):
        spec.loader.exec_module(module)
    return module


def run_tool(script: str | Path, *args: object) -> None:
    """Run ``python SCRIPT ARGS`` in this process; raises SystemExit as the script does.

    The script may also be ``-m`` or ``-c``, as for Python.
    """
    words = [str(arg) for arg in args]
    forget_visualizers()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv('LOCAL_RANK', os.environ.get('LOCAL_RANK', '0'))  # scripts set it
        try:
            if script == '-c':
                exec(compile(words[0], '<python -c>', 'exec'), {'__name__': '__main__'})
            elif script == '-m':
                patch.setattr(sys, 'argv', words)
                warnings.simplefilter('ignore')  # it has been imported before
                runpy.run_module(words[0], run_name='__main__', alter_sys=True)
            else:
                file = ROOT / script
                patch.setattr(sys, 'argv', [str(file), *words])
                with _searching(file.parent):
                    runpy.run_path(str(file), run_name='__main__')
        finally:
            forget_run()


def forget_run() -> None:
    """Drop what mmengine keeps by name, with the folders of a run."""
    forget_visualizers()
    for manager in (MMLogger, MessageHub):
        manager._instance_dict.clear()


def forget_visualizers() -> None:
    """Drop those that a runner of a test before has left: they draw into its folder."""
    for manager in (Visualizer, SegLocalVisualizer, OpenVocabVisualizer):
        manager._instance_dict.clear()


def children(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    return [int(word) for word in _proc(pid, f'task/{pid}/children').split()]


def is_alive(pid: int) -> bool:
    """Whether a process runs and is no zombie."""
    return _proc(pid, 'stat').rpartition(')')[2].split()[:1] not in ([], ['Z'])


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f'/proc/{pid}/{name}').read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ''


def run_process(
    *command: object, code: int | None = 0, cwd: Path = ROOT, **env: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own; asserts its exit code (None: any).

    A command that starts with ``-`` or a ``.py`` file is one for this Python. The
    process finds this checkout's package and works with one thread; ``env`` changes
    its environment (None removes a variable).
    """
    words = [str(word) for word in command]
    if words[0].startswith('-') or words[0].endswith('.py'):
        words.insert(0, sys.executable)
    own = dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1', LOCAL_RANK=None)
    environment = {**os.environ, **own, **env}
    done = subprocess.run(
        words,
        cwd=cwd,
        env={name: value for name, value in environment.items() if value is not None},
        capture_output=True,
        text=True,
        check=False,
    )
    assert code in (None, done.returncode), (done.stdout + done.stderr)[-4000:]
    return done
