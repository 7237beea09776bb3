"""The tool that extracts Talk2DINO's training features, and training from them."""

import json

import numpy as np
import pytest
import torch
from mmengine import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import MODELS
from PIL import Image
from safetensors import safe_open

from mmseg_ovs.datasets import FeaturePairsDataset
from mmseg_ovs.datasets.feature_shards import MANIFEST, shard_name, verify_shard
from mmseg_ovs.models.backbones import DINOv2
from tests.tool_loader import ROOT, load_tool

IMAGES = 7
# (image, caption); captions of an image do not stand together, as in COCO's json
CAPTIONS = [
    (i, f'{"a photo of " * k}thing {i}') for k in range(2) for i in range(IMAGES)
][:-1]

CONFIG = """
_base_ = [
    '{root}/configs/_base_/models/talk2dino.py',
    '{root}/configs/_base_/datasets/coco_captions.py',
    '{root}/configs/_base_/schedules/talk2dino_100e.py',
    '{root}/configs/_base_/default_runtime.py',
]
model = dict(
    data_preprocessor=dict(size=(28, 28)),
    backbone=dict(
        type='CountingDINOv2',
        arch=dict(
            _delete_=True, embed_dims=24, depth=2, num_heads=3, feed_forward='mlp'
        ),
        img_size=28,
        init_cfg=dict(_delete_=True, type='Pretrained', checkpoint='{data}/dino.pth'),
    ),
    text_encoder=dict(
        _delete_=True,
        type='OpenCLIPTextEncoder',
        model=dict(embed_dim=16, text_cfg=dict(width=16, heads=2, layers=1)),
        init_cfg=dict(type='Pretrained', checkpoint='{data}/clip.pth'),
    ),
    decode_head=dict(in_channels=24, text_channels=16),
)
caption_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(28, 28)),
    dict(
        type='PackSegInputs',
        meta_keys=('img_path', 'image_id', 'caption', 'ori_shape', 'img_shape'),
    ),
]
train_dataloader = dict(
    batch_size=13,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False),
    dataset=dict(
        data_root='{data}',
        ann_file='captions.json',
        data_prefix=dict(img_path='images'),
        pipeline=caption_pipeline,
    ),
)
work_dir = '{data}/work'
"""


@pytest.fixture(scope='module', autouse=True)
def _counting_backbone():
    """A backbone that counts the images it is shown."""

    @MODELS.register_module(force=True)
    class CountingDINOv2(DINOv2):
        seen = 0

        def forward(self, x):
            CountingDINOv2.seen += len(x)
            return super().forward(x)

    yield CountingDINOv2
    MODELS.module_dict.pop('CountingDINOv2')


@pytest.fixture
def seen(_counting_backbone):
    """Images shown since the last call."""

    def count():
        number, _counting_backbone.seen = _counting_backbone.seen, 0
        return number

    count()
    return count


@pytest.fixture(scope='module')
def main():
    return load_tool('tools/extract_features.py').main


@pytest.fixture(scope='module')
def flat_config(tmp_path_factory):
    """CONFIG with its bases merged in (finding mmseg's takes a while)."""
    path = tmp_path_factory.mktemp('config') / 'config.py'
    path.write_text(CONFIG.replace('{root}', str(ROOT)))
    return Config.fromfile(path).pretty_text


@pytest.fixture
def config(flat_config, tmp_path):
    return write_inputs(tmp_path, flat_config)


