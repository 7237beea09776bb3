"""Towers of open_clip: the same numbers, without padding, cached, trainable."""

from __future__ import annotations

import copy
import json

import open_clip
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmseg_ovs.models.text_encoders import (
    OpenCLIPTextEncoder,
    OpenCLIPTextTower,
    PrecomputedTextEncoder,
    get_templates,
    load_embeddings,
)
from mmseg_ovs.models.text_encoders.templates import fill_templates

VISION = dict(image_size=8, patch_size=8, width=16, head_width=8, layers=1)
TEXT = dict(width=32, heads=4, layers=2)
MODEL = dict(embed_dim=24, text_cfg=TEXT)
TEXTS = [
    'a photo of a cat.',
    '',
    'wall',
    'word ' * 100,  # cut at 77 tokens, so that its end token is the last one
    'a very striking photo of the large traffic light, seen from below.',
]


def tiny(**kwargs):
    torch.manual_seed(1)
    kwargs = {'model': MODEL, 'templates': 'imagenet_7', **kwargs}
    return perturbed(OpenCLIPTextEncoder(**kwargs))


def perturbed(module):
    """Biases and norms away from 0 and 1, so that they count."""
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(len(name))
            )
    return module


def open_clip_model(kind, **text):
    torch.manual_seed(1)
    return perturbed(kind(24, VISION, dict(TEXT, **text))).eval()


def encode_with(tower, tokenizer, **kwargs):
    encoder = tiny(**kwargs)
    encoder.tower = tower
    encoder.tokenizer = tokenizer
    return encoder


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
            encoder = encode_with(tower, open_clip.tokenize, chunk_size=chunk_size)
            torch.testing.assert_close(
                encoder.encode(TEXTS), expected, rtol=0, atol=1e-5
            )


def test_end_token_missing_from_the_text():
    # pool_type 'eos' then takes the first token, in open_clip and here.
    model = open_clip_model(open_clip.CustomTextCLIP, pool_type='eos', eos_id=49407)
    tokens = torch.randint(1, 1000, (3, 77))
    with torch.no_grad():
        expected = model.encode_text(tokens)
        tower = OpenCLIPTextTower(model)
        lengths = tower.used_lengths(tokens)
        assert lengths.tolist() == [1, 1, 1]
        torch.testing.assert_close(tower.embed(tokens[:, :1]), expected)


@pytest.mark.parametrize(
    'text',
    [
        dict(no_causal_mask=True),
        dict(pool_type='last'),
        dict(pool_type='first'),
        dict(embed_cls=True),
    ],
)
def test_padding_stays_where_it_is_read(text):
    model = open_clip_model(open_clip.CustomTextCLIP, **text)
    tokens = open_clip.tokenize(TEXTS)
    with torch.no_grad():
        expected = model.encode_text(tokens)
        tower = OpenCLIPTextTower(model)
        assert not tower.trims and tower.used_lengths(tokens).tolist() == [77] * 5
        encoder = encode_with(tower, open_clip.tokenize, chunk_size=2)
        torch.testing.assert_close(encoder.encode(TEXTS), expected)


