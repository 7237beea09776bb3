"""One protocol for all models: what it changes, and what a model keeps."""

import pytest

from mmseg_ovs.benchmark.common import CommonProtocol
from mmseg_ovs.benchmark.plan import PlanError, find_plan, make_plan, read_plan
from mmseg_ovs.benchmark.rows import row_config
from mmseg_ovs.benchmark.zoo import Model, Zoo
from mmseg_ovs.composition import compose
from mmseg_ovs.composition.names import configs_folder
from mmseg_ovs.models.segmentors import InferenceCfg

ZOO = Zoo.read(configs_folder())
VIEWS = dict(shorter_side=448, window=448, stride=224)
COMMON = CommonProtocol(**VIEWS, names='plain', postprocessors='none')
SIZES = dict(crop_size=(448, 448), stride=(224, 224), input_size=(448, 448))


def resizes(cfg):
    pipeline = cfg.test_dataloader.dataset.pipeline
    return [step for step in pipeline if step['type'] == 'Resize']


@pytest.mark.parametrize(
    ('model', 'data', 'kept'),
    [
        ('sclip_clip-b16', 'cityscapes', dict(logit_scale=40)),  # own pipeline
        ('naclip_clip-b16', 'voc21', dict(logit_scale=40)),  # whole image and PAMR
        ('talk2dino_dinov2-reg-b14', 'coco-object', {}),  # threshold and cleaning
        ('dinotxt_dinov2-reg-l14', 'voc21', dict(window_softmax=True)),
    ],
)
def test_what_takes_the_place_of_the_models_own(model, data, kept):
    cfg = compose(model, data)
    assert COMMON.apply(cfg, 'training-free') == 'common'
    assert resizes(cfg) == [dict(type='Resize', scale=(2048, 448), keep_ratio=True)]
    assert cfg.model.test_cfg == dict(mode='slide', **SIZES, **kept)
    assert 'postprocessors' not in cfg.model
    assert cfg.default_hooks.vocabulary == dict(type='VocabularyHook')


def test_a_background_that_the_head_finds_is_a_word_like_others():
    cfg = compose('groupvit_gcc-yfcc', 'voc21')
    assert COMMON.apply(cfg) == 'common'
    assert 'background_threshold' not in cfg.model.decode_head
    assert cfg.default_hooks.vocabulary == dict(type='VocabularyHook')


def test_what_is_left_out_stays():
    cfg, own = (compose('naclip_clip-b16', 'voc21') for _ in range(2))
    assert CommonProtocol(postprocessors='none').apply(cfg) == 'common'
    del own.model['postprocessors']
    assert cfg.to_dict() == own.to_dict()


@pytest.mark.parametrize(
    ('changes', 'method', 'reason'),
    [
        (dict(mode='local-global'), None, 'mode local-global'),
        ({}, 'mask-supervised', 'trained on masks at this size'),
        (dict(type='EncoderDecoder'), None, 'EncoderDecoder has no windows'),
    ],
)
def test_what_a_model_keeps_is_said(changes, method, reason):
    cfg, own = (compose('talk2dino_dinov2-reg-b14', 'voc21') for _ in range(2))
    for config in (cfg, own):
        config.model.type = changes.get('type', config.model.type)
        if 'mode' in changes:
            config.model.test_cfg.mode = changes['mode']
    told = COMMON.apply(cfg, method)
    assert told == f'common but own size and windows ({reason})'
    assert resizes(cfg) == resizes(own)
    assert cfg.model.test_cfg == own.model.test_cfg
    assert 'postprocessors' not in cfg.model  # the rest applies


def test_a_model_without_the_hook_keeps_its_names():
    cfg = compose('sclip_clip-b16', 'voc21')
    del cfg.default_hooks['vocabulary']
    assert COMMON.apply(cfg) == 'common but own names (it has no VocabularyHook)'


