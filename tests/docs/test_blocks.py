"""Every code block of README.md and docs/ is run, or says what it would take.

Run, in the order of the page, in one folder with one namespace a page:

- ``python`` blocks, and ``shell`` blocks of ``python`` commands, in this process. The
  folder has what the pages take for granted (``conftest.py``): images, a video, a
  tiny data set, a model of two training steps. Words in capitals and the name of one
  published model stand for that model (``STAND_INS``); the smallest recipe with
  published weights has a tiny backbone and text tower and two steps.
- blocks marked ``file: NAME`` are written there. Configs among them are parsed and
  their models built; a file that docs/ has must be equal to it.
- ``yaml`` blocks are plans of benchmarks and have to resolve.

Blocks marked ``needs: ...`` are not run. Of those, and of all blocks in the READMEs of
configs/, every line of shell is checked: the program, script, module, make target, pip
extra or requirement file exists, the tool's own argparse parser (click's, for mim)
accepts the arguments, and configs and data sets that are named exist. Python must
compile, and what it imports from mmseg_ovs must be there.

Not checked: what ``text`` blocks show, and the programs in ``doc_commands.FOREIGN``.
"""

import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from doc_blocks import LANGUAGES, MARKS, NEEDS, Block, read_blocks, without_blocks
from doc_commands import check_command, read_commands, run_command
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

from mmseg_ovs.benchmark.plan import read_plan
from mmseg_ovs.benchmark.zoo import Zoo
from tests.tool_loader import ROOT, forget_run

DOCS = ROOT / 'docs'
PAGES = sorted([ROOT / 'README.md', *DOCS.rglob('*.md')])
METHODS = sorted((ROOT / 'configs').glob('*/README.md'))

STAND_INS = {
    'CONFIG': 'shapes.py',
    'CHECKPOINT': 'shapes.pth',
    'IMAGE_VIDEO_OR_FOLDER...': 'photos',
    'IMG_OR_FOLDER': 'photos',
    'X.pth': 'shapes.pth',
    'talk2dino_dinov2-reg-b14': 'shapes.py',
}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def stand_in(text: str) -> str:
    """Put the tiny model in the place of what a page names."""
    for word, value in STAND_INS.items():
        text = re.sub(rf'(?<![\w./-]){re.escape(word)}(?![\w-])', value, text)
    return text


@pytest.mark.parametrize('page', PAGES, ids=relative)
def test_blocks_say_what_they_are(page):
    visible = re.sub(r'<!--.*?-->', '', without_blocks(page))
    for block in read_blocks(page):
        assert block.language in LANGUAGES, (
            f'{block.place}: language {block.language!r}'
        )
        assert block.marks.keys() <= MARKS, f'{block.place}: {block.marks}'
        assert block.needs <= NEEDS, f'{block.place}: needs {block.needs}'
        name = Path(block.marks.get('file', '')).name
        assert name in visible, f'{block.place}: the page does not say {name}'


@pytest.mark.parametrize('page', PAGES, ids=relative)
def test_blocks_run(page, workspace, monkeypatch):
    namespace = dict(
        __name__='__main__',
        config='shapes.py',
        checkpoint='shapes.pth',
        bgr_array=np.zeros((48, 64, 3), np.uint8),
    )
    variables: dict[str, str] = {}
    monkeypatch.syspath_prepend(workspace)  # modules that pages write
    for block in read_blocks(page):
        try:
            if 'file' in block.marks:
                write_file(block, workspace)
            elif 'run by' in block.marks:
                assert page.name in (ROOT / block.marks['run by']).read_text(
                    encoding='utf-8'
                )
            elif block.needs:
                check_block(block, variables, monkeypatch)
            else:
                run_block(block, namespace, variables, monkeypatch)
        except Exception as error:
            error.add_note(f'in the block at {block.place}')
            raise


@pytest.mark.parametrize('page', METHODS, ids=relative)
def test_commands_of_a_method(page, monkeypatch):
    variables: dict[str, str] = {}
    for block in read_blocks(page):
        first = block.text.split()[0]
        if not first.startswith('--'):  # options alone, for a command above
            check_shell(block, variables, monkeypatch)


# --------------------------------------------------------------------------- running
def run_block(block: Block, namespace: dict, variables: dict, monkeypatch) -> None:
    if block.language == 'python':
        # empty lines before it: tracebacks then show the line of the page
        code = compile('\n' * block.line + stand_in(block.text), block.place, 'exec')
        exec(code, namespace)
        forget_run()
    elif block.language == 'shell':
        for command in read_commands(stand_in(block.text), variables):
            run_command(command, monkeypatch)
    elif block.language == 'yaml':
        Path('plan.yml').write_text(block.text)
        read_plan('plan.yml', Zoo.read(ROOT / 'configs'))


