"""dino.txt's text tower: halves, padding, averages and the authors' files."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_ovs.models.text_encoders import DinoTxtTextEncoder, get_templates
from mmseg_ovs.models.utils import load_pretrained
from tests.models.module_tester import check_same_weights
from tests.tiny import TEXT_ENCODERS, TEXTS, WIDTH, make, shake


def tiny(**kwargs):
    return make(TEXT_ENCODERS['dino.txt'], **kwargs)


def test_batches_are_cut_at_their_longest_text():
    encoder = tiny(chunk_size=1)
    seen = []
    encoder.tower.register_forward_pre_hook(lambda m, args: seen.append(args[0].shape))
    encoder.encode(TEXTS)
    assert [tuple(shape) for shape in seen] == [(4, 16), (1, 77)]


def test_another_context_length():
    encoder = tiny(context_length=10)
    assert encoder.tower.positional_embedding.shape == (10, 16)
    assert encoder.tokenizer(TEXTS).shape == (5, 10)
    assert encoder.encode(TEXTS).shape == (5, WIDTH)


def test_halves():
    both, first, second = (tiny(part=part) for part in ('both', 'class', 'patch'))
    assert (both.embed_dims, first.embed_dims, second.embed_dims) == (32, WIDTH, WIDTH)
    whole = both.encode(TEXTS)
    torch.testing.assert_close(first.encode(TEXTS), whole[:, :WIDTH])
    torch.testing.assert_close(second.encode(TEXTS), whole[:, WIDTH:])
    assert tiny().tower.part == 'patch'
    with pytest.raises(ValueError, match="part must be one of .*not 'local'"):
        tiny(part='local')


def test_templates_are_averaged_after_the_choice_of_the_half():
    raw = tiny(part='both', template_average='none', vocabulary=['cat', 'wall'])()
    assert raw.shape == (2, len(get_templates('imagenet_7')), 32)
    halves = {'class': slice(16), 'patch': slice(16, 32), 'both': slice(32)}
    for part, columns in halves.items():
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
        state[key] = value
    return state


@pytest.mark.parametrize('prefix', [None, 'text_model'])
def test_published_files_load(prefix):
    """DINOv2's file as it is, DINOv3's below a prefix."""
    source, encoder = shake(tiny()), tiny(vocabulary=['cat'])
    state = published(source)
    if prefix:
        state = {f'{prefix}.{key}': value for key, value in state.items()}
        state['visual_model.head.x'] = state['logit_scale'] = torch.ones(1)
    before = encoder()
    load_pretrained(encoder, state, prefix)
    check_same_weights(encoder, source)
    assert not torch.allclose(encoder(), before)  # what was kept is forgotten
