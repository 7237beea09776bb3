"""Links between documents, images and files of the repository lead somewhere.

Relative links of *.md, docs/**/*.md and configs/**/*.md are followed, with their
anchors, which are computed as GitHub does. Links to the web are not followed.
"""

import re
from pathlib import Path

import pytest
from doc_blocks import without_blocks

from tests.tool_loader import ROOT

DOCUMENTS = sorted(
    [
        *ROOT.glob('*.md'),
        *(ROOT / 'docs').rglob('*.md'),
        *(ROOT / 'configs').rglob('*.md'),
    ]
)
_LINK = re.compile(r'!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?[^)]*\)')
_HEADING = re.compile(r'^#{1,6} +(.+?) *#*$', re.MULTILINE)


def links(page: Path) -> list[str]:
    """Targets of the links and images of a page that do not go to the web."""
    text = re.sub(r'`[^`\n]*`', '', without_blocks(page))
    return [target for target in _LINK.findall(text) if '://' not in target]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in _HEADING.findall(without_blocks(page)):
        heading = re.sub(r'\[([^\]]*)\]\([^)]*\)', r'\1', heading)
        slug = re.sub(r'[^\w\- ]', '', heading.strip().lower()).replace(' ', '-')
        count = found.get(slug, 0)
        found[slug] = count + 1
        if count:
            found[f'{slug}-{count}'] = 1
    return set(found)


def problem(page: Path, target: str) -> str | None:
    """What is wrong with a link of a page, if anything."""
    name, _, anchor = target.partition('#')
    path = page.parent / name if name else page
    if not path.exists():
        return 'no such file'
    if ROOT not in [path.resolve(), *path.resolve().parents]:
        return 'outside of the repository'
    if anchor and path.suffix != '.md':
        return 'an anchor in what is no page'
    if anchor and anchor not in anchors(path):
        return 'no such heading'
    return None


@pytest.mark.parametrize(
    'page', DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix()
)
def test_links_lead_somewhere(page):
    problems = {target: problem(page, target) for target in links(page)}
    assert not {target: what for target, what in problems.items() if what}


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set(), [ROOT / 'README.md']
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for target in links(page):
            path = (page.parent / target.partition('#')[0]).resolve()
            if path.suffix == '.md' and path.is_file():
                waiting.append(path)
    assert not set(DOCUMENTS) - reached


@pytest.mark.parametrize(
    ('target', 'wrong'),
    [
        ('other.md', None),
        ('other.md#two-words-and_a-mark', None),
        ('other.md#again-1', None),
        ('#here', None),
        ('image.png', None),
        ('none.md', 'no such file'),
        ('other.md#none', 'no such heading'),
        ('other.md#code', 'no such heading'),
        ('image.png#x', 'an anchor in what is no page'),
    ],
)
def test_the_check_itself(tmp_path, monkeypatch, target, wrong):
    monkeypatch.setattr('test_links.ROOT', tmp_path)
    (tmp_path / 'image.png').touch()
    (tmp_path / 'other.md').write_text(
        '## Two words, and_a `mark`\n# Again\n# Again\n```text\n# code\n```\n'
    )
    page = tmp_path / 'page.md'
    page.write_text(
        f'# Here\n[a [b] `c`]({target}), `[no](link.md)`, [w](https://x/y)\n'
    )
    assert links(page) == [target]
    assert problem(page, target) == wrong
