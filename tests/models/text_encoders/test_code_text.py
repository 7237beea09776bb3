"""CoDe's text vectors against their definition."""

import pytest
import torch
import torch.nn.functional as F

from mmseg_ovs.structures import Vocabulary
from tests.tiny import TEXT_ENCODERS, WIDTH, make, shake

CODE = dict(TEXT_ENCODERS['open_clip'], type='CoDeTextEncoder')
NAMES = ['cat', 'traffic light', 'grey ' * 100]


def tiny(**changes):
    return shake(make(CODE, **changes)).eval()


def behind_context(encoder, name):
    """Token by token: start, learned vectors, name, end; the vector at the end."""
    clip = encoder.tower.clip
    table = clip.token_embedding.weight
    start, *rest = encoder.tokenizer([name])[0].tolist()
    end = max(rest)
    rest = rest[: rest.index(end)][: 77 - len(encoder.context) - 2]
    x = (
        torch.cat([table[[start]], encoder.context, table[rest], table[[end]]])
        + clip.positional_embedding[: len(encoder.context) + len(rest) + 2]
    )
    mask = torch.full((len(x), len(x)), float('-inf')).triu(1)
    for block in clip.transformer.resblocks:
        x = block(x[None], attn_mask=mask)[0]
    return F.normalize(clip.ln_final(x)[-1] @ clip.text_projection, dim=-1)


@torch.no_grad()
@pytest.mark.parametrize('num_context', [16, 3])
@pytest.mark.parametrize('chunk_size', [1, 64])
def test_definition(num_context, chunk_size):
    encoder = tiny(num_context=num_context, chunk_size=chunk_size)
    vectors = encoder.encode_names(NAMES)
    assert vectors.shape == (3, encoder.embed_dims) == (3, 2 * WIDTH)
    expected = torch.stack([behind_context(encoder, name) for name in NAMES])
    torch.testing.assert_close(vectors[:, :WIDTH], expected)
    plain = make(TEXT_ENCODERS['open_clip'])
    plain.load_state_dict(
        {k: v for k, v in encoder.state_dict().items() if k != 'context'}
    )
    templates = plain.eval().encode_names(NAMES)
    torch.testing.assert_close(vectors[:, WIDTH:], templates)


def test_the_cache_knows_no_context(tmp_path):
    """Kept between runs are templates; another context gives other vectors."""
    first = tiny(cache_dir=tmp_path)
    vocabulary = Vocabulary.build(['cat', 'sky'])
    before = first(vocabulary)
    assert list(tmp_path.glob('*.safetensors'))
    second = tiny(cache_dir=tmp_path)
    second.load_state_dict(
        {**first.state_dict(), 'context': torch.randn_like(first.context)}
    )
    after = second(vocabulary)
    assert torch.equal(after[:, WIDTH:], before[:, WIDTH:])
    assert not torch.allclose(after[:, :WIDTH], before[:, :WIDTH], atol=1e-3)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_context=75), 'num_context=75 leaves no room for a name.* 77 tokens'),
        (dict(template_average='none'), "'normalized' or 'raw', not 'none'"),
    ],
)
def test_what_it_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        make(CODE, **changes)


def test_a_tower_that_ends_elsewhere():
    cfg = dict(
        CODE['model'], text_cfg=dict(CODE['model']['text_cfg'], pool_type='last')
    )
    with pytest.raises(ValueError, match="pool_type 'argmax', not 'last'"):
        make(CODE, model=cfg)


def test_long_names_are_named(logged):
    encoder = tiny()
    encoder.set_vocabulary(['cat', 'a ' * 60])
    encoder()
    encoder()  # once a vocabulary, not once an image
    assert sum('longer than the 61 tokens' in text for text in logged) == 1
