"""Code blocks of Markdown pages, and what a page says about them.

A block says its language after the fence. Marks are comments on the lines before it,
which nobody sees on the page:

    <!-- needs: weights, data -->       not run here; what it would take to run it
    <!-- file: my_config.py -->         the content of that file, for the next blocks
    <!-- run by: tests/x/test_y.py -->  run by that test
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.tool_loader import ROOT

LANGUAGES = {'python', 'shell', 'text', 'yaml', 'json'}
NEEDS = {'weights', 'data', 'gpu', 'network', 'time', 'your files'}
MARKS = {'needs', 'file', 'run by'}

_FENCE = re.compile(r'^(?P<indent> *)```(?P<info>.*)$')
_MARK = re.compile(r'^ *<!-- *(?P<key>[a-z ]+?): *(?P<value>.+?) *-->$')


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is that of the fence, from 1 on."""

    page: Path
    line: int
    language: str
    text: str
    marks: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f'{self.page.relative_to(ROOT).as_posix()}:{self.line}'

    @property
    def needs(self) -> set[str]:
        """What it takes to run the block; nothing if tests run it."""
        return set(self.marks['needs'].split(', ')) if 'needs' in self.marks else set()


def read_blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    blocks, marks, block, indent = [], {}, None, ''
    for number, line in enumerate(page.read_text(encoding='utf-8').splitlines(), 1):
        found = _FENCE.match(line)
        if block is not None:
            if found and found['indent'] == indent and not found['info']:
                blocks.append(block)
                block = None
            else:
                text = f'{block.text}{line.removeprefix(indent)}\n'
                block = replace(block, text=text)
        elif found:
            indent = found['indent']
            block = Block(page, number, found['info'].strip(), '', marks)
            marks = {}
        elif mark := _MARK.match(line):
            marks = {**marks, mark['key']: mark['value']}
        else:
            marks = {}
    if block is not None:
        raise ValueError(f'{block.place}: the fence is not closed')
    return blocks


def without_blocks(page: Path) -> str:
    """A page without its fenced blocks; lines keep their numbers."""
    lines = page.read_text(encoding='utf-8').splitlines()
    for block in read_blocks(page):
        count = block.text.count('\n') + 2
        lines[block.line - 1 : block.line - 1 + count] = [''] * count
    return '\n'.join(lines)