@pytest.mark.parametrize(
    ('protocol', 'message'),
    [
        (dict(short_side=448), "unknown key 'short_side'"),
        (dict(window=448), 'window and stride go together'),
        (dict(shorter_side='448'), "number of pixels, not '448'"),
        (dict(window=0, stride=0), 'number of pixels, not 0'),
        (dict(names='data set'), "names is one of .* not 'data set'"),
        (dict(postprocessors=True), 'postprocessors is one of'),
        ({}, 'it sets nothing'),
        ([448], 'mapping'),
    ],
)
def test_mistakes(protocol, message):
    with pytest.raises(PlanError, match=message):
        make_plan(['sclip_clip-b16'], ['voc20'], ZOO, protocol=protocol)


def test_the_shipped_plan_runs_every_method():
    plan = read_plan('common_protocol', ZOO)
    assert plan.protocol == COMMON
    run = {ZOO.models[model.name].collection['Name'] for model in plan.models}
    out = {ZOO.models[name].collection['Name'] for name in plan.left_out}
    assert run | out == {
        name
        for name, item in ZOO.collections.items()
        if item['Metadata'].get('Benchmarks')
    }
    for model in plan.models:
        for data in plan.datasets:
            cfg, settings = row_config(plan, model, data)
            assert settings.startswith('common')
            own_type = cfg.model.type != 'OpenVocabSegmentor'
            assert own_type or InferenceCfg(**cfg.model.test_cfg)
            if settings == 'common':
                assert dict(cfg.model.test_cfg).items() >= SIZES.items()


def test_settings_of_the_command_line_and_of_a_model_go_over_a_plan(tmp_path):
    plan = read_plan(
        *('common_protocol', ZOO, ['SCLIP'], ['ade20k']),
        {'test_dataloader.num_workers': 0},
    )
    assert [model.name for model in plan.models] == ['sclip_clip-b16']
    assert [data.name for data in plan.datasets] == ['ade20k']
    cfg, settings = row_config(plan, plan.models[0], plan.datasets[0])
    assert (cfg.test_dataloader.num_workers, settings) == (0, 'common')
    (tmp_path / 'plan.yml').write_text(
        'models: [{config: sclip_clip-b16, cfg_options: '
        '{model.test_cfg.logit_scale: 50}}]\n'
        'datasets: [voc20]\nprotocol: {names: plain}'
    )
    plan = read_plan(tmp_path / 'plan.yml', ZOO)
    cfg, settings = row_config(plan, plan.models[0], plan.datasets[0])
    assert cfg.model.test_cfg.logit_scale == 50
    assert settings == 'common; over it the plan sets model.test_cfg.logit_scale'


def test_plans_by_name():
    assert find_plan('common_protocol').parent == configs_folder() / 'plans'
    with pytest.raises(PlanError, match='There are: common_protocol'):
        find_plan('comon_protocol')


def test_all_is_every_method_with_benchmarks_and_weights():
    def model(name, collection, licence='MIT', results=()):
        entry = {'Name': name, 'Metadata': {'Weights Licence': licence}}
        return Model({**entry, 'Results': list(results)}, collection)

    new = {'Name': 'New', 'Metadata': {'Benchmarks': ['voc20']}}
    demo = {'Name': 'Demo', 'Metadata': {}}
    models = [
        model('sclip_clip-b16', new, results=[{}]),
        model('maskclip_clip-b16', new),  # a variant without scores
        model('naclip_clip-b16', new, 'CLIP: MIT; the rest is not published', [{}]),
        model('text-similarity_mit-tiny_shapes-112x112', demo),
    ]
    zoo = Zoo({'New': new, 'Demo': demo}, {model.name: model for model in models})
    plan = make_plan('all', [], zoo)
    assert [entry.name for entry in plan.models] == ['sclip_clip-b16']
    assert plan.left_out == ['naclip_clip-b16']
    assert [data.name for data in plan.datasets] == ['voc20']
    assert not make_plan(['sclip_clip-b16'], [], zoo).left_out
    with pytest.raises(PlanError, match='twice'):
        make_plan(['all', 'New'], [], zoo)
