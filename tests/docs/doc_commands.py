"""Command lines of the pages: reading them, checking them, running them.

Lines are read as a shell reads them, as far as the pages go: continued lines, comments,
quotes, variables, and the output of ``$(python -c "...")``.
"""

import argparse
import contextlib
import importlib.util
import io
import re
import shlex
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mmseg_ovs.apis import find_config
from mmseg_ovs.benchmark.plan import make_plan, read_plan
from mmseg_ovs.benchmark.zoo import Zoo
from mmseg_ovs.composition import compose
from tests.tool_loader import ROOT, run_tool

# Nothing of ours in them that could be wrong.
FOREIGN = {
    *('apt-get', 'cd', 'cp', 'curl', 'export', 'git', 'ls', 'mkdir', 'mv', 'rm'),
    *('sha256sum', 'source', '.', 'tar', 'unzip', 'wget', 'ln', 'cat'),
}
PLACEHOLDER = re.compile(r'\b[A-Z]{3,}\b|\.\.\.')
_ASSIGNMENT = re.compile(r'^(\w+)=(.*)$', re.DOTALL)
_SUBSTITUTION = re.compile(r'\$\(python -c "(.*?)"\)', re.DOTALL)


class Accepted(Exception):
    """A tool's own parser has accepted the arguments."""


@dataclass(frozen=True)
class Command:
    """A program with its arguments, after a shell has read the line."""

    words: tuple[str, ...]
    env: dict[str, str]
    line: str


def read_commands(text: str, variables: dict[str, str]) -> Iterator[Command]:
    """The commands of a block; assignments of their own go to ``variables``."""
    for line in _logical_lines(text):
        line = _SUBSTITUTION.sub(lambda found: _printed(found[1]), line)
        for name, value in sorted(variables.items(), reverse=True):
            line = re.sub(rf'\${name}\b|\$\{{{name}\}}', lambda _, v=value: v, line)
        words = shlex.split(line, comments=True)
        env = {}
        while words and (found := _ASSIGNMENT.match(words[0])):
            env[found[1]] = found[2]
            words.pop(0)
        if words:
            yield Command(tuple(words), env, line)
        else:
            variables.update(env)


def _logical_lines(text: str) -> list[str]:
    """Lines joined where a backslash or an open quote continues them."""
    lines, waiting = [], ''
    for line in text.splitlines():
        waiting += line
        if waiting.endswith('\\'):
            waiting = waiting[:-1]
            continue
        try:
            shlex.split(waiting, comments=True)
        except ValueError:  # a quote is open
            waiting += '\n'
            continue
        lines.append(waiting)
        waiting = ''
    assert not waiting, f'an open quote or a backslash at the end: {waiting!r}'
    return lines


def _printed(code: str) -> str:
    """What ``python -c`` prints."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, '<python -c>', 'exec'), {'__name__': '__main__'})
    return out.getvalue().strip()


# ------------------------------------------------------------------------ checking
def check_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Assert that the program exists and would accept the arguments."""
    program, *args = command.words
    if program in FOREIGN:
        return
    if program.endswith('.sh') or program == 'bash':
        script = args[0] if program == 'bash' else program
        assert (ROOT / script).is_file(), f'no script {script}'
    elif program == 'make':
        _check_make(args)
    elif program == 'pip':
        _check_pip(args)
    elif program == 'mim':
        _check_mim(args)
    elif program == 'torchrun':
        start = next(i for i, word in enumerate(args) if word.endswith('.py'))
        _check_python(args[start:], monkeypatch)
    elif program == 'python':
        _check_python(args, monkeypatch)
    elif program == 'mmseg-ovs':
        _check_python(['-m', 'mmseg_ovs', *args], monkeypatch)
    else:
        raise AssertionError(f'do not know how to check {program!r}')


