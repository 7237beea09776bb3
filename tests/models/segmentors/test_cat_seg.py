"""CAT-Seg of its parts: the authors' files, their inference, training of CLIP."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from mmseg_ovs.engine.hooks import CheckpointGuardHook
from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.models.utils import CheckpointError, load_model_checkpoint
from tests.models.module_tester import label_samples
from tests.models.segmentors.running import make_image, scores
from tests.tiny import (
    HEADS,
    NAMES,
    TEXT_ENCODERS,
    build,
    cat_seg,
    separate_projections,
    shake,
)

IMAGE = make_image(40, 56)
CLIP = 'sem_seg_head.predictor.clip_model.'
RENAMES = [
    ('cls_token', 'class_embedding'),
    ('pos_embed', 'positional_embedding'),
    ('patch_embed.proj.', 'conv1.'),
    ('norm_pre.', 'ln_pre.'),
    ('blocks.', 'transformer.resblocks.'),
    ('.norm1.', '.ln_1.'),
    ('.norm2.', '.ln_2.'),
    ('norm.', 'ln_post.'),
    ('.attn.qkv.', '.attn.in_proj_'),
    ('.attn.proj.', '.attn.out_proj.'),
    ('.mlp.fc1.', '.mlp.c_fc.'),
    ('.mlp.fc2.', '.mlp.c_proj.'),
]
TEXT = dict(TEXT_ENCODERS['open_clip'], templates='single', template_average='none')


@pytest.fixture
def new(tmp_path):
    """Builds CAT-Seg with its text tower; arguments replace parts of its config."""
    return partial(
        build,
        cat_seg,
        tmp_path,
        text_encoder=TEXT,
        decode_head=dict(HEADS['CAT-Seg'], prompt_channels=1),
        test_cfg=dict(cat_seg()['test_cfg'], input_antialias=False),
    )


def published(model):
    """A model's weights as the authors' files hold them."""
    state = {f'{CLIP}logit_scale': torch.ones(())}
    for key, value in model.state_dict().items():
        part, key = key.split('.', 1)
        if part == 'backbone':
            for ours, theirs in RENAMES:
                key = key.replace(ours, theirs)
            key = f'{CLIP}visual.{key}'
            value = value.squeeze(0) if 'embedding' in key else value
            value = value.squeeze(0) if 'class_embedding' in key else value
        elif part == 'text_encoder':
            key = CLIP + key.removeprefix('tower.clip.')
        elif key.startswith('decoder_guidance'):
            stage, name = key.removeprefix('decoder_guidance.').split('.up.')
            key = f'upsample{int(stage) + 1}.{name}'
        else:
            key = key.replace('aggregator', 'sem_seg_head.predictor.transformer')
        state[key] = value
    mask = 'layers.0.swin_block.block_2.attn_mask'
    state[f'sem_seg_head.predictor.transformer.{mask}'] = torch.zeros(4, 4, 4)
    state = {key: value.contiguous() for key, value in state.items()}
    return separate_projections(state)


@pytest.fixture
def authors_file(new, tmp_path):
    source = shake(new())
    path = tmp_path / 'model_base.pth'
    torch.save(dict(model=published(source), iteration=79999), path)
    return source, path


def test_the_authors_file_loads_whole(new, authors_file):
    source, path = authors_file
    expected = scores(source, IMAGE)
    by_config = new(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    assert not torch.allclose(scores(by_config, IMAGE), expected, atol=1e-3)
    by_config.init_weights()
    assert torch.equal(scores(by_config, IMAGE), expected)
    by_command = new()
    load_model_checkpoint(by_command, path)
    assert torch.equal(scores(by_command, IMAGE), expected)
    by_runner, content = new(), torch.load(path, weights_only=True)
    guard = CheckpointGuardHook()
    guard.after_load_checkpoint(SimpleNamespace(model=by_runner), content)
    by_runner.load_state_dict(content['state_dict'])  # what mmengine does with it
    assert torch.equal(scores(by_runner, IMAGE), expected)


def test_the_authors_file_without_a_text_tower(new, authors_file, tmp_path):
    source, path = authors_file
    vectors = tmp_path / 'text.safetensors'
    with torch.no_grad():
        text = source.text_encoder(source.vocabulary)
        save_embeddings(vectors, NAMES, text.squeeze(1))
    model = new(text_encoder=dict(type='PrecomputedTextEncoder', path=str(vectors)))
    load_model_checkpoint(model, path)
    torch.testing.assert_close(scores(model, IMAGE), scores(source, IMAGE))


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        (
            'sem_seg_head.surprise',
            torch.zeros(1),
            '1 unexpected: decode_head.sem_seg_head.surprise',
        ),
        (
            f'{CLIP}visual.transformer.resblocks.1.attn.k_proj_weight',
            None,
            r'1 missing: backbone\.blocks\.1\.attn\.qkv\.weight',
        ),
        (
            f'{CLIP}visual.conv1.weight',
            torch.zeros(48, 3, 8, 8),
            r'patch_embed\.proj\.weight: checkpoint \(48, 3, 8, 8\), model',
        ),
    ],
)
def test_every_key_is_accounted_for(new, tmp_path, key, value, message):
    state = {**published(new()), key: value}
    state = {key: value for key, value in state.items() if value is not None}
    path = tmp_path / 'model.pth'
    torch.save(dict(model=state), path)
    with pytest.raises(CheckpointError, match=message):
        load_model_checkpoint(new(), path)
    with pytest.raises(CheckpointError, match=message):
        new(init_cfg=dict(type='Pretrained', checkpoint=str(path))).init_weights()


def train_step(model):
    labels = torch.randint(0, 5, (2, 32, 32), generator=torch.manual_seed(1))
    labels[:, :4] = 255
    losses = model(torch.randn(2, 3, 32, 32), label_samples(labels), mode='loss')
    losses['decode.loss_ce'].backward()


def test_light_tuning_reaches_both_towers(new):
    model = new(
        backbone=dict(cat_seg()['backbone'], trainable='query_value'),
        text_encoder=dict(TEXT, trainable='query_value'),
    ).train()
    train_step(model)
    learning = {
        name
        for name, p in model.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }
    towers = {n for n in learning if not n.startswith('decode_head.')}
    assert towers == {f'backbone.blocks.{i}.attn.qkv.weight' for i in range(2)} | {
        f'text_encoder.tower.clip.transformer.resblocks.{i}.attn.in_proj_weight'
        for i in range(2)
    }
    assert 'decode_head.aggregator.conv1.weight' in learning
    assert 'decode_head.decoder_guidance.1.up.weight' in learning


@pytest.mark.parametrize('antialias', [True, False])
def test_training_images_come_at_the_input_size(new, antialias):
    seen = []
    model = new(train_cfg=dict(input_size=(24, 24), input_antialias=antialias))
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = torch.randn(1, 3, 32, 32)
    model.train().loss(image, label_samples(torch.ones(1, 32, 32).long()))
    expected = torch.nn.functional.interpolate(
        image, (24, 24), mode='bilinear', antialias=antialias
    )
    assert torch.equal(seen[0], expected)
