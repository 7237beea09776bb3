"""Hooks of MkDocs (``mkdocs.yml``): pages from outside of docs/, and links to them.

README.md becomes the site's first page. The READMEs and the configs of configs/ and
THIRD_PARTY_NOTICES.md keep their places. Links are written for the repository; here
they are turned into links of the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
_ROLE = re.compile(r':(?:class|func|meth|data|attr|mod):(?=<code>)')
_LINK = re.compile(r'(\]\()([^)\s#:]+)(?=[#)])')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what the documents outside of docs/ are, and the configs they link."""
    paths = [ROOT / 'README.md', ROOT / 'THIRD_PARTY_NOTICES.md', ROOT / 'LICENSE']
    paths += [*(ROOT / 'configs').rglob('*.md'), *(ROOT / 'configs').rglob('*.py')]
    for path in sorted(paths):
        place = site_place(path.relative_to(ROOT).as_posix())
        files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files):
    """Turn links of the repository into links of the site."""
    here = page.file.src_uri
    folder = posixpath.dirname(repository_place(here))

    def turn(link: re.Match) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[2]))
        place = posixpath.relpath(site_place(target), posixpath.dirname(here) or '.')
        return link[1] + place

    return _LINK.sub(turn, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files):
    """Take Sphinx's roles out of docstrings; the names keep their type."""
    return _ROLE.sub('', html)


def site_place(path: str) -> str:
    """Where a file of the repository is on the site."""
    return 'index.md' if path == 'README.md' else path.removeprefix('docs/')


def repository_place(path: str) -> str:
    """Where a file of the site is in the repository."""
    if path == 'index.md':
        return 'README.md'
    return path if (ROOT / path).is_file() else f'docs/{path}'