def write_inputs(folder, text):
    """Config of a tiny Talk2DINO on seven images, with weights of the towers."""
    data = folder / 'data'
    (data / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(IMAGES):
        pixels = rng.integers(0, 256, (30, 40, 3), np.uint8)
        Image.fromarray(pixels).save(data / 'images' / f'{i}.png')
    images = [dict(id=i, file_name=f'{i}.png') for i in range(IMAGES)]
    annotations = [dict(image_id=i, caption=text) for i, text in CAPTIONS]
    content = dict(images=images, annotations=annotations)
    (data / 'captions.json').write_text(json.dumps(content))
    path = folder / 'tiny_coco-captions.py'
    path.write_text(text.replace('{data}', str(data)))

    init_default_scope('mmseg')
    cfg = Config.fromfile(path)
    torch.manual_seed(3)
    backbone = MODELS.build(dict(cfg.model.backbone, init_cfg=None))
    for name, parameter in backbone.named_parameters():
        if parameter.ndim > 1 or 'gamma' in name:  # attention that looks somewhere
            torch.nn.init.normal_(parameter, std=0.3)
    torch.save(backbone.state_dict(), data / 'dino.pth')
    text = MODELS.build(dict(cfg.model.text_encoder, init_cfg=None))
    torch.save(text.state_dict(), data / 'clip.pth')
    return path


def arguments(config, out, *more, shard_size=2):
    sizes = ['--shard-size', str(shard_size), '--batch-size', '2']
    return [str(config), '--out', str(out), *sizes, *more]


@pytest.fixture
def out(main, config, tmp_path):
    """Features of all images, in shards of two."""
    folder = tmp_path / 'features'
    main(arguments(config, folder))
    return folder


def contents(folder):
    """Digests of the (intact) shards by name."""
    shards = sorted(folder.glob('shard-*.safetensors'))
    for path in shards:
        verify_shard(path)
    return {p.name: safe_open(p, 'pt').metadata()['digest'] for p in shards}


def test_each_image_passes_the_backbone_once(main, config, tmp_path, seen, capsys):
    out = tmp_path / 'features'
    main(arguments(config, out, shard_size=3))
    assert seen() == IMAGES
    output = capsys.readouterr()
    assert '7 images, 13 captions, 3 shards' in output.out
    assert '7/7' in output.err  # the progress bar

    manifest = json.loads((out / MANIFEST).read_text())
    assert (manifest['pictures'], manifest['captions']) == (IMAGES, len(CAPTIONS))
    assert [s['visual'] for s in manifest['shards']] == [[n, 3, 24] for n in (3, 3, 1)]
    assert [s['text'] for s in manifest['shards']] == [[n, 16] for n in (6, 6, 1)]
    assert not list(out.glob('*.tmp*'))


def test_pairs_are_those_of_the_captions(config, out):
    dataset = FeaturePairsDataset(out)
    cfg = Config.fromfile(config)
    encoder = MODELS.build(cfg.model.text_encoder)
    encoder.init_weights()
    ordered = sorted(CAPTIONS, key=lambda pair: pair[0])  # image after image
    expected = encoder.encode([text for _, text in ordered])
    text = torch.stack([sample['text'] for sample in dataset])
    torch.testing.assert_close(text, expected, rtol=2e-3, atol=1e-3)
    visual = torch.stack([sample['visual'] for sample in dataset])
    assert (visual.norm(dim=-1) - 1).abs().max() < 1e-2
    same = (visual[:, None] == visual[None]).flatten(2).all(-1)
    number = torch.tensor([i for i, _ in ordered])
    assert torch.equal(same, number[:, None] == number[None])


def test_losses_and_gradients_are_those_of_training_on_the_fly(config, out):
    cfg = Config.fromfile(config)
    head = cfg.model.decode_head
    alignment = MODELS.build(dict(type='FeatureAlignment', decode_head=head))
    batch = torch.utils.data.default_collate(list(FeaturePairsDataset(out)))
    from_features = alignment(**batch, mode='loss')
    from_features['loss_align'].backward()

    full = MODELS.build(cfg.model)
    full.init_weights()
    full.decode_head.load_state_dict(alignment.decode_head.state_dict())
    loader = Runner.build_dataloader(cfg.train_dataloader)
    data = next(iter(loader))
    # The tool writes image after image; the loss does not depend on the order.
    losses = full(**full.data_preprocessor(data, True), mode='loss')
    on_the_fly = losses['decode.loss_align']
    on_the_fly.backward()
    torch.testing.assert_close(
        from_features['loss_align'], on_the_fly, rtol=2e-3, atol=0
    )
    projections = alignment.decode_head, full.decode_head
    for one, other in zip(*(p.parameters() for p in projections), strict=True):
        scale = other.grad.abs().max()
        torch.testing.assert_close(
            one.grad / scale, other.grad / scale, rtol=0, atol=1e-2
        )


@pytest.mark.parametrize('harm', ['delete', 'truncate', 'empty', 'flip'])
def test_a_lost_or_damaged_shard_alone_is_made_again(
    main, config, out, seen, capsys, harm
):
    before = contents(out)
    path = out / shard_name(1)
    if harm == 'delete':
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        cut = dict(truncate=data[:-100], empty=b'', flip=data)[harm]
        path.write_bytes(cut)
    seen()
    capsys.readouterr()
    main(arguments(config, out))
    assert seen() == 2
    assert contents(out) == before
    said = 'shard-00001.safetensors are damaged' in capsys.readouterr().err
    assert said == (harm != 'delete')
    main(arguments(config, out))
    assert seen() == 0


def test_joined_data_sets(main, config, tmp_path):
    cfg = Config.fromfile(config)
    one = dict(cfg.train_dataloader.dataset)
    content = json.loads((tmp_path / 'data' / 'captions.json').read_text())
    more = tmp_path / 'data' / 'more.json'
    more.write_text(json.dumps({**content, 'annotations': content['annotations'][:3]}))
    joined = dict(type='ConcatDataset', datasets=[one, dict(one, ann_file=str(more))])
    cfg.train_dataloader.dataset = joined
    cfg.dump(config)
    main(arguments(config, tmp_path / 'features'))
    assert len(FeaturePairsDataset(tmp_path / 'features')) == len(CAPTIONS) + 3


def test_goes_on_after_it_stopped_half_way(main, config, out, tmp_path, seen):
    whole = out
    image = tmp_path / 'data' / 'images' / '4.png'
    good = image.read_bytes()
    image.write_bytes(good[:50])
    out = tmp_path / 'part'
    seen()
    with pytest.raises(SystemExit, match=r'4\.png'):
        main(arguments(config, out))
    assert seen() == 4 and len(contents(out)) == 2
    assert not (out / MANIFEST).exists()

    image.write_bytes(good)
    (out / '.shard-00002-abc.tmp.safetensors').write_bytes(b'half')  # of a killed run
    main(arguments(config, out))
    assert seen() == IMAGES - 4
    assert contents(out) == contents(whole)
    assert (out / MANIFEST).read_text() == (whole / MANIFEST).read_text()


@pytest.mark.parametrize(
    ('more', 'named'),
    [
        (['--shard-size', '3'], 'shard_size'),
        (['--cfg-options', 'model.decode_head.attention_scale=1'], 'attention'),
        (['--cfg-options', 'train_dataloader.dataset.pipeline.1.scale=14'], 'pipeline'),
    ],
)
def test_features_of_another_setting_are_refused(main, config, out, more, named):
    before = contents(out)
    with pytest.raises(SystemExit, match=rf'differs in: {named}\.'):
        main(arguments(config, out, *more))
    assert contents(out) == before


def test_other_weights_or_captions_are_another_setting(main, config, out, tmp_path):
    data = tmp_path / 'data'
    for file, named in (('dino.pth', 'backbone_weights'), ('clip.pth', 'text_weights')):
        good = (data / file).read_bytes()
        state = torch.load(data / file, weights_only=True)
        next(iter(state.values())).view(-1)[0] += 1
        torch.save(state, data / file)
        with pytest.raises(SystemExit, match=rf'differs in: {named}\.'):
            main(arguments(config, out))
        (data / file).write_bytes(good)
    captions = (data / 'captions.json').read_text()
    (data / 'captions.json').write_text(captions.replace('thing 0', 'thing zero'))
    with pytest.raises(SystemExit, match='differs in: pictures_and_captions'):
        main(arguments(config, out))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['model.backbone.trainable=attention'], 'CountingDINOv2 is trained'),
        (['model.decode_head.type=TextSimilarityHead'], 'needs an OpenVocabSegmentor'),
    ],
)
def test_models_without_features_to_keep(main, config, tmp_path, options, message):
    if 'TextSimilarityHead' in options[0]:
        options = [*options, 'model.decode_head.channels=8']
    with pytest.raises(SystemExit, match=message):
        main(arguments(config, tmp_path / 'f', '--cfg-options', *options))


