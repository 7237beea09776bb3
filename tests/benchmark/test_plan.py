"""Plans of benchmarks, and the config of each of their tests."""

import pytest

from mmseg_ovs.benchmark.plan import PlanError, make_plan, read_plan
from mmseg_ovs.benchmark.rows import UNTRAINED, Row, prepare_rows, row_config
from mmseg_ovs.benchmark.tables import published
from mmseg_ovs.benchmark.zoo import Zoo, dataset_title, readme_figures
from mmseg_ovs.composition import OptionError
from mmseg_ovs.composition.names import configs_folder
from tests.tool_loader import ROOT

ZOO = Zoo.read(configs_folder())
SHIPPED = [path.stem for path in sorted((ROOT / 'configs/plans').glob('*.yml'))]


def config_of(model, data, **options):
    plan = make_plan([model], [data], ZOO, options)
    cfg, settings = row_config(plan, plan.models[0], plan.datasets[0])
    assert settings == ''
    return cfg


def test_options_and_checkpoint_reach_the_config():
    cfg = config_of(
        dict(
            config='text-similarity_mit-tiny_shapes-112x112',
            checkpoint='x.pth',
            cfg_options={'model.test_cfg.chunk_mb': 3},
        ),
        dict(
            config='shapes', cfg_options={'test_dataloader.dataset.data_root': 'there'}
        ),
        **{'test_dataloader.num_workers': 0},
    )
    assert (cfg.load_from, cfg.model.test_cfg.chunk_mb) == ('x.pth', 3)
    assert cfg.test_dataloader.dataset.data_root == 'there'
    assert cfg.test_dataloader.num_workers == 0


def test_a_row_is_a_test_alone():
    cfg = config_of('text-similarity_mit-tiny_shapes-112x112', 'camvid')
    assert not {'train_dataloader', 'optim_wrapper', 'val_cfg'} & set(cfg)
    with pytest.raises(OptionError, match='max_iters'):
        config_of('talk2dino_dinov2-b14', 'voc21', max_iters=5)


def test_plans_without_data_sets_take_the_benchmarks_of_the_method():
    plan = make_plan(['OVS-DINO'], [], ZOO)
    assert 'ovs-dino_dinov2-b14' in [model.name for model in plan.models]
    assert [data.name for data in plan.datasets] == [
        *('voc21', 'context60', 'coco-object', 'voc20', 'context59'),
        *('coco-stuff164k', 'cityscapes', 'ade20k'),
    ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('models: [no-such-model]\ndatasets: [voc21]', 'Collections are'),
        ('models: [text-similarity_dinov2-s14_camvid]', 'no benchmarks of'),
        ('models: [talk2dino_dinov2-s14]\ndatasets: [voc2]', 'name of a data set'),
        ('models: []', 'no model'),
        ('models: [{name: a, published: {voc21: 1}}]', 'no model'),
        ('models: [{name: a, published: {voc21: 1}, checkpoint: x}]', 'has no config'),
        (
            'models: [talk2dino_dinov2-s14, {name: a, published: {voc2: 1}}]\n'
            'datasets: [voc21]',
            "figures of 'voc2', which is no data set",
        ),
        ('modles: []', "unknown key 'modles'"),
        ('models: [{config: talk2dino_dinov2-s14, chekpoint: x}]', "'chekpoint'"),
        (
            'models: [talk2dino_dinov2-s14, talk2dino_dinov2-s14]\ndatasets: [voc21]',
            'twice',
        ),
        ('- a', 'mapping'),
        ('a: [', 'cannot be read'),
    ],
)
def test_plans_with_mistakes(tmp_path, text, message):
    path = tmp_path / 'plan.yml'
    path.write_text(text)
    with pytest.raises(PlanError, match=message):
        read_plan(path, ZOO)


