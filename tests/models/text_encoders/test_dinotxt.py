"""dino.txt's text tower: halves, padding, averages and the authors' files."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_ovs.models.text_encoders import DinoTxtTextEncoder, get_templates
from mmseg_ovs.models.utils import CheckpointError

TINY = dict(embed_dims=12, width=16, depth=2, num_heads=2, templates='imagenet_7')
TEXTS = [
    'a photo of a cat.',
    '',
    'wall',
    'word ' * 100,  # cut at 77 tokens, so that its end token is the last one
    'a very striking photo of the large traffic light, seen from below.',
]


def tiny(**kwargs):
    torch.manual_seed(1)
    encoder = MODELS.build({'type': 'DinoTxtTextEncoder', **TINY, **kwargs})
    for name, parameter in encoder.named_parameters():
        generator = torch.Generator().manual_seed(len(name))
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return encoder


def test_padding_is_never_read():
    encoder = tiny()
    tokens = encoder.tokenizer(TEXTS)
    assert tokens.shape == (5, 77) and tokens[3, -1] == tokens.max()
    assert encoder.tower.used_lengths(tokens).tolist() == [8, 2, 3, 77, 16]
    with torch.no_grad():
        expected = encoder.tower(tokens)
        noise = tokens.masked_fill(tokens == 0, 7)
        torch.testing.assert_close(encoder.tower(noise), expected)
    for chunk_size in (1, 2, 64):
        encoder = tiny(chunk_size=chunk_size)
        torch.testing.assert_close(encoder.encode(TEXTS), expected, rtol=0, atol=1e-5)


def test_batches_are_cut_at_their_longest_text():
    encoder = tiny(chunk_size=2)
    seen = []
    encoder.tower.register_forward_pre_hook(lambda m, args: seen.append(args[0].shape))
    encoder.encode(TEXTS)
    assert [tuple(shape) for shape in seen] == [(2, 3), (2, 16), (1, 77)]


def test_another_context_length():
    encoder = tiny(context_length=10)
    assert encoder.tower.positional_embedding.shape == (10, 16)
    assert encoder.tokenizer(TEXTS).shape == (5, 10)
    assert encoder.encode(TEXTS).shape == (5, 12)


def test_halves():
    both, first, second = (tiny(part=part) for part in ('both', 'class', 'patch'))
    assert (both.embed_dims, first.embed_dims, second.embed_dims) == (24, 12, 12)
    whole = both.encode(TEXTS)
    torch.testing.assert_close(first.encode(TEXTS), whole[:, :12])
    torch.testing.assert_close(second.encode(TEXTS), whole[:, 12:])
    assert tiny().tower.part == 'patch'
    with pytest.raises(ValueError, match="part must be one of .*not 'local'"):
        tiny(part='local')


def test_templates_are_averaged_after_the_choice_of_the_half():
    raw = tiny(part='both', template_average='none', vocabulary=['cat', 'wall'])()
    assert raw.shape == (2, len(get_templates('imagenet_7')), 24)
    for part, columns in (
        ('class', slice(12)),
        ('patch', slice(12, 24)),
        ('both', slice(24)),
    ):
        each = F.normalize(raw[..., columns], dim=-1)
        expected = F.normalize(each.mean(dim=1), dim=-1)
        ours = tiny(part=part, vocabulary=['cat', 'wall'])()
        torch.testing.assert_close(ours, expected)


def test_cache_tells_the_halves_apart(tmp_path):
    for part in ('class', 'patch', 'class'):
        cached = tiny(part=part, vocabulary=['cat'], cache_dir=tmp_path)()
        torch.testing.assert_close(cached, tiny(part=part, vocabulary=['cat'])())
    assert len(list(tmp_path.glob('*.safetensors'))) == 2


def test_published_size():
    with torch.device('meta'):
        encoder = DinoTxtTextEncoder()
    state = encoder.state_dict()
    assert len(state) == 269
    assert sum(v.numel() for v in state.values()) == 538_131_200
    assert state['tower.projection.weight'].shape == (2048, 1280)
    assert len(encoder.templates) == 80


def published(encoder):
    """The names of the authors' file, from weights of ours."""
    renames = [
        ('tower.projection.', 'head.linear_projection.'),
        ('tower.', 'backbone.'),
        ('.norm1.', '.attention_norm.'),
        ('.attn.', '.attention.'),
        ('.norm2.', '.ffn_norm.'),
        ('.mlp.', '.feed_forward.'),
    ]
    state = {}
    for key, value in encoder.state_dict().items():
        for old, new in renames:
            key = key.replace(old, new)
        state[key] = value + 0.25
    return state


@pytest.mark.parametrize('layout', ['dinov2', 'dinov3', 'ours'])
def test_files_load(layout, tmp_path):
    source = tiny()
    state, prefix = published(source), None
    if layout == 'dinov3':
        prefix = 'text_model'
        state = {f'text_model.{k}': v for k, v in state.items()}
        state.update(
            {'visual_model.head.x': torch.ones(1), 'logit_scale': torch.ones(1)}
        )
    elif layout == 'ours':
        state = {k: v + 0.25 for k, v in source.state_dict().items()}
    path = tmp_path / 'text.pth'
    torch.save(state, path)
    init_cfg = dict(type='Pretrained', checkpoint=str(path), prefix=prefix)
    encoder = tiny(init_cfg=init_cfg, vocabulary=['cat'])
    before = encoder()
    encoder.init_weights()
    for key, value in source.state_dict().items():
        assert torch.equal(encoder.state_dict()[key], value + 0.25), key
    assert not torch.allclose(encoder(), before)  # what was kept is forgotten


def test_a_file_that_does_not_fit(tmp_path):
    path = tmp_path / 'text.pth'
    torch.save(published(tiny(depth=3)), path)
    encoder = tiny(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    with pytest.raises(CheckpointError, match=r'unexpected: tower\.blocks\.2\.'):
        encoder.init_weights()


def test_trainable_tower_learns():
    encoder = tiny(frozen=False, part='both', vocabulary=['a', 'b']).train()
    encoder().square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert not any(p.requires_grad for p in tiny().parameters())
