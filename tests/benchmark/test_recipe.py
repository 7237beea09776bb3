"""Which config a model is tested with on a data set."""

from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_ovs.benchmark.plan import PlanError, make_plan, read_plan
from mmseg_ovs.benchmark.recipe import row_config
from mmseg_ovs.benchmark.zoo import Zoo

CONFIGS = Path(__file__).parents[2] / 'configs'
ZOO = Zoo.read(CONFIGS)


def config_of(model, data, **options):
    plan = make_plan([model], [data], ZOO, CONFIGS, options)
    return row_config(plan, plan.models[0], plan.datasets[0])


def background(cfg):
    return cfg.default_hooks.vocabulary.get('background')


def test_a_models_own_benchmark_config_is_used():
    cfg = config_of('talk2dino_dinov2-reg-l14', 'voc21')
    own = Config.fromfile(CONFIGS / 'talk2dino/talk2dino_dinov2-reg-l14_voc21.py')
    assert cfg.model == own.model and cfg.test_dataloader == own.test_dataloader
    assert background(cfg) == dict(type='threshold', value=0.54)


def test_an_ablation_takes_over_what_the_method_sets_for_a_data_set():
    cfg = config_of('ovs-dino_dinov2-b14_wo-gate', 'voc21')
    ablation = Config.fromfile(CONFIGS / 'ovs_dino/ovs-dino_dinov2-b14_wo-gate.py')
    assert cfg.model == ablation.model
    assert cfg.test_dataloader.dataset.type == 'PascalVOCDataset'
    assert background(cfg) == dict(type='threshold', value=0.5)
    assert background(config_of('ovs-dino_dinov2-b14_wo-gate', 'ade20k')) is None


def test_lines_of_a_benchmark_config_may_use_its_bases(tmp_path):
    """dino.txt changes the Resize of the data set's pipeline."""
    source = Config.fromfile(CONFIGS / 'dinotxt/dinotxt_dinov2-reg-l14.py')
    folder = tmp_path / 'dinotxt'
    folder.mkdir()
    for name in ('dinotxt_dinov2-reg-l14', 'dinotxt_dinov2-reg-l14_whole'):
        source.dump(folder / f'{name}.py')
    lines = (CONFIGS / 'dinotxt/dinotxt_dinov2-reg-l14_ade20k.py').read_text()
    (folder / 'dinotxt_dinov2-reg-l14_ade20k.py').write_text(lines)
    model = str(folder / 'dinotxt_dinov2-reg-l14_whole.py')
    cfg = config_of(model, 'ade20k')
    resize = cfg.test_dataloader.dataset.pipeline[1]
    assert resize.scale == (8192, 512) and resize.backend == 'pillow'


def test_where_the_method_is_not_of_one_mind_the_plan_has_to_say():
    with pytest.raises(PlanError, match='like: NAME'):
        config_of('talk2dino_dinov2-s14', 'voc21')
    cfg = config_of(
        dict(config='talk2dino_dinov2-s14', like='talk2dino_dinov2-reg-b14'), 'voc21'
    )
    assert background(cfg) == dict(type='threshold', value=0.55)
    assert [p.type for p in cfg.model.postprocessors] == ['BackgroundCleaning', 'PAMR']
    # nothing is set for ADE20K by any of them
    assert [
        p.type
        for p in config_of('talk2dino_dinov2-s14', 'ade20k').model['postprocessors']
    ] == ['PAMR']
    with pytest.raises(PlanError, match='there are those of'):
        config_of(dict(config='talk2dino_dinov2-s14', like='nobody'), 'voc21')


def test_another_data_set_replaces_that_of_the_model():
    cfg = config_of('text-similarity_mit-tiny_shapes-112x112', 'camvid')
    assert cfg.test_dataloader.dataset.data_prefix.img_path == 'test'
    assert cfg.test_dataloader.dataset.type == 'OpenVocabSegDataset'
    assert not {'train_dataloader', 'optim_wrapper', 'val_cfg'} & set(cfg)
    assert cfg.model.backbone.type == 'MixVisionTransformer'


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


def test_a_data_set_that_is_a_whole_config_is_refused(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('model = dict()\ntest_dataloader = dict()\ntest_evaluator = dict()')
    with pytest.raises(PlanError, match='sets model'):
        config_of('text-similarity_mit-tiny_shapes-112x112', str(path))


def test_plans_without_data_sets_take_the_models_own():
    plan = make_plan(['OVS-DINO'], [], ZOO, CONFIGS)
    assert 'ovs-dino_dinov2-b14' in [model.name for model in plan.models]
    assert [data.name for data in plan.datasets] == [
        *('voc21', 'context60', 'coco-object', 'voc20', 'context59'),
        *('coco-stuff164k', 'cityscapes', 'ade20k'),
    ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('models: [no-such-model]\ndatasets: [voc21]', 'Collections are'),
        ('models: [talk2dino_dinov2-s14]', 'no benchmark configs'),
        ('models: [talk2dino_dinov2-s14]\ndatasets: [voc2]', 'nor a data set'),
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
        read_plan(path, ZOO, CONFIGS)
