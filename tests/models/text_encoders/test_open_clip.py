"""Towers of open_clip: the same numbers, without padding, cached, trainable."""

import copy

import open_clip
import pytest
import torch
from mmseg.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.models.text_encoders import (
    OpenCLIPTextEncoder,
    OpenCLIPTextTower,
    get_templates,
)
from mmseg_ovs.models.text_encoders.dinotxt import DinoTxtTextTower
from mmseg_ovs.models.utils import CheckpointError, load_pretrained
from tests.tiny import (
    CLIP_TEXT,
    CLIP_VISION,
    TEXT_ENCODERS,
    TEXTS,
    WIDTH,
    make,
    separate_projections,
    shake,
)

MODEL = TEXT_ENCODERS['open_clip']['model']


def tiny(**kwargs):
    return make(TEXT_ENCODERS['open_clip'], **kwargs)


def open_clip_model(kind, **text):
    torch.manual_seed(1)
    return shake(kind(WIDTH, CLIP_VISION, dict(CLIP_TEXT, **text))).eval()


def encode_with(tower, chunk_size):
    encoder = tiny(chunk_size=chunk_size)
    encoder.tower = tower
    return encoder.encode(TEXTS)


# ------------------------------------------------------- the same as open_clip
@pytest.mark.parametrize('kind', [open_clip.CLIP, open_clip.CustomTextCLIP])
@pytest.mark.parametrize('pool', ['argmax', 'eos'])
def test_without_padding_equals_encode_text(kind, pool):
    model = open_clip_model(kind, pool_type=pool, eos_id=49407)
    tokens = open_clip.tokenize(TEXTS)
    with torch.no_grad():
        expected = model.encode_text(tokens)
        tower = OpenCLIPTextTower(copy.deepcopy(model))
        assert tower.trims
        assert tower.used_lengths(tokens).tolist() == [8, 2, 3, 77, 16]
        for chunk_size in (1, 2, 64):
            ours = encode_with(tower, chunk_size)
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_end_token_missing_from_the_text():
    # pool_type 'eos' then takes the first token, in open_clip and here.
    model = open_clip_model(open_clip.CustomTextCLIP, pool_type='eos', eos_id=49407)
    tokens = torch.randint(1, 1000, (3, 77))
    expected, tower = model.encode_text(tokens), OpenCLIPTextTower(model)
    assert tower.used_lengths(tokens).tolist() == [1, 1, 1]
    torch.testing.assert_close(tower.embed(tokens[:, :1]), expected)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('no_causal_mask', True),
        ('pool_type', 'last'),
        ('pool_type', 'first'),
        ('embed_cls', True),
    ],
)
def test_padding_stays_where_it_is_read(key, value):
    model = open_clip_model(open_clip.CustomTextCLIP, **{key: value})
    tokens = open_clip.tokenize(TEXTS)
    with torch.no_grad():
        expected = model.encode_text(tokens)
        tower = OpenCLIPTextTower(model)
        assert not tower.trims and tower.used_lengths(tokens).tolist() == [77] * 5
        torch.testing.assert_close(encode_with(tower, 2), expected)


