"""The requirement files say what the code imports, within bounds, and why."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.tool_loader import ROOT

FILES = ('requirements.txt', 'requirements/tests.txt')


def requirements(file: str) -> dict[str, Requirement]:
    lines = [line.split('#')[0].strip() for line in (ROOT / file).open()]
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(req.name): req for req in found}


# Extras whose packages are not part of the tested set of requirements.txt: the folders
# and files that alone may import them.
OPTIONAL = {
    'pseudo_masks': 'mmseg_ovs/pseudo_masks/',
    'groupvit': 'mmseg_ovs/models/backbones/groupvit.py',
    'export': 'mmseg_ovs/export/',
    'docs': 'docs/',
    'page': 'mmseg_ovs/demo/',
    'heic': 'mmseg_ovs/utils/image_check.py',
    'supervision': 'mmseg_ovs/apis/prediction.py',
    'polygons': 'mmseg_ovs/apis/prediction.py',
    'geotiff': 'mmseg_ovs/apis/geotiff',
    'video': 'mmseg_ovs/apis/video_encoders.py',
}


def setup_requirements() -> tuple[dict[str, Requirement], dict[str, Requirement]]:
    """Requirement strings in setup.py: all but the optional ones, and the optional."""
    tree = ast.parse((ROOT / 'setup.py').read_text())
    (call,) = (
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'setup'
    )
    values = {word.arg: word.value for word in call.keywords}
    extras = ast.literal_eval(values['extras_require'])
    optional = sum((extras.pop(name) for name in OPTIONAL), [])
    lines = ast.literal_eval(values['install_requires']) + sum(extras.values(), [])
    return tuple(
        {canonicalize_name(Requirement(x).name): Requirement(x) for x in part}
        for part in (lines, optional)
    )


def imported_modules(folder: str) -> dict[str, set[str]]:
    """Top-level modules imported under a folder, and the files that do it."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / folder).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            else:
                continue
            for name in names:
                where = found.setdefault(name.split('.')[0], set())
                where.add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize('file', FILES)
def test_every_requirement_has_an_upper_bound_and_a_reason(file):
    for paragraph in (ROOT / file).read_text().split('\n\n'):
        lines = [line for line in paragraph.splitlines() if line]
        if any(not line.startswith('#') for line in lines):
            assert lines[0].startswith('#'), f'{file}: no reason given for {lines}'
    undated = {k: v for k, v in requirements(file).items() if k != 'regex'}
    for name, requirement in undated.items():
        operators = {spec.operator for spec in requirement.specifier}
        assert operators & {'<', '=='}, f'{file}: {name} has no upper bound'


def test_setup_names_the_same_distributions_and_takes_in_the_tested_set():
    tested, (stated, optional) = requirements('requirements.txt'), setup_requirements()
    assert tested.keys() == stated.keys()
    for name, requirement in optional.items():
        assert requirement == requirements('requirements/tests.txt')[name]
    for name, requirement in tested.items():
        for spec in requirement.specifier:
            if spec.operator in ('>=', '=='):
                assert stated[name].specifier.contains(spec.version), name


@pytest.mark.parametrize('folder', ['mmseg_ovs', 'tools'])
def test_every_import_is_a_stated_requirement(folder):
    stated = requirements('requirements.txt').keys()
    _, optional = setup_requirements()
    distributions = packages_distributions()
    own = {'mmseg_ovs', *(path.stem for path in (ROOT / 'tools').rglob('*'))}
    for module, files in imported_modules(folder).items():
        if module in sys.stdlib_module_names or module in own:
            continue
        owners = {canonicalize_name(name) for name in distributions.get(module, [])}
        if module == 'mmcv':  # a full mmcv may be installed instead
            owners.add('mmcv-lite')
        if owners & optional.keys() and all(
            f.startswith(tuple(OPTIONAL.values())) for f in files
        ):
            continue
        assert owners & stated, (
            f'{sorted(files)} import {module} (of {sorted(owners) or "nothing"} '
            'installed), which requirements.txt does not name'
        )


def test_the_running_environment_satisfies_the_files():
    for file in FILES:
        for name, requirement in requirements(file).items():
            if name == 'mmcv-lite' and 'mmcv' in packages_distributions()['mmcv']:
                continue
            assert requirement.specifier.contains(version(name)), name


def test_known_traps_stay_closed():
    """Versions that were seen to break the installation or an import."""
    tested = requirements('requirements.txt')
    for name, bad in (
        ('mmcv-lite', '2.2.0'),  # mmseg 1.2.2 refuses it
        ('setuptools', '82.0.0'),  # no pkg_resources, which openmim imports
        ('openxlab', '0.1.3'),  # pins old setuptools, requests, rich, tqdm
        ('torchvision', '0.28.0'),  # built for another torch
    ):
        assert not tested[name].specifier.contains(bad), name
    assert not re.search(r'^mmcv(?!-lite)', (ROOT / FILES[0]).read_text(), re.MULTILINE)
    assert 'transformers' not in tested
