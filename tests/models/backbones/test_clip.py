"""CLIP's image tower: open_clip's numbers, CAT-Seg's dense form, weights, tuning."""

import open_clip
import pytest
import torch

from mmseg_ovs.models.backbones import OpenCLIPImageEncoder
from mmseg_ovs.models.utils import CheckpointError, load_pretrained
from tests.tiny import (
    BACKBONES,
    CLIP_TEXT,
    CLIP_VISION,
    WIDTH,
    make,
    separate_projections,
    shake,
)

MODEL = BACKBONES['CLIP']['model']


def open_clip_model(quick_gelu=True):
    torch.manual_seed(2)
    return shake(open_clip.CLIP(WIDTH, CLIP_VISION, CLIP_TEXT, quick_gelu)).eval()


def encoder(clip=None, **kwargs):
    built = make(BACKBONES['CLIP'], **kwargs)
    if clip is not None:
        load_pretrained(built, clip.state_dict())
    return built


def trained(module):
    return {name for name, p in module.named_parameters() if p.requires_grad}


# ------------------------------------------------------- the same as open_clip
@pytest.mark.parametrize('quick_gelu', [True, False])
@torch.no_grad()
def test_class_token_is_open_clips_embedding(quick_gelu):
    clip = open_clip_model(quick_gelu)
    model = dict(MODEL, quick_gelu=quick_gelu)
    ours = encoder(clip, model=model, extra_outputs=('cls_token',))
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(image).cls_token, clip.encode_image(image))


@torch.no_grad()
def test_blocks_are_open_clips_intermediate_maps():
    clip = open_clip_model()
    ours = encoder(clip, out_indices=(0, 1), final_norm=False)
    image = torch.randn(2, 3, 32, 32)
    expected = clip.visual.forward_intermediates(image, indices=[0, 1])
    for mine, theirs in zip(ours(image), expected['image_intermediates'], strict=True):
        torch.testing.assert_close(mine, theirs)


# ----------------------------------------------------------------------- dense
@torch.no_grad()
def test_dense_form_keeps_patches_apart_in_the_last_block():
    """With one block, another patch changes only its own place.

    The class token changes all of them: CAT-Seg takes its input as their residual.
    """
    model = dict(MODEL, vision_cfg=dict(CLIP_VISION, layers=1))
    dense, plain = encoder(model=model, last_block='catseg'), encoder(model=model)
    image = torch.randn(1, 3, 32, 32)
    other = image.clone()
    other[..., 8:16, 16:24] += 1
    changed = (dense(image)[0] - dense(other)[0]).abs().amax(dim=(0, 1)) > 1e-6
    assert changed.nonzero().tolist() == [[1, 2]]
    assert ((plain(image)[0] - plain(other)[0]).abs().amax(dim=(0, 1)) > 1e-6).all()
    before = dense(image)[0]
    dense.cls_token.mul_(2)
    assert ((dense(image)[0] - before).abs().amax(dim=(0, 1)) > 1e-6).all()


@torch.no_grad()
def test_dense_changes_the_last_block_only():
    args = dict(out_indices=(0, 1), final_norm=(False, True))
    dense, plain = encoder(last_block='catseg', **args), encoder(**args)
    assert dense.state_dict().keys() == plain.state_dict().keys()
    image = torch.randn(1, 3, 48, 40)
    ours, theirs = dense(image), plain(image)
    assert [m.shape for m in ours] == [(1, 32, 6, 5), (1, WIDTH, 6, 5)]
    assert torch.equal(ours[0], theirs[0])
    assert (ours[1] - theirs[1]).abs().max() > 0.01


# --------------------------------------------------------------------- weights
@pytest.mark.parametrize('layout', ['whole', 'tower', 'cat-seg'])
def test_layouts_load_by_init_cfg(layout, tmp_path):
    clip = open_clip_model()
    reference = encoder(clip)
    state, prefix = clip.state_dict(), None
    if layout == 'tower':
        state = clip.visual.state_dict()
    elif layout == 'cat-seg':
        prefix = 'sem_seg_head.predictor.clip_model'
        state = {
            f'{prefix}.{k}': v
            for k, v in separate_projections(clip.state_dict()).items()
        }
        state['upsample1.weight'] = torch.zeros(1)
    torch.save(state, tmp_path / 'clip.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'clip.pth'))
    ours = encoder(init_cfg=dict(cfg, prefix=prefix) if prefix else cfg)
    ours.init_weights()
    image = torch.randn(1, 3, 40, 32)
    assert torch.equal(ours(image)[0], reference(image)[0])


def test_what_does_not_fit_is_listed_by_our_names():
    state = open_clip_model().state_dict()
    del state['visual.ln_pre.weight']
    state['visual.surprise'] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r'missing: norm_pre.weight(.|\n)*: surp'):
        load_pretrained(encoder(), state)