def write_file(block: Block, folder: Path) -> None:
    name = block.marks['file']
    if (DOCS / name).is_file():
        assert block.text == (DOCS / name).read_text(encoding='utf-8'), (
            f'differs from docs/{name}'
        )
        return  # run by test_drop_in.py
    (folder / name).write_text(block.text)
    if block.language == 'python' and '_base_' in block.text:
        build_config(folder / name)
    elif block.language == 'yaml':
        read_plan(folder / name, Zoo.read(ROOT / 'configs'))


def build_config(path: Path) -> None:
    """Parse a config and build its model without memory."""
    cfg = Config.fromfile(path)
    init_default_scope('mmseg')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    assert sum(p.numel() for p in model.parameters()) > 0


# -------------------------------------------------------------------------- checking
def check_block(block: Block, variables: dict, monkeypatch) -> None:
    if block.language == 'shell':
        check_shell(block, variables, monkeypatch)
    elif block.language == 'python':
        check_python(block.text)
    elif block.language == 'yaml':
        yaml.safe_load(block.text)


def check_shell(block: Block, variables: dict, monkeypatch) -> None:
    for command in read_commands(block.text, variables):
        try:
            check_command(command, monkeypatch)
        except Exception as error:
            error.add_note(f'{block.place}: {command.line.strip()}')
            raise


def check_python(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith('mmseg_ovs'):
            module = importlib.import_module(node.module)
            missing = [a.name for a in node.names if not hasattr(module, a.name)]
            assert not missing, f'{node.module} has no {missing}'


# ---------------------------------------------------------------- the checks themselves
PAGE = """
<!-- needs: weights, gpu -->
```shell
R="python tools/train.py"
$R CONFIG \\
    --amp   # a comment
```
1. item

   ```python
   x = 1
   ```
"""


def test_reading_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr('doc_blocks.ROOT', tmp_path)
    page = tmp_path / 'page.md'
    page.write_text(PAGE)
    shell, python = read_blocks(page)
    assert (shell.language, shell.place) == ('shell', 'page.md:3')
    assert shell.needs == {'weights', 'gpu'} and not python.needs
    assert python.text == 'x = 1\n'
    (command,) = read_commands(shell.text, {})
    assert command.words == ('python', 'tools/train.py', 'CONFIG', '--amp')


@pytest.mark.parametrize(
    'line',
    [
        'python tools/train.py CONFIG --no-such-option',
        'python tools/no_such_tool.py',
        'python tools/train.py',
        'python -m mmseg_ovs.predict photos --config no_such_config --out o',
        'python tools/benchmark.py --models cat-seg_clip-b16 --datasets no_such_set',
        'python tools/benchmark.py no_such_plan',
        'python tools/benchmark.py ovs-dino_table2 --checkpoints no-such=FILE',
        'python -m no_such_module',
        "python -c 'x ='",
        'make no_such_target',
        'pip install -r no_such_file.txt',
        "pip install 'mmseg_ovs[no_such_extra]'",
        'mim train mmseg_ovs no_such_config.py',
        'mim train',
        'tools/no_such_script.sh CONFIG 8',
        'no_such_program',
    ],
)
def test_what_is_wrong_is_noticed(line, monkeypatch):
    (command,) = read_commands(line, {})
    with pytest.raises(Exception):  # noqa: B017  whatever the checked tool raises
        check_command(command, monkeypatch)


@pytest.mark.parametrize(
    'line',
    [
        'python tools/train.py CONFIG --work-dir W',
        'python -m mmseg_ovs.predict IMG --config talk2dino_dinov2-reg-b14 --out OUT',
        'python tools/benchmark.py --models cat-seg_clip-b16 --datasets voc20b',
        'OMP_NUM_THREADS=1 torchrun --nproc-per-node=2 tools/test.py CONFIG X.pth',
        'make demo VENV=PATH',
        "pip install 'mmseg_ovs[openmmlab,mim] @ git+URL'",
        'mim train mmseg_ovs text-similarity_mit-tiny_shapes-112x112.py --work-dir W',
    ],
)
def test_what_is_right_is_accepted(line, monkeypatch):
    (command,) = read_commands(line, {})
    check_command(command, monkeypatch)
