"""CoDe of its parts: the authors' checkpoint, and which half of the text goes where."""

import pytest
import torch

from mmseg_ovs.models.postprocessors import ScoreMix
from mmseg_ovs.models.utils import CheckpointError, load_model_checkpoint
from tests.models.segmentors.running import make_image, scores
from tests.models.segmentors.test_tcl import published as published_tcl
from tests.models.segmentors.test_tcl import write
from tests.tiny import HEADS, NECKS, TEXT_ENCODERS, WIDTH, build, shake, tcl

IMAGE = make_image(40, 56)
CODE = dict(
    text_encoder=dict(TEXT_ENCODERS['open_clip'], type='CoDeTextEncoder'),
    neck=dict(tcl()['neck'], double=False),
    decode_head=dict(HEADS['TCL'], text_channels=2 * WIDTH, text_slice=(0, WIDTH)),
    postprocessors=[
        dict(type='PAMR', stage='grid'),
        dict(type='ScoreMix', text_slice=(WIDTH, 2 * WIDTH)),
    ],
)
LEARNER = 'clip_text_encoder.prompt_learner'


@pytest.fixture
def new(tmp_path):
    """Builds CoDe; arguments replace parts of its config."""
    return lambda **parts: build(tcl, tmp_path, **{**CODE, **parts})


def published(model):
    """A model's weights as the authors' training saves them."""
    state = {}
    for key, value in published_tcl(model).items():
        text = key.removeprefix('clip_text_encoder.')
        if text == key:
            state[key] = value
        elif text == 'context':
            state[f'{LEARNER}.ctx'] = value
        else:
            state[f'{LEARNER}.clip_model.{text}'] = value
            if not text.startswith('token_embedding'):
                state[f'clip_text_encoder.text_encoder.{text}'] = value
    table = state[f'{LEARNER}.clip_model.token_embedding.weight']
    extra = {
        f'{LEARNER}.token_prefix': table[None, :1].clone(),
        'hcl_loss.logit_scale': torch.ones(()),
        'frozen_clip.ln_final.weight': torch.ones(16),
        'text_decoder.transformer.resblocks.0.ln_1.weight': torch.ones(512),
        'text_mask_w': torch.ones(()),
        'bg_text': torch.ones(77, 1, 16),
        'learnable_image_bg': torch.ones(1, 3, 8, 8),
        'pamr.aff_x.kernel': torch.ones(1),
    }
    return {**state, **extra}


def test_the_authors_checkpoint_loads_whole(new, tmp_path):
    source = shake(new())
    path = write(tmp_path / 'code.pth', published(source))
    loaded = new()
    assert not torch.allclose(scores(loaded, IMAGE), scores(source, IMAGE), atol=1e-3)
    load_model_checkpoint(loaded, path)
    torch.testing.assert_close(scores(loaded, IMAGE), scores(source, IMAGE))


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        (f'{LEARNER}.ctx', None, r'CoDe(.|\n)*1 missing: text_encoder\.context'),
        (f'{LEARNER}.ctx', torch.zeros(4, 16), r'text_encoder\.context'),
        (f'{LEARNER}.suffix', torch.zeros(1), r'unexpected: text_encoder\..*suffix'),
        ('word_masker.w', torch.ones(2), r'1 unexpected: decode_head\.word_masker\.w'),
    ],
)
def test_every_key_is_accounted_for(new, tmp_path, key, value, message):
    state = {**published(new()), key: value}
    state = {key: value for key, value in state.items() if value is not None}
    path = write(tmp_path / 'code.pth', state)
    with pytest.raises(CheckpointError, match=message):
        load_model_checkpoint(new(), path)


def test_a_file_of_tcl_lacks_the_context(new, tmp_path):
    other = build(
        tcl,
        tmp_path,
        neck=CODE['neck'],
        text_encoder=TEXT_ENCODERS['open_clip'],
    )
    path = write(tmp_path / 'tcl.pth', published_tcl(other))
    with pytest.raises(CheckpointError, match=r'1 missing: text_encoder\.context'):
        load_model_checkpoint(new(), path)


def test_a_decoder_of_tcl_does_not_fit(new, tmp_path):
    path = write(
        tmp_path / 'code.pth', published(new(neck=NECKS['TCL'] | tcl()['neck']))
    )
    with pytest.raises(
        CheckpointError, match=r'10 unexpected: neck\.decoder\.0\.conv2'
    ):
        load_model_checkpoint(new(), path)


@torch.no_grad()
def test_masks_and_share_read_their_own_half(new):
    """Another context moves the masks alone, other templates CLIP's share alone."""
    model = new()
    inputs = model.data_preprocessor(dict(inputs=[IMAGE]))['inputs']
    features, text = model.extract_feat(inputs), model.project_vocabulary()
    share = ScoreMix(weight=1.0, text_slice=(WIDTH, 2 * WIDTH))
    grid = torch.zeros(1, len(text), 5, 7)

    def both(text):
        return model.decode_head(features, text), share(grid, features, text)

    masks, shares = both(text)
    noise = torch.randn(len(text), WIDTH)
    halves = text.split(WIDTH, dim=1)
    other_masks, same_shares = both(torch.cat([noise, halves[1]], dim=1))
    same_masks, other_shares = both(torch.cat([halves[0], noise], dim=1))
    torch.testing.assert_close(same_shares, shares)
    torch.testing.assert_close(same_masks, masks)
    assert not torch.allclose(other_masks, masks, atol=1e-3)
    assert not torch.allclose(other_shares, shares, atol=1e-3)