def test_coca_is_encoded_whole():
    encoder = OpenCLIPTextEncoder('coca_ViT-B-32')
    assert not encoder.tower.trims
    assert not any('visual' in key or 'decoder' in key for key in encoder.state_dict())
    expected = encoder.tower.clip.encode_text(encoder.tokenizer(TEXTS), normalize=False)
    torch.testing.assert_close(encoder.encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_quick_gelu_of_openais_weights():
    # open_clip's plain 'ViT-B-16' has another activation than OpenAI's weights need.
    plain = OpenCLIPTextEncoder('ViT-B-16').tower.description
    assert not plain.get('quick_gelu')
    openai = OpenCLIPTextEncoder('ViT-B-16', pretrained='openai').tower
    assert openai.description['quick_gelu']
    assert any(isinstance(m, open_clip.model.QuickGELU) for m in openai.modules())


# ------------------------------------------------------- templates and averages
def test_zero_shot_classifier_of_open_clip():
    model = open_clip_model(open_clip.CLIP)
    names, templates = ['cat', 'dog', 'traffic light'], get_templates('vild')
    expected = open_clip.build_zero_shot_classifier(
        model, open_clip.tokenize, names, templates
    )
    encoder = tiny(templates='vild', vocabulary=names)
    encoder.tower = OpenCLIPTextTower(model)
    torch.testing.assert_close(encoder(), expected.T, rtol=0, atol=1e-5)


def test_progress_bar_only_for_long_work(monkeypatch, capsys):
    tiny(vocabulary=['a', 'b'])()
    assert capsys.readouterr().err == ''
    monkeypatch.setattr('mmseg_ovs.models.text_encoders.tower._PROGRESS_PROMPTS', 14)
    tiny(vocabulary=['a', 'b'])()
    output = capsys.readouterr()
    assert '14/14' in output.err and output.err.endswith('\n') and output.out == ''


# ------------------------------------------------------------------- trainable
def test_positions_that_no_text_reaches_get_no_gradient():
    encoder = tiny(
        trainable=True, vocabulary=['a', 'b'], template_average='raw'
    ).train()
    encoder().square().sum().backward()
    positions = encoder.tower.clip.positional_embedding
    used = encoder.tower.used_lengths(
        encoder.tokenizer([t.format('a') for t in encoder.templates])
    ).max()
    assert positions.grad[:used].abs().sum(dim=1).min() > 0
    assert positions.grad[used:].abs().max() == 0


def test_gradient_equals_that_of_the_padded_tower():
    grads = []
    for trims in (True, False):
        encoder = tiny(trainable=True).train()
        encoder.tower.trims = trims
        encoder.encode(TEXTS).square().sum().backward()
        grads.append([p.grad for p in encoder.parameters()])
    for ours, padded in zip(*grads, strict=True):
        torch.testing.assert_close(ours, padded, rtol=1e-4, atol=1e-4)


# ----------------------------------------------------------------------- cache
def test_cache_is_keyed_by_tower_and_tokenizer(tmp_path):
    tiny(vocabulary=['a'], cache_dir=tmp_path)()
    for other in (
        dict(MODEL, quick_gelu=True),
        dict(MODEL, text_cfg=dict(CLIP_TEXT, heads=4)),
        dict(MODEL, text_cfg=dict(CLIP_TEXT, layers=1)),
    ):
        cached = tiny(model=other, vocabulary=['a'], cache_dir=tmp_path)()
        assert cached.equal(tiny(model=other, vocabulary=['a'])())
    encoder = tiny(vocabulary=['a'], cache_dir=tmp_path)
    encoder.tokenizer = open_clip.SimpleTokenizer(clean='canonicalize')
    encoder()
    assert len(list(tmp_path.glob('*.safetensors'))) == 5


# --------------------------------------------------------------------- weights
def test_local_weights_are_loaded_by_init_weights(named_clip, tmp_path):
    model = shake(open_clip.create_model(named_clip)).eval()
    path = tmp_path / 'clip.pt'
    torch.save(model.state_dict(), path)
    encoder = MODELS.build(
        dict(
            type='OpenCLIPTextEncoder',
            model=named_clip,
            pretrained=str(path),
            templates='identity',
            vocabulary=['cat'],
        )
    )
    with pytest.raises(RuntimeError, match=r'have not been loaded: call init_weights'):
        encoder()
    with pytest.raises(RuntimeError, match=r'have not been loaded'):
        encoder.encode(['cat'])
    kept = set(encoder.tower.clip.state_dict())
    dropped = model.state_dict().keys() - kept
    assert all(key.startswith('visual.') or key == 'logit_scale' for key in dropped)
    assert kept and not any(key.startswith('visual.') for key in kept)
    assert encoder.embed_dims == WIDTH
    other = copy.deepcopy(encoder)
    encoder.init_weights()
    with torch.no_grad():
        expected = model.encode_text(open_clip.tokenize(['cat']), normalize=True)
    torch.testing.assert_close(encoder(), expected, rtol=0, atol=1e-5)
    other.load_state_dict(encoder.state_dict())  # a checkpoint serves as well
    assert other().equal(encoder())


@pytest.mark.parametrize('damage', ['truncated', 'text', 'another model'])
def test_bad_weights_are_named(named_clip, tmp_path, damage):
    path = tmp_path / 'clip.pt'
    if damage == 'text':
        path.write_text('not weights')
    else:
        torch.save({'text_projection': torch.zeros(3, 3)}, path)
        if damage == 'truncated':
            path.write_bytes(path.read_bytes()[:200])
    encoder = OpenCLIPTextEncoder(named_clip, pretrained=path)
    with pytest.raises(CheckpointError, match=r"clip\.pt.*'tiny-clip'"):
        encoder.init_weights()


def test_missing_weights_list_the_known_tags():
    encoder = OpenCLIPTextEncoder('RN50', pretrained='opnai')
    with pytest.raises(
        CheckpointError, match="'opnai' is neither a file nor.*'openai'"
    ):
        encoder.init_weights()


def test_openai_archive_is_loaded_by_open_clip(named_clip, tmp_path):
    source = shake(open_clip.create_model(f'{named_clip}-quickgelu')).eval()
    path = tmp_path / 'openai.pt'
    mask = source._buffers.pop('attn_mask')  # none of the archive's weights
    source.attn_mask = mask
    torch.jit.script(source).save(path)
    with pytest.raises(CheckpointError, match='use the model tiny-clip-quickgelu'):
        OpenCLIPTextEncoder(named_clip, pretrained=path).init_weights()
    encoder = OpenCLIPTextEncoder(f'{named_clip}-quickgelu', pretrained=path)
    encoder.init_weights()
    with torch.no_grad():
        expected = source.encode_text(open_clip.tokenize(['cat']))
    # open_clip rounds what it reads from such an archive to half precision.
    torch.testing.assert_close(encoder.encode(['cat']), expected, rtol=0, atol=5e-3)


@pytest.mark.parametrize('layout', [dict, separate_projections])
def test_own_tower_loads_from_a_whole_clip(layout):
    """Of open_clip, or with CAT-Seg's separate queries, keys and values."""
    source = open_clip_model(open_clip.CLIP)
    state = layout(source.state_dict())
    encoder = OpenCLIPTextEncoder(MODEL)
    load_pretrained(encoder, {f'clip.{k}': v for k, v in state.items()}, 'clip')
    with torch.no_grad():
        expected = source.encode_text(open_clip.tokenize(['cat']))
    torch.testing.assert_close(encoder.encode(['cat']), expected, rtol=0, atol=1e-5)


# ------------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(model='ViT-B16'), "no model 'ViT-B16'; close to it are.*'ViT-B-16'"),
        (dict(model=dict(embed_dim=8)), r"missing: \['text_cfg'\]"),
        (dict(model=dict(MODEL, vision_cfg={})), r"unknown: \['vision_cfg'\]"),
        (dict(model=MODEL, pretrained='openai'), 'init_cfg'),
        (
            dict(model=dict(embed_dim=8, text_cfg=dict(CLIP_TEXT, vocab_size=100))),
            'vocab_size 100.*49408',
        ),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tiny(**kwargs)


def towers():
    for kind in (open_clip.CLIP, open_clip.CustomTextCLIP):
        for pool in ('argmax', 'eos'):
            model = open_clip_model(kind, pool_type=pool, eos_id=49407)
            yield OpenCLIPTextTower(model)
    torch.manual_seed(0)
    yield shake(DinoTxtTextTower(16, 32, 2, 2, 77, 49408, 'both')).eval()


@pytest.mark.parametrize('tower', towers(), ids=lambda tower: type(tower).__name__)
def test_what_prompts_share_is_computed_once(tower):
    """Equal to each prompt by itself, for fewer operations."""
    assert tower.shares
    names = ('cat', 'long-haired dog', 'tv', 'é')
    prompts = [f'a bad photo of a {name}.' for name in names] + ['a bad photo of a']
    tokens = open_clip.tokenize(prompts)
    lengths = tower.used_lengths(tokens)
    length = int(lengths.max())
    with (
        torch.no_grad(),
        FlopCounterMode(display=False) as shared,
        tower.beginning_alike(tokens, lengths),
    ):
        together = tower.embed(tokens[:, :length])
    with torch.enable_grad(), FlopCounterMode(display=False) as apart:
        expected = tower.embed(tokens[:, :length])
    torch.testing.assert_close(together, tower(tokens), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, expected, rtol=1e-4, atol=1e-5)
    assert shared.get_total_flops() < 0.8 * apart.get_total_flops()
    with torch.no_grad():  # nothing is left behind, also of what failed
        with pytest.raises(IndexError), tower.beginning_alike(tokens, lengths):
            tower.embed(tokens[:, :length].fill_(10**6))
        again, expected = tower.embed(tokens[:1].fill_(3)), tower(tokens[:1])
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_other_texts_inside_are_refused():
    """They would come behind the outer beginning."""
    tower = OpenCLIPTextTower(open_clip_model(open_clip.CLIP))
    tokens = open_clip.tokenize(['a photo of a cat', 'a photo of a dog'])
    lengths = tower.used_lengths(tokens)
    with (
        tower.beginning_alike(tokens, lengths),
        pytest.raises(RuntimeError, match='in use for other texts'),
        tower.beginning_alike(open_clip.tokenize(['cat', 'dog']), lengths),
    ):
        pass


@torch.no_grad()
def test_little_or_everything_in_common():
    tower = OpenCLIPTextTower(open_clip_model(open_clip.CLIP))
    for prompts in (['a cat'] * 3, ['', 'a photo of a cat'], ['cat', 'dog']):
        tokens = open_clip.tokenize(prompts)
        expected = tower(tokens)
        with tower.beginning_alike(tokens, tower.used_lengths(tokens)):
            torch.testing.assert_close(tower.embed(tokens), expected)