def test_training_data_without_captions(main, config, tmp_path):
    cfg = Config.fromfile(config)
    cfg.train_dataloader.dataset = dict(
        type='BaseSegDataset',
        data_root=str(tmp_path / 'data'),
        data_prefix=dict(img_path='images', seg_map_path='images'),
        img_suffix='.png',
        metainfo=dict(classes=['a']),
    )
    cfg.dump(config)
    with pytest.raises(SystemExit, match='BaseSegDataset, whose samples have no cap'):
        main(arguments(config, tmp_path / 'f'))


def test_training_on_the_fly_through_the_runner(config):
    cfg = Config.fromfile(config)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=3)
    cfg.optim_wrapper.optimizer.lr = 1e-2
    cfg.train_dataloader.update(batch_size=6, sampler=dict(type='InfiniteSampler'))
    runner = Runner.from_cfg(cfg)
    runner.model.init_weights()
    before = {k: v.clone() for k, v in runner.model.state_dict().items()}
    runner.train()
    after = runner.model.state_dict()
    changed = {k for k in before if not torch.equal(before[k], after[k])}
    assert changed == {k for k in before if k.startswith('decode_head.')}


def test_shipped_config_trains_from_features_and_loads_into_the_full_model(
    config, out, tmp_path
):
    cfg = Config.fromfile(
        ROOT / 'configs/talk2dino/talk2dino_dinov2-reg-b14_coco-features.py'
    )
    assert set(cfg.default_hooks) == {'checkpoint', 'checkpoint_guard'}
    assert cfg.train_cfg.max_epochs == 100 and cfg.train_dataloader.batch_size == 128
    cfg.merge_from_dict(
        {
            'train_dataloader.dataset.data_root': str(out),
            'train_dataloader.batch_size': 6,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'model.decode_head.in_channels': 24,
            'model.decode_head.text_channels': 16,
            'train_cfg.max_epochs': 2,
            'default_hooks.checkpoint.interval': 1,
            'work_dir': str(tmp_path / 'head'),
            'experiment_name': 'head',
        }
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 4
    checkpoint = torch.load(tmp_path / 'head' / 'epoch_2.pth', weights_only=False)
    assert all(k.startswith('decode_head.') for k in checkpoint['state_dict'])
    manifest = json.loads((out / MANIFEST).read_text())
    assert checkpoint['meta']['dataset_meta'] == dict(features=manifest['setting'])

    full = Config.fromfile(config)
    full.load_from = str(tmp_path / 'head' / 'epoch_2.pth')
    full.experiment_name = 'full'
    full_runner = Runner.from_cfg(full)
    full_runner.load_checkpoint(full.load_from)
    loaded = full_runner.model.state_dict()
    for key, value in runner.model.state_dict().items():
        assert torch.equal(loaded[key], value)
    towers = torch.load(tmp_path / 'data' / 'dino.pth', weights_only=True)
    for key, value in towers.items():
        assert torch.equal(loaded[f'backbone.{key}'], value)