def test_named_model_and_its_weights(named_clip, tmp_path):
    clip, path = shake(open_clip.create_model(named_clip)).eval(), tmp_path / 'clip.pt'
    torch.save(clip.state_dict(), path)
    extras = dict(extra_outputs=('cls_token',))
    ours = OpenCLIPImageEncoder(named_clip, pretrained=path, **extras).eval()
    assert ours.brings_weights and not ours.is_init
    ours.init_weights()
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(ours(image).cls_token, clip.encode_image(image))


@pytest.mark.parametrize(
    ('name', 'arch'),
    [
        ('ViT-B-16-quickgelu', (768, 12, 12, 16, 197, 512)),
        ('ViT-L-14-336-quickgelu', (1024, 24, 16, 14, 577, 768)),
        ('ViT-H-14', (1280, 32, 16, 14, 257, 1024)),
    ],
)
def test_published_sizes(name, arch):
    with torch.device('meta'):
        built = OpenCLIPImageEncoder(name)
    attention = built.blocks[-1].attn
    assert arch == (
        built.embed_dims,
        len(built.blocks),
        attention.num_heads,
        built.patch_size,
        built.pos_embed.shape[1],
        built.out_channels,
    )
    assert (type(built.blocks[0].mlp).__name__ == 'QuickGELUMlp') == ('quick' in name)


# ------------------------------------------------------------------ use and tuning
def test_tuned_attention():
    assert trained(encoder(trainable=False)) == set()
    built = encoder(trainable='query_value', last_block='catseg')
    assert trained(built) == {f'blocks.{i}.attn.qkv.weight' for i in range(2)}
    built(torch.randn(1, 3, 32, 32))[0].square().sum().backward()
    gradients = [block.attn.qkv.weight.grad.chunk(3) for block in built.blocks]
    assert all(value.abs().max() > 0 for _, _, value in gradients)
    assert all(not key.any() for _, key, _ in gradients)
    assert not gradients[-1][0].any()  # no attention there, so no queries


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(model='ViT-B16'), "no model 'ViT-B16'; close to it are.*'ViT-B-16'"),
        (dict(model='ViT-B-16-SigLIP'), "tower of 'ViT-B-16-SigLIP' is no plain ViT"),
        (dict(model='RN50'), "tower of 'RN50' is no plain ViT"),
        (dict(model=dict(embed_dim=8)), r"missing: \['vision_cfg'\]"),
        (dict(model=dict(embed_dim=8, vision_cfg=CLIP_TEXT)), r"unknown: \['heads'\]"),
        (dict(pretrained='openai'), 'init_cfg'),
        (
            dict(last_block='catseg', extra_outputs=('cls_attention',)),
            'which last_block=.catseg. rep',
        ),
        (dict(last_block='maskklip'), "known are.*'maskclip'"),
        (dict(last_block=5), 'last_block 5 is no preset'),
        (dict(last_block=dict(atention='qk')), "Did you mean 'attention'"),
        (dict(last_block=dict(attention='kk')), r"'q', 'k'\): 'kk'"),
        (dict(last_block=dict(attention=('q', 'q'))), 'each once'),
        (dict(last_block=dict(attention=())), r'such as .*: \(\)'),
        (dict(last_block=dict(attention=5)), 'such as .*: 5'),
        (dict(last_block=dict(residual='own')), "residual has to be .*: 'own'"),
        (dict(last_block=dict(feed_forward='no')), "to be a bool: 'no'"),
        (dict(last_block=dict(neighbourhood_std=0)), 'positive, in patches: 0'),
        (dict(last_block=dict(neighbourhood_std=True)), 'in patches: True'),
        (
            dict(last_block=dict(attention='identity', neighbourhood_std=5.0)),
            'leaves a token alone',
        ),
        (
            dict(last_block='sclip', out_indices=(0,)),
            "last_block='sclip' has no effect",
        ),
        (dict(trainable='queries'), "trainable has to be True, .*'queries'"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        encoder(**kwargs)
