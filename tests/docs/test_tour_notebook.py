"""``docs/tour.ipynb`` runs, cell by cell, with fewer images and steps.

Cells are run in this process instead of a Jupyter kernel: they use plain Python alone,
so a kernel would add four packages and the time of another start, and find no more. The
cell tagged ``parameters`` is followed by others, as papermill does. What a notebook
shows of a cell is the value of its last expression.
"""

import ast
import json

import pytest
from PIL import Image

from tests.tool_loader import ROOT, forget_run

NOTEBOOK = ROOT / 'docs' / 'tour.ipynb'
PARAMETERS = dict(iterations=2, sizes=(16, 1, 4))


def run_cell(source: str, place: str, namespace: dict) -> object:
    """Run a cell; returns what a notebook would show."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, place, 'exec'), namespace)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), place, 'eval'), namespace)


@pytest.fixture(scope='module')
def notebook() -> dict:
    return json.loads(NOTEBOOK.read_text(encoding='utf-8'))


def test_the_file_is_a_notebook_without_outputs(notebook):
    assert (notebook['nbformat'], notebook['nbformat_minor']) == (4, 5)
    ids = [cell['id'] for cell in notebook['cells']]
    assert len(set(ids)) == len(ids)
    for cell in notebook['cells']:
        assert cell.keys() >= {'cell_type', 'id', 'metadata', 'source'}
        if cell['cell_type'] == 'code':
            assert cell['outputs'] == [] and cell['execution_count'] is None
            assert not any(line.startswith(('%', '!')) for line in cell['source'])
    assert len(NOTEBOOK.read_bytes()) < 20_000


@pytest.mark.slow
def test_it_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, shown, parameters = {'__name__': '__main__'}, [], 0
    for cell in notebook['cells']:
        if cell['cell_type'] != 'code':
            continue
        place = f'tour.ipynb, cell {cell["id"]}'
        shown.append(run_cell(''.join(cell['source']), place, namespace))
        if 'parameters' in cell['metadata'].get('tags', ()):
            parameters += 1
            assert namespace.keys() >= PARAMETERS.keys()
            namespace.update(PARAMETERS)
    forget_run()
    assert parameters == 1
    # the image, and the overlays of three vocabularies
    images = [value for value in shown if isinstance(value, Image.Image)]
    assert len(images) == 4
    scores = next(value for value in shown if isinstance(value, dict))
    assert scores.keys() == {'mIoU_seen', 'mIoU_unseen'}
    assert (tmp_path / 'work_dirs/tour/out/pred/00000.png').is_file()
