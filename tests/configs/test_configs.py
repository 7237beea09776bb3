"""Every shipped config parses and builds its model; metafiles name what is there."""

import pytest
import torch
import yaml
from mmengine import Config
from mmseg.registry import MODELS

from mmseg_ovs.benchmark.zoo import Zoo, missing_facts, readme_figures
from tests.tool_loader import ROOT
from tools.dev.model_zoo import zoo_page

CONFIGS = sorted(
    path for path in (ROOT / 'configs').glob('*/*.py') if path.parent.name != '_base_'
)
METHODS = sorted({path.parent for path in CONFIGS})


def each_once(values):
    """The values without repetitions; they need not be hashable."""
    kept = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept


@pytest.mark.parametrize('method', METHODS, ids=lambda path: path.name)
def test_models_build(method):
    """Every model of a method once, without memory."""
    paths = [path for path in CONFIGS if path.parent == method]
    configs = [Config.fromfile(path) for path in paths]
    assert all(cfg.custom_imports['imports'] == ['mmseg_ovs'] for cfg in configs)
    for model in each_once(cfg.model for cfg in configs):
        # a stock backbone reads values when it is built
        kinds = [model.get(k, {}).get('type') for k in ('backbone', 'image_encoder')]
        stock = {'MixVisionTransformer', 'VisionTransformer'} & set(kinds)
        with torch.device('cpu' if stock else 'meta'):
            built = MODELS.build(model)
        assert sum(p.numel() for p in built.parameters()) > 0


@pytest.mark.parametrize('method', METHODS, ids=lambda path: path.name)
def test_metafile(method):
    assert (method / 'README.md').is_file()
    metafile = yaml.safe_load((method / 'metafile.yml').read_text(encoding='utf-8'))
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))
    assert f'configs/{method.name}/metafile.yml' in index['Import']
    names = [model['Name'] for model in metafile['Models']]
    assert names == sorted(p.stem for p in CONFIGS if p.parent == method)
    collections = {item['Name'] for item in metafile['Collections']}
    for model in metafile['Models']:
        assert model['Config'] == f'configs/{method.name}/{model["Name"]}.py'
        assert model['In Collection'] in collections
    for item in metafile['Collections']:
        assert (ROOT / item['README']).is_file()


@pytest.mark.parametrize('method', METHODS, ids=lambda path: path.name)
def test_metafile_says_what_weights_and_figures_are(method):
    zoo = Zoo.read(ROOT / 'configs')
    content = yaml.safe_load((method / 'metafile.yml').read_text(encoding='utf-8'))
    for item in content['Collections']:
        assert missing_facts(zoo, item['Name']) == []


@pytest.mark.parametrize('method', METHODS, ids=lambda path: path.name)
def test_figures_of_the_readme_are_in_the_metafile(method):
    """Every row of figures is the results of some model, and the other way round."""
    figures = readme_figures((method / 'README.md').read_text(encoding='utf-8'))
    models = yaml.safe_load((method / 'metafile.yml').read_text(encoding='utf-8'))[
        'Models'
    ]
    results = [
        {item['Dataset']: item['Metrics']['mIoU'] for item in model['Results']}
        for model in models
        if model.get('Results')
    ]
    lacking = {name: row for name, row in figures.items() if row not in results}
    assert not lacking, 'rows of the README that are the Results of no model'
    assert not [row for row in results if row not in figures.values()]


def test_model_zoo_page_is_up_to_date():
    page = (ROOT / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
    assert page == zoo_page(Zoo.read(ROOT / 'configs')), (
        'run python tools/dev/model_zoo.py'
    )
