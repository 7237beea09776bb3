"""Rules that hold for the whole repository: lint, configs, metafiles, documents."""

import ast
import re
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from tests.tool_loader import ROOT, run_process

CONFIGS = sorted((ROOT / 'configs').rglob('*.py'))
BASE_CONFIGS = [path for path in CONFIGS if '_base_' in path.parts]
METAFILES = sorted((ROOT / 'configs').rglob('metafile.yml'))
DOCUMENTS = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')])
DOCUMENTS += sorted((ROOT / 'configs').rglob('*.md'))

# Folders of one machine; documents and configs speak of data/ or PATH.
MACHINE_PATH = re.compile(
    r'(?<![\w.:/}])/(?:home|root|work|tmp|mnt|media|Users|scratch|opt)/|\.\./shared'
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize('command', [['check'], ['format', '--check']], ids=' '.join)
def test_ruff(command):
    run_process('-m', 'ruff', *command, '--no-cache', '.')


def test_imports_are_relative_in_a_room_and_absolute_across():
    """A room is a folder of the package, such as ``mmseg_ovs/models``."""
    wrong = []
    for path in (ROOT / 'mmseg_ovs').glob('*/**/*.py'):
        room, *deeper = path.relative_to(ROOT / 'mmseg_ovs').parts
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.ImportFrom):
                leaves = node.level > len(deeper)
                stays = f'{node.module}.'.startswith(f'mmseg_ovs.{room}.')
                if leaves or (not node.level and stays):
                    wrong.append(f'{relative(path)}:{node.lineno}')
    assert not wrong


@pytest.mark.parametrize('path', BASE_CONFIGS, ids=relative)
def test_base_configs_parse(path):
    assert len(Config.fromfile(path)) > 0


def test_config_names_are_unique():
    """openmim finds a config by its bare name, anywhere in the package."""
    places = defaultdict(list)
    for path in [*CONFIGS, *(ROOT / 'mmseg_ovs').rglob('*.py')]:
        places[path.name].append(relative(path))
    runnable = [path.name for path in CONFIGS if path not in BASE_CONFIGS]
    clashes = {name: places[name] for name in runnable if len(places[name]) > 1}
    assert not clashes


def test_model_index_names_every_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    assert sorted(index['Import']) == [relative(path) for path in METAFILES]


def check_metafile(path: Path) -> None:
    """Check the fields that model-index reads; raises AssertionError."""
    content = yaml.safe_load(path.read_text())
    assert set(content) <= {'Collections', 'Models'}, f'unknown keys in {path.name}'
    collections = {item['Name']: item for item in content.get('Collections', [])}
    for item in collections.values():
        assert (ROOT / item['README']).is_file(), item['README']
        assert {'Title', 'URL'} <= item['Paper'].keys(), item['Name']
    names = [model['Name'] for model in content['Models']]
    assert len(names) == len(set(names)), 'model names are not unique'
    for model in content['Models']:
        assert model['In Collection'] in collections, model['Name']
        assert (ROOT / model['Config']).is_file(), model['Config']
        results = model.get('Results', [])
        for result in results if isinstance(results, list) else [results]:
            assert {'Task', 'Dataset', 'Metrics'} <= result.keys(), model['Name']


@pytest.mark.parametrize('path', METAFILES, ids=relative)
def test_metafile(path):
    check_metafile(path)


GOOD_METAFILE = """
Collections:
- Name: A
  README: README.md
  Paper: {Title: T, URL: U}
Models:
- Name: a_one
  In Collection: A
  Config: configs/_base_/default_runtime.py
  Results:
  - {Task: Semantic Segmentation, Dataset: D, Metrics: {mIoU: 1.0}}
"""


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('', ''),
        ('In Collection: A', 'In Collection: B'),
        ('default_runtime.py', 'no_such.py'),
        ('README.md', 'NO_SUCH.md'),
        ('Dataset: D, ', ''),
        ('Models:', 'Modles:'),
    ],
    ids=['good', 'collection', 'config', 'readme', 'dataset', 'typo'],
)
def test_the_metafile_check_itself(tmp_path, old, new):
    path = tmp_path / 'metafile.yml'
    path.write_text(GOOD_METAFILE.replace(old, new))
    with pytest.raises(AssertionError) if old else nullcontext():
        check_metafile(path)


def test_no_paths_of_one_machine():
    found = [
        f'{relative(path)}: {line}'
        for path in [*CONFIGS, *METAFILES, *DOCUMENTS]
        for line in path.read_text(encoding='utf-8').splitlines()
        if MACHINE_PATH.search(line)
    ]
    assert not found


@pytest.mark.parametrize(
    ('text', 'is_one'),
    [
        ('data_root = "/home/me/coco"', True),
        ('see /tmp/x', True),
        ('../shared/weights', True),
        ('https://host/home/x', False),
        ('data/opt/x', False),
        ('configs/_base_/work/x', False),
    ],
)
def test_the_path_check_itself(text, is_one):
    assert bool(MACHINE_PATH.search(text)) is is_one