# What the papers print as averages, to compare with the cells. (OVS-DINO prints 28.7
# for DINO, and the cells give 26.7.)
AVERAGES = {
    'ovs-dino_table1': {
        **{'GroupViT': 29.4, 'ReCo (CLIP B/16)': 23.5, 'TCL': 33.9, 'CoDe': 30.3},
        **{'CLIP-DINOiser': 40.2, 'Talk2DINO': 43.8, 'DSGS (CLIP B/16)': 44.8},
        **{'PixelCLIP-ViT': None, 'SynSeg (CLIP B/16)': None, 'dino.txt': None},
        'OVS-DINO': 46.9,
    },
    'ovs-dino_table2': {
        **{'w/o SA': 44.1, 'w/o Encoder': 40.3, 'w/o PG': 32.7, 'OVS-DINO': 46.9}
    },
    'ovs-dino_table3': {'four layers': 45.7, 'frozen DINO': 41.4, 'OVS-DINO': 46.9},
    'ovs-dino_table4': {'SAM features': 46.88, 'DINO features': 46.89},
    'ovs-dino_backbones': {'DINO': 26.66, 'DINOv2 (reg)': 46.7, 'DINOv2 (Ours)': 46.9},
    'dinov3-seg_table1': {'dinov3.seg': 50.44},
    'dinov3-seg_ablations': {'dinov3.seg': 50.44},
}


@pytest.mark.parametrize('name', SHIPPED)
def test_shipped_plans(name):
    """Every model and data set is there and goes with the others."""
    plan = read_plan(name, ZOO)
    for model in plan.models:
        for data in plan.datasets if model.config else ():
            row_config(plan, model, data)


@pytest.mark.parametrize('name', AVERAGES)
def test_shipped_tables_have_the_figures_of_the_paper(name):
    plan = read_plan(name, ZOO)
    averages = {}
    for model in plan.models:
        rows = [Row(model, data) for data in plan.datasets]
        figures = [published(row, ZOO) for row in rows]
        whole = None not in figures
        averages[model.name] = sum(figures) / len(figures) if whole else None
    assert AVERAGES[name].keys() <= averages.keys()
    for model, average in AVERAGES[name].items():
        places = 0.051 if name.startswith('ovs-dino') else 0.0051
        assert averages[model] == (average and pytest.approx(average, abs=places))


def test_published_rows_are_those_of_the_page():
    page = readme_figures((ROOT / 'docs/compare.md').read_text(encoding='utf-8'))
    compared = 0
    for name in AVERAGES:
        for model in read_plan(name, ZOO).models:
            title = model.name.replace(' (CLIP B/16)', ', CLIP B/16')
            figures = next((page[row] for row in page if row.startswith(title)), {})
            if model.config is None:
                mine = {dataset_title(k): v for k, v in model.published.items()}
                assert mine == figures, model.name
                compared += 1
    assert compared == 8


def test_models_without_weights_say_so_before_anything_runs(tmp_path):
    plan = make_plan(
        ['talk2dino_dinov2-reg-b14', 'ovs-dino_dinov2-b14'], ['voc21'], ZOO
    )
    assert [bool(model.untrained) for model in plan.models] == [False, True]
    _, row = prepare_rows(plan, tmp_path)
    assert row.status == UNTRAINED and 'configs/ovs_dino/README.md' in row.reason
    _, row = prepare_rows(plan, tmp_path, allow_random=True)
    assert row.status != UNTRAINED

    file = tmp_path / 'epoch_25.pth'
    file.touch()
    name = 'ovs-dino_dinov2-b14'
    trained = plan.with_checkpoints({name: str(file)})
    assert trained.models[1].checkpoint == str(file)
    assert not trained.models[1].untrained and trained.models[0] == plan.models[0]
    with pytest.raises(PlanError, match="no model 'ovs-dino'. It has: talk2dino"):
        plan.with_checkpoints({'ovs-dino': str(file)})
    with pytest.raises(PlanError, match='No checkpoint of ovs-dino_dinov2-b14 at x'):
        plan.with_checkpoints({name: 'x.pth'})
