"""``mkdocs build --strict`` passes, and the API reference has what configs can name."""

import logging
import pkgutil
import re
import zlib
from pathlib import Path

import mmseg.registry
import pytest
from mmengine.registry import Registry

import mmseg_ovs  # noqa: F401
from tests.tool_loader import ROOT

pytest.importorskip('mkdocs', reason="MkDocs: pip install 'mmseg_ovs[docs]'")
pytest.importorskip('mkdocstrings', reason="MkDocs: pip install 'mmseg_ovs[docs]'")
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def site(tmp_path_factory) -> Path:
    """The folder of the built site."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp('site')
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    logger = logging.getLogger('mkdocs')
    logger.addHandler(handler)
    try:
        config = load_config(
            str(ROOT / 'mkdocs.yml'), site_dir=str(folder), strict=True
        )
        config.plugins.on_startup(command='build', dirty=False)
        build(config)
    except Exception:
        pytest.fail('\n'.join(messages) or 'see the traceback')
    finally:
        logger.removeHandler(handler)
    return folder


def documented(site: Path) -> set[str]:
    """Full names that the API reference has, from Sphinx's kind of inventory."""
    content = (site / 'objects.inv').read_bytes().split(b'\n', 4)[4]
    lines = zlib.decompress(content).decode().splitlines()
    return {line.split()[0] for line in lines}


def test_what_the_packages_offer_is_in_the_reference(site):
    text = '\n'.join(
        p.read_text(encoding='utf-8') for p in (ROOT / 'docs' / 'api').glob('*.md')
    )
    names = documented(site)
    packages = re.findall(r'^::: ([\w.]+)$', text, re.MULTILINE)
    missing = []
    for package in map(pkgutil.resolve_name, packages):
        for name in getattr(package, '__all__', ()):
            part = getattr(package, name)
            # a function that is called like its module is found by its own place
            own = f'{getattr(part, "__module__", "")}.{name}'
            if callable(part) and not {f'{package.__name__}.{name}', own} & names:
                missing.append(own)
    assert packages and not missing


def test_what_a_config_can_name_is_in_the_reference(site):
    names = {name.rpartition('.')[2] for name in documented(site)}
    registries = [r for r in vars(mmseg.registry).values() if isinstance(r, Registry)]
    ours = {
        name
        for registry in registries
        for name, part in registry.module_dict.items()
        if part.__module__.startswith('mmseg_ovs.')
    }
    assert len(ours) > 40
    missing = ours - names
    assert not missing


def test_the_site_loads_nothing_from_elsewhere(site):
    loaded = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:)?//[^"]*"')
    for page in site.rglob('*.html'):
        found = [
            m[0]
            for m in loaded.finditer(page.read_text(encoding='utf-8'))
            if 'canonical' not in m[0]
        ]
        assert not found, page


def test_marks_of_blocks_are_not_seen(site):
    page = (site / 'own_data' / 'index.html').read_text(encoding='utf-8')
    text = re.sub(r'<!--.*?-->', '', page, flags=re.DOTALL)
    assert 'needs:' not in text and 'file:' not in text
    assert 'farm.py' in text


def test_roles_of_sphinx_are_not_seen(site):
    for page in (site / 'api').rglob('*.html'):
        assert ':class:' not in page.read_text(encoding='utf-8'), page
