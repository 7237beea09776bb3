"""TCL of its parts: the authors' file, refinement on the grid, CLIP's share."""

import math
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmseg_ovs.models.postprocessors import PAMR, ScoreMix
from mmseg_ovs.models.utils import (
    CheckpointError,
    cosine_similarity_map,
    load_model_checkpoint,
    parts_at_random,
)
from tests.models.segmentors.running import LOGITS, make_image, scores
from tests.tiny import CLIP_VISION, TEXT_ENCODERS, WIDTH, build, shake, tcl

IMAGE = make_image(40, 56)
TOWER = [
    (r'^cls_token$', 'class_embedding'),
    (r'^pos_embed$', 'positional_embedding'),
    (r'^patch_embed\.proj\.', 'conv1.'),
    (r'^norm_pre\.', 'ln_pre.'),
    (r'^blocks\.', 'transformer.resblocks.'),
]
BLOCK = [
    (r'\.norm([12])\.', r'.ln_\1.'),
    (r'\.attn\.qkv\.', '.attn.in_proj_'),
    (r'\.attn\.proj\.', '.attn.out_proj.'),
    (r'\.mlp\.fc1\.', '.mlp.c_fc.'),
    (r'\.mlp\.fc2\.', '.mlp.c_proj.'),
]
MASKER = [
    (r'^block\.', 'backbone.transformer.resblocks.1.'),
    (r'^decoder\.', 'decoder.decoder.net.'),
    (r'\.gate$', '.gate.gate'),
    (r'^norm\.', 'decoder.image_proj.ln.'),
    (r'^proj$', 'decoder.image_proj.proj'),
]


@pytest.fixture
def new(tmp_path):
    """Builds TCL with its text tower; arguments replace parts of its config."""
    return partial(build, tcl, tmp_path, text_encoder=TEXT_ENCODERS['open_clip'])


def rename(key, pairs):
    for pattern, replacement in pairs:
        key = re.sub(pattern, replacement, key)
    return key


def published(model):
    """A model's weights as the authors' file holds them."""
    state = {f'{name}_loss.logit_scale': torch.ones(()) for name in ('tcli', 'tclf')}
    for key, value in model.state_dict().items():
        part, key = key.split('.', 1)
        if part == 'backbone':
            if key in ('norm.weight', 'norm.bias', 'proj'):
                key = f'clip_proj.{key.replace("norm", "ln")}'
            else:
                if key in ('cls_token', 'pos_embed'):
                    value = value.flatten() if key == 'cls_token' else value[0]
                key = f'clip_visual.{rename(key, TOWER + BLOCK)}'
            key = f'clip_image_encoder.{key}'
        elif part == 'text_encoder':
            key = f'clip_text_encoder.{key.removeprefix("tower.clip.")}'
        elif part == 'neck':
            key = f'masker.image_encoder.{rename(rename(key, MASKER), BLOCK)}'
        elif key == 'log_scale':
            key, value = 'masker.sim2mask.w', value.exp()
        else:
            key = 'masker.sim2mask.b'
        state[key] = value.clone()
    return state


def write(path, state):
    torch.save(dict(model=state, step=49999), path)
    return path


def test_the_authors_file_loads_whole(new, tmp_path):
    source = shake(new())
    path = write(tmp_path / 'tcl.pth', published(source))
    expected = scores(source, IMAGE)
    by_config = new(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    assert not torch.allclose(scores(by_config, IMAGE), expected, atol=1e-3)
    by_config.init_weights()
    torch.testing.assert_close(scores(by_config, IMAGE), expected)
    by_command = new()
    load_model_checkpoint(by_command, path)
    torch.testing.assert_close(scores(by_command, IMAGE), expected)
    own = tmp_path / 'own.pth'
    torch.save(dict(state_dict=by_command.state_dict()), own)
    again = new()
    load_model_checkpoint(again, own)
    assert torch.equal(scores(again, IMAGE), scores(by_command, IMAGE))


def test_the_published_file_has_what_was_trained(new, tmp_path):
    """CLIP comes from its own file; masker and head find their parts of the other."""
    source = shake(new())
    files = dict(vision=tmp_path / 'vision.pth', text=tmp_path / 'text.pth')
    torch.save(source.backbone.state_dict(), files['vision'])
    torch.save(source.text_encoder.state_dict(), files['text'])
    path = tmp_path / 'tcl.pth'
    trained = {k: v for k, v in published(source).items() if 'masker' in k}
    write(path, trained)

    def init(checkpoint, prefix=None):
        return dict(type='Pretrained', checkpoint=str(checkpoint), prefix=prefix)

    cfg = tcl()
    parts = dict(
        backbone=dict(cfg['backbone'], init_cfg=init(files['vision'])),
        text_encoder=dict(TEXT_ENCODERS['open_clip'], init_cfg=init(files['text'])),
    )
    by_command = new(**parts)
    load_model_checkpoint(by_command, path)
    by_config = new(
        **parts,
        neck=dict(cfg['neck'], init_cfg=init(path, 'masker.image_encoder')),
        decode_head=dict(cfg['decode_head'], init_cfg=init(path, 'masker.sim2mask')),
    )
    assert parts_at_random(by_config) == []
    by_config.init_weights()
    for model in (by_command, by_config):
        torch.testing.assert_close(scores(model, IMAGE), scores(source, IMAGE))
    with pytest.raises(CheckpointError, match=r'missing: backbone\.'):
        load_model_checkpoint(new(), path)  # CLIP of no file


NET = 'masker.image_encoder.decoder.decoder.net'


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        (f'{NET}.1.conv2.gate.gate', None, r'1 missing: neck\.decoder\.1\.conv2\.gate'),
        ('masker.sim2mask.b', None, r'1 missing: decode_head\.logit_bias'),
        (
            f'{NET}.2.conv.gate.gate',
            torch.zeros(()),
            r'1 unexpected: neck\.decoder\.2\.conv\.gate',
        ),
        (
            'prompt.context',
            torch.zeros(16, 4),
            r'TCL(.|\n)*1 unexpected: decode_head\.prompt\.context',
        ),
        ('masker.sim2mask.w', -torch.ones(()), r'NaN.*decode_head\.log_scale'),
    ],
)
def test_every_key_is_accounted_for(new, tmp_path, key, value, message):
    state = {**published(new()), key: value}
    state = {key: value for key, value in state.items() if value is not None}
    path = write(tmp_path / 'tcl.pth', state)
    with pytest.raises(CheckpointError, match=message):
        load_model_checkpoint(new(), path)
    with pytest.raises(CheckpointError, match=message):
        new(init_cfg=dict(type='Pretrained', checkpoint=str(path))).init_weights()