def test_vit_b_16_equals_open_clip():
    torch.manual_seed(0)
    model = open_clip.create_model('ViT-B-16').eval()
    encoder = OpenCLIPTextEncoder('ViT-B-16')
    encoder.tower.clip.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k in text_keys(encoder)}
    )
    tokens = open_clip.get_tokenizer('ViT-B-16')(TEXTS)
    with torch.no_grad():
        expected = model.encode_text(tokens)
    assert encoder.embed_dims == 512
    torch.testing.assert_close(encoder.encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_coca_is_encoded_whole():
    encoder = OpenCLIPTextEncoder('coca_ViT-B-32')
    assert not encoder.tower.trims
    assert not any('visual' in key or 'decoder' in key for key in encoder.state_dict())
    expected = encoder.tower.clip.encode_text(encoder.tokenizer(TEXTS), normalize=False)
    torch.testing.assert_close(encoder.encode(TEXTS), expected, rtol=0, atol=1e-5)


def text_keys(encoder):
    return set(encoder.tower.clip.state_dict())


def test_only_the_text_tower_is_kept():
    encoder = OpenCLIPTextEncoder('ViT-B-16')
    model = open_clip.create_model('ViT-B-16')
    dropped = set(model.state_dict()) - text_keys(encoder)
    assert text_keys(encoder) < set(model.state_dict())
    assert all(key.startswith('visual.') or key == 'logit_scale' for key in dropped)


def test_quick_gelu_of_openais_weights():
    # open_clip's plain 'ViT-B-16' has another activation than OpenAI's weights need.
    plain = OpenCLIPTextEncoder('ViT-B-16').tower.description
    assert not plain.get('quick_gelu')
    openai = OpenCLIPTextEncoder('ViT-B-16', pretrained='openai').tower
    assert openai.description['quick_gelu']
    assert any(isinstance(m, open_clip.model.QuickGELU) for m in openai.modules())


# ------------------------------------------------------- templates and averages
def test_averages_by_their_definition():
    names = ['cat', 'traffic light']
    raw, normalized, apart = (
        tiny(template_average=average, vocabulary=names)()
        for average in ('raw', 'normalized', 'none')
    )
    encoder = tiny()
    for i, name in enumerate(names):
        prompts = [t.format(name) for t in get_templates('imagenet_7')]
        each = encoder.encode(prompts)
        torch.testing.assert_close(apart[i], each)
        torch.testing.assert_close(raw[i], each.mean(0))
        mean = (each / each.norm(dim=-1, keepdim=True)).mean(0)
        torch.testing.assert_close(normalized[i], mean / mean.norm())
    assert apart.shape == (2, 7, 24)
    # The orders differ, or the test would prove nothing.
    assert (F.normalize(raw, dim=-1) - normalized).abs().max() > 1e-4


def test_zero_shot_classifier_of_open_clip():
    torch.manual_seed(1)
    model = open_clip_model(open_clip.CLIP)
    names, templates = ['cat', 'dog', 'traffic light'], get_templates('vild')
    expected = open_clip.build_zero_shot_classifier(
        model, open_clip.tokenize, names, templates
    )
    encoder = tiny(templates='vild', vocabulary=names)
    encoder.tower = OpenCLIPTextTower(model)
    torch.testing.assert_close(encoder(), expected.T, rtol=0, atol=1e-5)


def test_rows_follow_the_vocabulary_with_synonyms_and_repeated_names():
    encoder = tiny()
    encoder.set_vocabulary(['b, a', 'c', ['e', 'b']])
    rows = encoder()
    assert encoder.vocabulary.rows == ('b', 'a', 'c', 'e', 'b')
    single = torch.cat([encoder.encode_names([n]) for n in encoder.vocabulary.rows])
    torch.testing.assert_close(rows, single, rtol=0, atol=1e-5)
    assert rows[0].equal(rows[4])


def test_groups_give_the_same(monkeypatch):
    names = [f'thing {i}' for i in range(7)]
    expected = tiny(vocabulary=names)()
    monkeypatch.setattr('mmseg_ovs.models.text_encoders.tower._GROUP_PROMPTS', 15)
    torch.testing.assert_close(tiny(vocabulary=names)(), expected, rtol=0, atol=1e-5)


def test_progress_bar_only_for_long_work(monkeypatch, capsys):
    tiny(vocabulary=['a', 'b'])()
    assert capsys.readouterr().err == ''
    monkeypatch.setattr('mmseg_ovs.models.text_encoders.tower._PROGRESS_PROMPTS', 14)
    tiny(vocabulary=['a', 'b'])()
    output = capsys.readouterr()
    assert '14/14' in output.err and output.err.endswith('\n') and output.out == ''


# ------------------------------------------------------------ frozen, trainable
def count_calls(encoder):
    calls = []
    encoder.tower.register_forward_hook(lambda *args: calls.append(args))
    return calls


def test_frozen_tower_is_computed_once_without_gradient():
    encoder = tiny(vocabulary=['a', 'b']).train()
    assert not encoder.trainable and not encoder.tower.training
    calls = count_calls(encoder)
    first = encoder()
    assert encoder() is first and len(calls) == 1 and not first.requires_grad
    encoder.train()
    encoder.set_vocabulary(['a', 'b'])
    assert encoder() is first and len(calls) == 1
    encoder.set_vocabulary(['b', 'c'])
    assert encoder().shape == (2, 24) and len(calls) == 2
    assert not encoder.encode(['a caption']).requires_grad


def test_kept_embeddings_can_be_trained_on_after_inference_mode_and_autocast():
    expected = tiny(vocabulary=['a', 'b'])()
    encoder = tiny(vocabulary=['a', 'b'])
    with torch.inference_mode(), torch.autocast('cpu', torch.bfloat16):
        encoder()
    assert encoder().equal(expected)
    weight = torch.ones(24, requires_grad=True)
    (encoder() * weight).sum().backward()
    assert weight.grad is not None


def test_trainable_tower_learns():
    encoder = tiny(frozen=False, vocabulary=['a', 'b']).train()
    assert encoder.trainable and encoder.tower.training
    encoder().sum().backward()
    positions = encoder.tower.clip.positional_embedding
    used = encoder.tower.used_lengths(
        encoder.tokenizer([t.format('a') for t in encoder.templates])
    ).max()
    assert positions.grad[:used].abs().sum(dim=1).min() > 0
    assert positions.grad[used:].abs().max() == 0
    assert all(p.grad is not None for p in encoder.parameters())

    before = encoder.eval()()
    assert encoder() is before and not before.requires_grad
    torch.optim.SGD(encoder.train().parameters(), 1.0).step()
    assert (encoder.eval()() - before).abs().max() > 1e-3


def test_gradient_equals_that_of_the_padded_tower():
    grads = []
    for trims in (True, False):
        encoder = tiny(frozen=False).train()
        encoder.tower.trims = trims
        encoder.encode(TEXTS).square().sum().backward()
        grads.append([p.grad for p in encoder.parameters()])
    for ours, padded in zip(*grads, strict=True):
        torch.testing.assert_close(ours, padded, rtol=1e-4, atol=1e-4)


def test_new_weights_are_seen(tmp_path):
    encoder = tiny(vocabulary=['a'], cache_dir=tmp_path)
    before = encoder()
    state = {k: 1.1 * v + 0.1 for k, v in encoder.state_dict().items()}
    encoder.load_state_dict(state)
    assert (encoder() - before).abs().max() > 1e-3
    assert len(list(tmp_path.glob('*.safetensors'))) == 2


# ----------------------------------------------------------------------- cache
def test_cache_is_used_by_the_next_start(tmp_path):
    first = tiny(vocabulary=['a', 'b'], cache_dir=tmp_path)()
    again = tiny(vocabulary=['b', 'c', 'a'], cache_dir=tmp_path)
    calls = count_calls(again)
    embeddings = again()
    assert len(calls) == 1  # 'c' alone
    assert embeddings[[2, 0]].equal(first)
    last = tiny(vocabulary=['a', 'c'], cache_dir=tmp_path)
    calls = count_calls(last)
    assert last().equal(embeddings[[2, 1]]) and not calls
    assert len(list(tmp_path.glob('*.safetensors'))) == 1


@pytest.mark.parametrize(
    'other',
    [
        dict(templates='simple'),
        dict(template_average='raw'),
        dict(template_average='none'),
        dict(model=dict(MODEL, quick_gelu=True)),
        dict(model=dict(embed_dim=24, text_cfg=dict(TEXT, heads=2))),
        dict(model=dict(embed_dim=24, text_cfg=dict(TEXT, layers=1))),
    ],
)
def test_cache_is_keyed_by_what_decides_the_embeddings(tmp_path, other):
    names = ['a', 'b']
    tiny(vocabulary=names, cache_dir=tmp_path)()
    cached = tiny(vocabulary=names, cache_dir=tmp_path, **other)()
    assert cached.equal(tiny(vocabulary=names, **other)())
    assert len(list(tmp_path.glob('*.safetensors'))) == 2


def test_cache_is_keyed_by_the_tokenizer(tmp_path):
    tiny(vocabulary=['a'], cache_dir=tmp_path)()
    encoder = tiny(vocabulary=['a'], cache_dir=tmp_path)
    encoder.tokenizer = open_clip.SimpleTokenizer(clean='canonicalize')
    encoder()
    assert len(list(tmp_path.glob('*.safetensors'))) == 2


def test_damaged_cache_is_computed_again(tmp_path):
    expected = tiny(vocabulary=['a'], cache_dir=tmp_path)()
    [path] = tmp_path.glob('*.safetensors')
    path.write_bytes(path.read_bytes()[:50])
    with pytest.warns(UserWarning, match='damaged'):
        assert tiny(vocabulary=['a'], cache_dir=tmp_path)().equal(expected)
    assert load_embeddings(path)[1].equal(expected)


def test_no_cache_without_a_folder_and_none_for_a_changing_tower(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny(vocabulary=['a'])()
    tiny(vocabulary=['a'], frozen=False, cache_dir=tmp_path / 'cache').eval()()
    assert not list(tmp_path.iterdir())


def test_cache_file_stands_in_for_the_tower(tmp_path):
    expected = tiny(vocabulary=['a', 'b'], cache_dir=tmp_path)()
    [path] = tmp_path.glob('*.safetensors')
    assert PrecomputedTextEncoder(path, vocabulary=['a', 'b'])().equal(expected)


# --------------------------------------------------------------------- weights
@pytest.fixture(scope='module')
def named(tmp_path_factory):
    """Names that open_clip knows: a tiny model, and the same with QuickGELU."""
    folder = tmp_path_factory.mktemp('open_clip')
    vision = dict(VISION, width=64, head_width=64)
    config = dict(embed_dim=24, vision_cfg=vision, text_cfg=dict(width=64, heads=1))
    config['text_cfg']['layers'] = 2
    quick = dict(config, quick_gelu=True)
    for name, content in [('tiny', config), ('tiny-quickgelu', quick)]:
        (folder / f'{name}.json').write_text(json.dumps(content))
        open_clip.add_model_config(folder / f'{name}.json')
    return 'tiny'


def test_local_weights_are_loaded_by_init_weights(named, tmp_path):
    model = perturbed(open_clip.create_model(named)).eval()
    path = tmp_path / 'clip.pt'
    torch.save(model.state_dict(), path)
    encoder = MODELS.build(
        dict(
            type='OpenCLIPTextEncoder',
            model=named,
            pretrained=str(path),
            templates='identity',
            vocabulary=['cat'],
        )
    )
    with pytest.raises(RuntimeError, match=r'have not been loaded: call init_weights'):
        encoder()
    with pytest.raises(RuntimeError, match=r'have not been loaded'):
        encoder.encode(['cat'])
    other = copy.deepcopy(encoder)
    encoder.init_weights()
    with torch.no_grad():
        expected = model.encode_text(open_clip.tokenize(['cat']), normalize=True)
    torch.testing.assert_close(encoder(), expected, rtol=0, atol=1e-5)
    other.load_state_dict(encoder.state_dict())  # a checkpoint serves as well
    assert other().equal(encoder())


@pytest.mark.parametrize('damage', ['truncated', 'text', 'another model'])
def test_bad_weights_are_named(named, tmp_path, damage):
    path = tmp_path / 'clip.pt'
    if damage == 'text':
        path.write_text('not weights')
    else:
        torch.save({'text_projection': torch.zeros(3, 3)}, path)
        if damage == 'truncated':
            path.write_bytes(path.read_bytes()[:200])
    encoder = OpenCLIPTextEncoder(named, pretrained=path)
    with pytest.raises(RuntimeError, match=r"clip\.pt.*'tiny'"):
        encoder.init_weights()


def test_missing_weights_list_the_known_tags():
    encoder = OpenCLIPTextEncoder('RN50', pretrained='opnai')
    with pytest.raises(RuntimeError, match="'opnai' is neither a file nor.*'openai'"):
        encoder.init_weights()


def test_openai_archive_is_loaded_by_open_clip(named, tmp_path):
    source = perturbed(open_clip.create_model(f'{named}-quickgelu')).eval()
    path = tmp_path / 'openai.pt'
    torch.jit.script(_Archive(source.state_dict())).save(path)
    with pytest.raises(RuntimeError, match='use the model tiny-quickgelu'):
        OpenCLIPTextEncoder(named, pretrained=path).init_weights()
    encoder = OpenCLIPTextEncoder(f'{named}-quickgelu', pretrained=path)
    encoder.init_weights()
    with torch.no_grad():
        expected = source.encode_text(open_clip.tokenize(['cat']))
    # open_clip rounds what it reads from such an archive to half precision.
    torch.testing.assert_close(encoder.encode(['cat']), expected, rtol=0, atol=5e-3)


def test_own_tower_loads_by_init_cfg(tmp_path):
    source = tiny(vocabulary=['a'])
    path = tmp_path / 'own.pth'
    torch.save(source.state_dict(), path)
    torch.manual_seed(9)
    encoder = OpenCLIPTextEncoder(
        MODEL,
        templates='imagenet_7',
        vocabulary=['a'],
        init_cfg=dict(type='Pretrained', checkpoint=str(path)),
    )
    assert not encoder().equal(source())
    encoder.init_weights()
    assert encoder().equal(source())


@pytest.mark.parametrize('separate', [False, True], ids=['open_clip', 'cat-seg'])
def test_own_tower_loads_from_a_whole_clip(separate, tmp_path):
    source = open_clip_model(open_clip.CLIP)
    state = source.state_dict()
    if separate:  # CAT-Seg keeps queries, keys and values apart
        for key in [k for k in state if k.endswith('in_proj_weight')]:
            for part, weight in zip('qkv', state.pop(key).chunk(3), strict=True):
                state[key.replace('in_proj', f'{part}_proj')] = weight.clone()
    path = tmp_path / 'clip.pth'
    torch.save({f'clip_model.{k}': v for k, v in state.items()}, path)
    cfg = dict(type='Pretrained', checkpoint=str(path), prefix='clip_model')
    encoder = OpenCLIPTextEncoder(MODEL, init_cfg=cfg)
    encoder.init_weights()
    with torch.no_grad():
        expected = source.encode_text(open_clip.tokenize(['cat']))
    torch.testing.assert_close(encoder.encode(['cat']), expected, rtol=0, atol=1e-5)


class _Archive(torch.nn.Module):
    """State of a model under its keys, in something that TorchScript saves."""

    def __init__(self, state):
        super().__init__()
        for key, value in state.items():
            *path, name = key.split('.')
            module = self
            for part in path:
                if part not in module._modules:
                    module.add_module(part, torch.nn.Module())
                module = module._modules[part]
            module.register_buffer(name, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


# ------------------------------------------------------------------- arguments
@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(model='ViT-B16'), "no model 'ViT-B16'; close to it are.*'ViT-B-16'"),
        (dict(model=dict(embed_dim=8)), r"missing: \['text_cfg'\]"),
        (dict(model=dict(MODEL, vision_cfg={})), r"unknown: \['vision_cfg'\]"),
        (dict(model=MODEL, pretrained='openai'), 'init_cfg'),
        (
            dict(model=dict(embed_dim=8, text_cfg=dict(TEXT, vocab_size=100))),
            'vocab_size 100.*49408',
        ),
        (dict(template_average='mean'), "template_average must be one of.*'mean'"),
        (dict(templates='imagenet80'), 'Unknown template set'),
        (dict(chunk_size=0), 'chunk_size must be at least 1'),
        (dict(vocabulary=[]), 'vocabulary is empty'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        tiny(**kwargs)


def test_no_vocabulary_and_no_text():
    with pytest.raises(RuntimeError, match='has no vocabulary yet'):
        tiny()()
    with pytest.raises(ValueError, match='no text'):
        tiny().encode([])


SHARING = [
    *(f'a bad photo of a {name}.' for name in ('cat', 'long-haired dog', 'tv', 'é')),
    'a bad photo of a',
]


@pytest.mark.parametrize('kind', [open_clip.CLIP, open_clip.CustomTextCLIP])
@pytest.mark.parametrize('pool', ['argmax', 'eos'])
def test_what_prompts_share_is_computed_once(kind, pool):
    """Equal to each prompt by itself, for fewer operations."""
    tower = OpenCLIPTextTower(open_clip_model(kind, pool_type=pool, eos_id=49407))
    assert tower.shares
    tokens = open_clip.tokenize(SHARING)
    length = int(tower.used_lengths(tokens).max())
    with torch.no_grad(), FlopCounterMode(display=False) as shared:
        together = tower.embed(tokens[:, :length])
    with torch.enable_grad(), FlopCounterMode(display=False) as apart:
        expected = tower.embed(tokens[:, :length])
    torch.testing.assert_close(together, tower(tokens), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-6)
    assert shared.get_total_flops() < 0.8 * apart.get_total_flops()
    with torch.no_grad():  # nothing is left behind, also of what failed
        with pytest.raises(IndexError):
            tower.embed(tokens[:, :length].fill_diagonal_(10**6))
        again = tower.embed(tokens[:1].fill_(3))
    assert torch.equal(again, tower(tokens[:1].fill_(3)))


@pytest.mark.parametrize(
    'prompts', [['a photo of a cat'] * 3, ['', 'a photo of a cat'], ['cat', 'dog']]
)
def test_little_or_everything_in_common(prompts):
    tower = OpenCLIPTextTower(open_clip_model(open_clip.CLIP))
    tokens = open_clip.tokenize(prompts)
    with torch.no_grad():
        torch.testing.assert_close(
            tower.embed(tokens), tower(tokens), rtol=1e-5, atol=1e-6
        )


def test_many_names_go_template_by_template():
    names = [f'{size} {kind}' for size in range(8) for kind in ('cat', 'dog', 'x', 'y')]
    encoder = tiny(template_average='none').eval()
    batches = []
    embed = encoder.tower.embed
    encoder.tower.embed = lambda tokens: batches.append(tokens) or embed(tokens)
    with torch.no_grad():
        vectors = encoder.encode_names(names)
        assert len(batches) == len(encoder.templates)
        few = encoder.encode_names(names[:3])
        single = encoder.encode(fill_templates(encoder.templates, names[:3]))
    torch.testing.assert_close(vectors[:3], few, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(few, single.unflatten(0, (3, -1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('frozen', [True, False])
def test_a_dropped_tower_leaves_its_embeddings(frozen):
    encoder = tiny(vocabulary=['cat', 'dog'], frozen=frozen).eval()
    expected = encoder()
    encoder.drop_tower()
    encoder.drop_tower()
    encoder.eval()
    assert not list(encoder.parameters())
    assert torch.equal(encoder(), expected)
    encoder.set_vocabulary(['cat', 'dog'])  # the same
    assert torch.equal(encoder(), expected)
    encoder.set_vocabulary(['cat', 'bird'])
    with pytest.raises(RuntimeError, match='drop_text_tower=False'):
        encoder()
    with pytest.raises(RuntimeError, match='was dropped'):
        encoder.encode(['a bird'])
