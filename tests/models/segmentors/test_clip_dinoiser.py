"""CLIP-DINOiser as a whole: probabilities of all rows, a background of its own."""

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_ovs.models.utils import CheckpointError, load_model_checkpoint
from mmseg_ovs.utils import OpenVocabError
from tests.models.module_tester import check_same_weights
from tests.models.segmentors.running import FEATURES, LOGITS, SLIDE, make_image, run
from tests.tiny import CLIP_VISION, POSTPROCESSORS, build, clip_dinoiser, config

NAMES = ['background', 'disc', 'bar']
OVERRIDE = dict(
    POSTPROCESSORS['uncertain background'], in_channels=CLIP_VISION['width']
)


def test_a_softmax_needs_all_rows_at_once(tmp_path):
    """Where scores are activated in chunks, each would get a softmax of its own."""
    for test_cfg, message in (
        (LOGITS, "aggregation='logits' activates some at a time"),
        (dict(SLIDE, window_softmax=True), 'window_softmax another softmax of them'),
        (dict(logit_scale=40.0), 'logit_scale another softmax of them'),
    ):
        with pytest.raises(OpenVocabError, match=message):
            build(clip_dinoiser, tmp_path, test_cfg=test_cfg)
    model = build(clip_dinoiser, tmp_path, NAMES, test_cfg=dict(mode='whole'))
    with pytest.raises(OpenVocabError, match='another softmax'):
        run(model, [make_image(40, 40)], logit_scale=40.0)


@pytest.mark.parametrize('mode', [SLIDE, dict(FEATURES, stride=(28, 28))])
@torch.no_grad()
def test_class_scores_are_probabilities(mode, tmp_path):
    mode = {k: (56, 56) if k == 'image_size' else v for k, v in mode.items()}
    mode.update(crop_size=(40, 40), stride=(16, 16))
    model = build(clip_dinoiser, tmp_path, NAMES, test_cfg=mode)
    (sample,) = run(model, [make_image(56, 56)], keep_logits=True)
    total = sample.seg_logits.data.sum(dim=0)
    torch.testing.assert_close(total, torch.ones_like(total))


@torch.no_grad()
def test_the_background_is_the_first_row(tmp_path):
    model = build(clip_dinoiser, tmp_path, NAMES, postprocessors=[OVERRIDE])
    model.postprocessors[0].bkg_decoder.bias.fill_(-9)  # nothing is an object
    (sample,) = run(model, [make_image(56, 56)])
    assert not sample.pred_sem_seg.data.any()
    constant = dict(source=NAMES, background=dict(type='threshold', value=0.5))
    for vocabulary in (['disc', 'bar'], ['disc', 'background'], constant):
        with pytest.raises(OpenVocabError, match="row, which is 'disc' and not of a"):
            run(model, [make_image(56, 56)], vocabulary=vocabulary)
    (sample,) = run(model, [make_image(56, 56)], vocabulary=['background', 'bar'])
    assert not sample.pred_sem_seg.data.any()


def test_the_override_needs_probabilities(tmp_path):
    head = dict(clip_dinoiser()['decode_head'], activation='sigmoid')
    model = build(
        clip_dinoiser, tmp_path, NAMES, decode_head=head, postprocessors=[OVERRIDE]
    )
    with pytest.raises(OpenVocabError, match="decode_head.activation='softmax'"):
        run(model, [make_image(56, 56)])


def with_override(folder):
    """A model whose override names its weights, not yet loaded, and who has them."""
    path = folder / 'last.pt'
    source = MODELS.build(OVERRIDE)
    torch.save(dict(model_state_dict=source.state_dict()), path)
    override = dict(OVERRIDE, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    cfg = config(clip_dinoiser, folder, NAMES, postprocessors=[override])
    return MODELS.build(cfg.model), source


def test_weights_of_a_postprocessor_are_loaded(tmp_path):
    model, source = with_override(tmp_path)
    model.init_weights()
    check_same_weights(model.postprocessors[0], source)


def test_a_checkpoint_made_without_the_override(tmp_path):
    """The override keeps the weights that it names."""
    trained = build(clip_dinoiser, tmp_path, NAMES)
    torch.save(dict(state_dict=trained.state_dict()), tmp_path / 'model.pth')
    model, source = with_override(tmp_path)
    load_model_checkpoint(model, tmp_path / 'model.pth')
    check_same_weights(model.neck, trained.neck)
    check_same_weights(model.postprocessors[0], source)


def test_the_authors_file_is_no_checkpoint_of_the_model(tmp_path):
    model = build(clip_dinoiser, tmp_path, NAMES)
    torch.save(dict(model_state_dict=model.neck.state_dict()), tmp_path / 'last.pt')
    message = 'a file of CLIP-DINOiser.*name it in the init_cfg of this part'
    with pytest.raises(CheckpointError, match=message):
        load_model_checkpoint(model, tmp_path / 'last.pt')