def _check_python(args: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    if args[0] == '-c':
        compile(args[1], '<python -c>', 'exec')
        return
    if args[0] == '-m' and not args[1].startswith('mmseg_ovs'):
        assert importlib.util.find_spec(args[1]), f'no module {args[1]}'
        return
    if Path(args[0]).is_absolute():  # another package's
        assert Path(args[0]).is_file(), f'no script {args[0]}'
        return
    assert args[0] == '-m' or (ROOT / args[0]).is_file(), f'no script {args[0]}'

    def accepting(original):
        def parse_args(self, *args, **kwargs):
            raise Accepted(original(self, *args, **kwargs))

        return parse_args

    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, 'is_available', lambda: True)
        patch.setattr(torch.cuda, 'device_count', lambda: 1)
        for name in ('parse_args', 'parse_intermixed_args'):
            original = getattr(argparse.ArgumentParser, name)
            patch.setattr(argparse.ArgumentParser, name, accepting(original))
        try:
            run_tool(*args)
        except Accepted as accepted:
            _check_names(
                accepted.args[0], training=bool(re.search('train|extract', args[0]))
            )
            return
        except SystemExit as error:
            raise AssertionError(f'refused (exit code {error.code})') from error
    raise AssertionError('read no command line')


def _check_names(values: argparse.Namespace, training: bool) -> None:
    """Models and data sets exist and compose; words in capitals are the user's."""
    found = {
        key: name
        for key in ('config', 'first', 'second', 'model', 'data')
        if isinstance(name := getattr(values, key, None), str)
        and not PLACEHOLDER.search(name)
    }
    data = found.pop('data', None)
    model = found.pop('model', None) or found.get('config')
    for name in found.values():
        find_config(name)
    if data and model:
        compose(model, data, training or getattr(values, 'train', False))
    plan, models = getattr(values, 'plan', None), getattr(values, 'models', None)
    shipped = plan and not plan.endswith('.yml')  # a file is the user's
    if models or shipped:  # tools/benchmark.py and those with the same arguments
        zoo = Zoo.read(ROOT / 'configs')
        datasets = getattr(values, 'datasets', None) or [data] * bool(data)
        if shipped:
            plan = read_plan(plan, zoo, models or (), datasets)
            known = {name for m in plan.models for name in (m.name, m.stem)}
            given = {item.partition('=')[0] for item in values.checkpoints}
            assert given <= known, given - known
        else:
            make_plan(models, datasets, zoo)


def _check_make(args: list[str]) -> None:
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    for target in [word for word in args if '=' not in word]:
        assert re.search(rf'^{target}:', makefile, re.MULTILINE), f'no target {target}'


def _check_pip(args: list[str]) -> None:
    setup = (ROOT / 'setup.py').read_text(encoding='utf-8')
    assert args[0] in ('install', 'uninstall'), args[0]
    for flag, value in zip(args, args[1:], strict=False):
        if flag == '-r':
            assert (ROOT / value).is_file(), f'no file {value}'
    for extras in re.findall(r'(?:mmseg_ovs|\.)\[([\w,]+)\]', ' '.join(args)):
        for extra in extras.split(','):
            assert f"'{extra}': [" in setup, f'setup.py has no extra {extra}'


def _check_mim(args: list[str]) -> None:
    """openmim's own parser; a bare name is a shipped config."""
    command, package, config = args[:3]
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # pkg_resources
        module = importlib.import_module(f'mim.commands.{command}')
    module.cli.make_context(command, list(args[1:]))
    assert package in ('mmseg_ovs', 'mmsegmentation', 'mmseg'), package
    if package == 'mmseg_ovs' and not PLACEHOLDER.search(config):
        assert list((ROOT / 'configs').glob(f'*/{config}')), f'no config {config}'


# ------------------------------------------------------------------------- running
def run_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command and assert that it ends well."""
    program, *args = command.words
    assert program == 'python', f'{program} is not run by tests: mark the block'
    with monkeypatch.context() as patch:
        for name, value in command.env.items():
            patch.setenv(name, value)
        try:
            run_tool(*args)
        except SystemExit as error:
            assert error.code in (None, 0), f'exit code {error.code}'