def test_a_model_without_the_masker_lists_its_keys(new, tmp_path):
    path = write(tmp_path / 'tcl.pth', published(new()))
    model = new(neck=None, postprocessors=[])
    with pytest.raises(CheckpointError, match=r'35 unexpected: neck\.decoder'):
        load_model_checkpoint(model, path)


def test_a_clip_is_no_tcl(new, tmp_path):
    prefix = 'clip_image_encoder.clip_visual.'
    state = {
        key.replace(prefix, 'visual.'): value
        for key, value in published(new()).items()
        if key.startswith(prefix)
    }
    path = write(tmp_path / 'clip.pt', state)
    with pytest.raises(CheckpointError, match='clip.pt does not fit.* a file of CLIP'):
        load_model_checkpoint(new(), path)


@torch.no_grad()
def test_on_the_grid_in_order(new):
    """Refinement by the shrunk image comes before CLIP's share."""
    model = new()
    inputs = model.data_preprocessor(dict(inputs=[IMAGE]))['inputs']
    features, text = model.extract_feat(inputs), model.project_vocabulary()
    head = model.decode_head
    clip, masker = features.maps
    assert (clip.shape[-2:], masker.shape[-2:]) == ((5, 7), (20, 28))
    cosine = cosine_similarity_map(masker, text)
    mask = (cosine * head.log_scale.exp() + head.logit_bias).sigmoid()
    image = F.interpolate(
        IMAGE[None].float(), (20, 28), mode='bilinear', align_corners=True
    )
    pamr = PAMR()
    refined = pamr.refine(mask[0], pamr.prepare(image[0].flip(0)))[None]  # BGR
    share = (10 * (cosine_similarity_map(clip, text) - 0.25)).sigmoid()
    share = F.interpolate(share, (20, 28), mode='bilinear')
    for refine, own in ((True, refined), (False, mask)):
        expected = 0.7 * own + 0.3 * share
        found = model.encode_decode(inputs, text, refine)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(refined, mask, atol=1e-2)


def test_refinement_of_a_call(new):
    model = new()
    plain = new(postprocessors=[dict(type='ScoreMix')])
    maps = scores(model, IMAGE, refine=False)
    assert torch.equal(maps, scores(plain, IMAGE))
    assert not torch.allclose(maps, scores(model, IMAGE), atol=1e-3)


def test_logits_have_no_grid_to_refine(new):
    model = new(test_cfg=LOGITS, postprocessors=[dict(type='PAMR', stage='grid')])
    with pytest.raises(ValueError, match='PAMR works on scores on the patch grid'):
        scores(model, IMAGE)


@pytest.mark.parametrize(('weight', 'own'), [(0.0, True), (1.0, False)])
@torch.no_grad()
def test_the_share_is_a_weight(new, weight, own):
    model = new()
    inputs = model.data_preprocessor(dict(inputs=[IMAGE]))['inputs']
    features, text = model.extract_feat(inputs), model.project_vocabulary()
    given = torch.rand(1, len(text), 5, 7)
    mixed = ScoreMix(weight=weight, scale=3.0, threshold=0.1)(given, features, text)
    cosine = cosine_similarity_map(features.maps[0], text)
    expected = given if own else (3 * (cosine - 0.1)).sigmoid()
    torch.testing.assert_close(mixed, expected)


@pytest.mark.parametrize('weight', [-0.1, 1.5, math.nan])
def test_a_share_of_more_than_all(weight):
    with pytest.raises(ValueError, match=r'weight has to be in 0\.\.1'):
        ScoreMix(weight=weight)


def test_a_share_of_the_wrong_map(new):
    model = new(neck=dict(type='TCLMasker', in_channels=WIDTH, out_channels=WIDTH))
    with pytest.raises(ValueError, match=f'has {CLIP_VISION["width"]}'):
        scores(model, IMAGE)
    model.neck = nn.Identity()  # the map before the last block stays
    with pytest.raises(ValueError, match='Visual features have 32 channels'):
        scores(model, IMAGE)
