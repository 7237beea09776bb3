"""The built wheel in a clean environment, driven by openmim.

The environment is a virtual environment that holds only the wheel; everything else
comes from the running interpreter's site-packages, through a ``.pth`` line. Paths from
such a line are searched after the environment's own, and their ``.pth`` files (an
editable install of this checkout) are not run.
"""

import shutil
import sys
import sysconfig
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch

from mmseg_ovs.datasets.shapes import write_shapes
from tests.tool_loader import ROOT, run_process

pytestmark = pytest.mark.slow

SOURCES = (
    'setup.py',
    'pyproject.toml',
    'MANIFEST.in',
    'README.md',
    'LICENSE',
    'THIRD_PARTY_NOTICES.md',
    'model-index.yml',
    'requirements.txt',
    'requirements',
    'configs',
    'tools',
    'mmseg_ovs',
)

# Configs of the package that mim finds by their bare names, cut to two iterations.
BARE_NAMES = {
    'text_similarity/text-similarity_mit-tiny_shapes-112x112.py': (),
    # its teacher is trained before, by another config
    'ovs_dino/ovs-dino_tiny_shapes-112x112.py': (
        'model.auxiliary_head.teacher.init_cfg=None',
    ),
}
TWO_ITERATIONS = (
    '--cfg-options',
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'default_hooks.checkpoint.interval=2',
)


run = partial(run_process, PYTHONPATH=None)


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('wheel')


@pytest.fixture(scope='module')
def config(folder, write_stock_config) -> Path:
    """A stock config outside the package; nothing of ours in it but custom_imports."""
    return write_stock_config(folder)


@pytest.fixture(scope='module')
def wheel(folder) -> Path:
    """Build from a copy, so that the checkout stays as it is."""
    source = folder / 'source'
    source.mkdir()
    ignore = shutil.ignore_patterns('__pycache__')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy2(ROOT / name, source / name)
    run(
        *(sys.executable, '-m', 'pip', 'wheel', '--quiet', '--no-deps', '--no-index'),
        *('--no-build-isolation', '--wheel-dir', folder / 'dist', source),
        cwd=folder,
    )
    (path,) = (folder / 'dist').glob('*.whl')
    return path


@pytest.fixture(scope='module')
def python(folder, wheel) -> Path:
    """Interpreter of the clean environment with the wheel in it."""
    env = folder / 'env'
    run(sys.executable, '-m', 'venv', '--without-pip', env, cwd=folder)
    python = env / 'bin' / 'python'
    run(
        *(sys.executable, '-m', 'pip', '--python', python, 'install', '--quiet'),
        *('--no-deps', '--no-index', wheel),
        cwd=folder,
    )
    # After the installation: pip would else take the checkout's install for this one.
    (own,) = (env / 'lib').glob('python*/site-packages')
    paths = {sysconfig.get_path(name) for name in ('purelib', 'platlib')}
    (own / 'running_interpreter.pth').write_text('\n'.join(sorted(paths)) + '\n')
    return python


def test_wheel_has_the_console_command(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (n for n in archive.namelist() if n.endswith('/entry_points.txt'))
        text = archive.read(path).decode()
    assert 'mmseg-ovs = mmseg_ovs.__main__:main' in text.splitlines()


def test_wheel_holds_mim_and_package_data(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for part in ('model-index.yml', 'tools/train.py', 'tools/test.py'):
        assert f'mmseg_ovs/.mim/{part}' in names
    assert not [name for name in names if '.mim/tools/dev' in name]
    shipped = {
        f'mmseg_ovs/.mim/{path.relative_to(ROOT).as_posix()}'
        for path in (ROOT / 'configs').rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }
    assert shipped <= names
    data = ROOT / 'mmseg_ovs' / 'structures' / 'vocabularies'
    assert {
        f'mmseg_ovs/structures/vocabularies/{p.name}' for p in data.iterdir()
    } <= names
    page = {
        f'mmseg_ovs/demo/{name}' for name in ('result.js', 'result.css', 'page.css')
    }
    assert page <= names
    assert not [
        name for name in names if name.startswith(('tests/', 'tools/', 'configs/'))
    ]
    assert any(name.endswith('LICENSE') for name in names)


def test_the_environment_has_the_wheel_and_not_the_checkout(python, folder):
    code = 'import mmseg_ovs; print(mmseg_ovs.__file__)'
    where = run(python, '-c', code, cwd=folder).stdout.strip()
    assert Path(where).is_relative_to(folder / 'env')


@pytest.mark.parametrize('config', BARE_NAMES)
def test_mim_train_and_test_by_bare_name(python, folder, config):
    name = Path(config).name
    work_dir = folder / f'work_{name}'
    mim = (python, '-m', 'mim')
    # where the config looks for it, seen from the folder in which mim runs
    write_shapes(folder / 'data' / 'shapes', seed=0, sizes=(16, 4, 4), workers=1)
    done = run(
        *(*mim, 'train', 'mmseg_ovs', name, '--work-dir', work_dir),
        *TWO_ITERATIONS,
        *BARE_NAMES[config],
        cwd=folder,
    )
    assert f'.mim/configs/{config}' in done.stdout
    checkpoint = work_dir / 'iter_2.pth'
    assert torch.load(checkpoint, weights_only=True)['meta']['iter'] == 2
    done = run(
        *(*mim, 'test', 'mmseg_ovs', name, '--checkpoint', checkpoint),
        *('--data', 'shapes', '--work-dir', folder / 'work_test'),
        cwd=folder,
    )
    assert 'mIoU_unseen' in done.stdout + done.stderr


def test_a_composed_file_runs_in_mmsegmentation(python, folder):
    """Needs the checkpoint of the test above."""
    name = 'text-similarity_mit-tiny_shapes-112x112'
    flat, tools = (
        folder / 'flat.py',
        next(folder.glob('env/lib/*/*/mmseg_ovs/.mim/tools')),
    )
    run(python, tools / 'compose.py', name, 'shapes', '--out', flat, cwd=folder)
    done = run(
        *(python, '-m', 'mim', 'test', 'mmsegmentation', flat),
        *('--checkpoint', folder / f'work_{name}.py' / 'iter_2.pth'),
        *('--work-dir', folder / 'work_flat'),
        cwd=folder,
    )
    assert 'mmseg/.mim/tools/test.py' in done.stdout  # mmseg's script, not ours
    assert 'mIoU_unseen' in done.stdout + done.stderr


def test_mim_train_mmsegmentation_needs_only_custom_imports(python, folder, config):
    work_dir = folder / 'work_mmseg'
    done = run(
        *(python, '-m', 'mim', 'train', 'mmsegmentation', config),
        *('--work-dir', work_dir),
        cwd=folder,
    )
    assert 'mmseg/.mim/tools/train.py' in done.stdout  # mmseg's script, not ours
    assert (work_dir / 'iter_2.pth').is_file()


def test_a_config_without_the_import_fails_with_mmcv_lite(python, folder, config):
    """The control of the test above: it is custom_imports that makes it work."""
    code = 'import mmcv._ext'
    if run(python, '-c', code, cwd=folder, code=None).returncode == 0:
        pytest.skip('a full mmcv is installed')
    bare = folder / 'without_import.py'
    lines = config.read_text().splitlines()
    bare.write_text('\n'.join(x for x in lines if not x.startswith('custom_imports')))
    done = run(
        *(python, '-m', 'mim', 'train', 'mmsegmentation', bare),
        *('--work-dir', folder / 'work_none'),
        cwd=folder,
        code=None,
    )
    assert done.returncode != 0
    assert 'mmcv._ext' in done.stdout + done.stderr
