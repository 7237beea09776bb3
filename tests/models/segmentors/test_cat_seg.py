"""CAT-Seg of its parts: the authors' files, their inference, training of CLIP."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_ovs.engine.hooks import CheckpointGuardHook
from mmseg_ovs.models.text_encoders import save_embeddings
from mmseg_ovs.models.utils import CheckpointError, load_model_checkpoint

NAMES = ['cat', 'dog', 'grass', 'sky', 'wall']
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


def config(**parts):
    cfg = dict(
        type='OpenVocabSegmentor',
        data_preprocessor=dict(
            type='OpenVocabDataPreProcessor',
            mean=[122.0, 116.0, 104.0],
            std=[68.0, 66.0, 70.0],
            bgr_to_rgb=True,
            size=(32, 32),
        ),
        backbone=dict(
            type='OpenCLIPImageEncoder',
            model=dict(
                embed_dim=16,
                quick_gelu=True,
                vision_cfg=dict(
                    width=32, head_width=8, layers=3, patch_size=8, image_size=32
                ),
            ),
            dense=True,
            out_indices=(0, 1, 2),
            final_norm=(False, False, True),
        ),
        text_encoder=dict(
            type='OpenCLIPTextEncoder',
            model=dict(embed_dim=16, text_cfg=dict(width=16, heads=2, layers=2)),
            templates='single',
            template_average='none',
        ),
        decode_head=dict(
            type='CostAggregationHead',
            in_channels=16,
            stride=8,
            appearance_guidance=dict(index=2, channels=16),
            decoder_guidance=[
                dict(index=0, channels=32, stride=8, upsampled_channels=16),
                dict(index=1, channels=32, stride=8, upsampled_channels=8),
            ],
            aggregator=dict(
                channels=32,
                num_layers=1,
                window_size=2,
                text_guidance_dims=8,
                appearance_guidance_dims=8,
                decoder_dims=(32, 16),
                decoder_guidance_dims=(8, 4),
                pad_len=8,
                test_pooling=(1, 1),
            ),
        ),
        vocabulary=NAMES,
        test_cfg=dict(
            mode='local-global',
            aggregation='logits',
            image_size=(48, 48),
            crop_size=(32, 32),
            stride=(16, 16),
            input_size=(32, 32),
            input_antialias=False,
            keep_logits=True,
        ),
    )
    return {**cfg, **parts}


def build(seed=1, **parts):
    torch.manual_seed(seed)
    model = MODELS.build(config(**parts))
    for parameter in model.parameters():  # nothing zero, nothing one
        parameter.data += 0.02 * torch.randn(parameter.shape)
    return model.eval()


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
        if key.endswith('in_proj_weight'):
            for name, weight in zip('qkv', value.chunk(3), strict=True):
                state[key.replace('in_proj', f'{name}_proj')] = weight.clone()
        else:
            state[key] = value
    mask = 'layers.0.swin_block.block_2.attn_mask'
    state[f'sem_seg_head.predictor.transformer.{mask}'] = torch.zeros(4, 4, 4)
    return {k: v.contiguous() for k, v in state.items()}


def make_image(height=40, width=56):
    return torch.randint(0, 256, (3, height, width), generator=torch.manual_seed(0))


def logits(model, image):
    data = dict(inputs=[image], data_samples=[SegDataSample()])
    return model.test_step(data)[0].seg_logits.data


@pytest.fixture
def authors_file(tmp_path):
    source = build(seed=7)
    path = tmp_path / 'model_base.pth'
    torch.save(dict(model=published(source), iteration=79999), path)
    return source, path


def test_the_authors_file_loads_whole(authors_file):
    source, path = authors_file
    expected = logits(source, make_image())
    by_config = build(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    assert not torch.allclose(logits(by_config, make_image()), expected, atol=1e-3)
    by_config.init_weights()
    assert torch.equal(logits(by_config, make_image()), expected)
    by_command = build()
    load_model_checkpoint(by_command, path)
    assert torch.equal(logits(by_command, make_image()), expected)
    by_runner, content = build(), torch.load(path, weights_only=True)
    guard = CheckpointGuardHook()
    guard.after_load_checkpoint(SimpleNamespace(model=by_runner), content)
    by_runner.load_state_dict(content['state_dict'])  # what mmengine does with it
    assert torch.equal(logits(by_runner, make_image()), expected)


def test_the_authors_file_without_a_text_tower(authors_file, tmp_path):
    source, path = authors_file
    vectors = tmp_path / 'text.safetensors'
    with torch.no_grad():
        text = source.text_encoder(source.vocabulary)
        save_embeddings(vectors, NAMES, text.squeeze(1))
    text_encoder = dict(type='PrecomputedTextEncoder', path=str(vectors))
    model = build(text_encoder=text_encoder)
    load_model_checkpoint(model, path)
    torch.testing.assert_close(
        logits(model, make_image()), logits(source, make_image())
    )


def change(state, how):
    if how == 'unexpected':
        state['sem_seg_head.surprise'] = torch.zeros(1)
    elif how == 'missing':
        del state[f'{CLIP}visual.transformer.resblocks.1.attn.k_proj_weight']
    else:  # another size
        state[f'{CLIP}visual.conv1.weight'] = torch.zeros(48, 3, 8, 8)
    return state


@pytest.mark.parametrize(
    ('how', 'message'),
    [
        ('unexpected', '1 unexpected: decode_head.sem_seg_head.surprise'),
        ('missing', r'1 missing: backbone\.blocks\.1\.attn\.qkv\.weight'),
        ('size', r'patch_embed\.proj\.weight: checkpoint \(48, 3, 8, 8\), model'),
    ],
)
def test_every_key_is_accounted_for(tmp_path, how, message):
    state = change(published(build(seed=7)), how)
    path = tmp_path / 'model.pth'
    torch.save(dict(model=state), path)
    with pytest.raises(CheckpointError, match=message):
        load_model_checkpoint(build(), path)
    with pytest.raises(CheckpointError, match=message):
        build(init_cfg=dict(type='Pretrained', checkpoint=str(path))).init_weights()


def test_prediction_follows_the_words():
    model = build()
    everything = logits(model, make_image())
    assert everything.shape == (5, 40, 56)
    assert everything.min() > 0 and everything.max() < 1  # after the sigmoid
    model.set_vocabulary(['dog', 'wall', 'sofa'])
    assert logits(model, make_image()).shape == (3, 40, 56)


def train_step(**parts):
    model = build(**parts).train()
    label = torch.randint(0, 5, (1, 32, 32), generator=torch.manual_seed(1))
    label[:, :4] = 255
    sample = SegDataSample(gt_sem_seg=PixelData(data=label))
    data = dict(inputs=[make_image(32, 32)] * 2, data_samples=[sample] * 2)
    model.zero_grad()
    losses = model(**model.data_preprocessor(data, True), mode='loss')
    losses['decode.loss_ce'].backward()
    return model


def test_light_tuning_reaches_both_towers():
    base = config()
    model = train_step(
        backbone=dict(base['backbone'], trainable='query_value'),
        text_encoder=dict(base['text_encoder'], frozen=False, trainable='query_value'),
    )
    learning = {
        name
        for name, p in model.named_parameters()
        if p.grad is not None and p.grad.abs().max() > 0
    }
    towers = {n for n in learning if not n.startswith('decode_head.')}
    assert towers == {f'backbone.blocks.{i}.attn.qkv.weight' for i in range(3)} | {
        f'text_encoder.tower.clip.transformer.resblocks.{i}.attn.in_proj_weight'
        for i in range(2)
    }
    assert 'decode_head.aggregator.conv1.weight' in learning
    assert 'decode_head.decoder_guidance.1.up.weight' in learning


def test_no_tuning():
    base = config()
    model = train_step(backbone=dict(base['backbone'], trainable='none'))
    for part in (model.backbone, model.text_encoder):
        assert all(p.grad is None for p in part.parameters())


@pytest.mark.parametrize('antialias', [True, False])
def test_training_images_come_at_the_input_size(antialias):
    seen = []
    model = build(train_cfg=dict(input_size=(24, 24), input_antialias=antialias))
    model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    image = torch.randn(1, 3, 32, 32)
    label = SegDataSample(gt_sem_seg=PixelData(data=torch.ones(1, 32, 32).long()))
    model.train().loss(image, [label])
    expected = torch.nn.functional.interpolate(
        image, (24, 24), mode='bilinear', antialias=antialias
    )
    assert torch.equal(seen[0], expected)
