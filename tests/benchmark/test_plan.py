"""Plans of benchmarks, and the config of each of their tests."""

import pytest

from mmseg_ovs.benchmark.plan import PlanError, make_plan, read_plan
from mmseg_ovs.benchmark.rows import row_config
from mmseg_ovs.benchmark.zoo import Zoo
from mmseg_ovs.composition import OptionError
from mmseg_ovs.composition.names import configs_folder

ZOO = Zoo.read(configs_folder())


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
