"""Grounding DINO: which token belongs to which noun, texts of limited length."""

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from mmseg_ovs.models.utils import CheckpointError
from mmseg_ovs.pseudo_masks import (
    GroundingDINODetector,
    PseudoMaskError,
    UnreadableImageError,
)
from mmseg_ovs.pseudo_masks.grounding_dino import join_nouns, token_owners

NOUNS = ['dog', 'tv', 'cat', 't-shirt', 'tree']


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def lenient(detector):
    """The same model, which keeps every box."""
    return GroundingDINODetector(
        detector.model, detector.processor, threshold=0, max_boxes=100
    )


def test_tokens_of_nouns(detector_folder):
    tokenizer = AutoTokenizer.from_pretrained(detector_folder)
    text, spans = join_nouns(NOUNS)
    assert text == 'dog. tv. cat. t-shirt. tree.'
    assert [text[begin:end] for begin, end in spans] == NOUNS
    tokens = tokenizer(text, return_offsets_mapping=True)
    owners = token_owners(tokens['offset_mapping'], spans)
    words = tokenizer.convert_ids_to_tokens(tokens['input_ids'])
    assert [(w, o) for w, o in zip(words, owners, strict=True) if o in (0, 1, 3)] == [
        ('dog', 0),
        ('t', 1),
        ('##v', 1),
        ('t', 3),
        ('-', 3),
        *[(letter, 3) for letter in ('s', '##h', '##i', '##r', '##t')],
    ]
    nobody = {w for w, o in zip(words, owners, strict=True) if o is None}
    assert nobody == {'[CLS]', '.', '[SEP]'}


def test_score_is_the_mean_over_the_tokens_of_the_noun(lenient, image):
    nouns = ['dog', 'tv']
    inputs = lenient.processor(images=image, text='dog. tv.', return_tensors='pt')
    with torch.inference_mode():
        chances = lenient.model(**inputs).logits[0].sigmoid()
        scores, boxes = lenient._score(image, nouns)
    # [CLS] dog . t ##v . [SEP]
    torch.testing.assert_close(scores[:, 0], chances[:, 1])
    torch.testing.assert_close(scores[:, 1], chances[:, 3:5].mean(1))
    assert boxes.shape == (10, 4)


def test_boxes_are_those_of_the_library(lenient, image):
    """In pixels of the image, whatever size the model saw."""
    inputs = lenient.processor(images=image, text='dog.', return_tensors='pt')
    with torch.inference_mode():
        outputs = lenient.model(**inputs)
    (theirs,) = lenient.processor.post_process_grounded_object_detection(
        outputs, inputs['input_ids'], threshold=0, target_sizes=[image.shape[:2]]
    )
    limits = theirs['boxes'].new_tensor([60, 40, 60, 40])
    theirs = theirs['boxes'].clamp(min=0).minimum(limits)
    found = lenient(image, ['dog'])
    assert found
    for detection in found:
        distance = (theirs - torch.tensor(detection.box)).abs().amax(1).min()
        assert distance < 1e-3
        left, top, right, bottom = detection.box
        assert 0 <= left <= right - 1
        assert 0 <= top <= bottom - 1
        assert right <= 60
        assert bottom <= 40


def test_threshold_and_number_of_boxes(lenient, image):
    every = lenient(image, NOUNS)
    for noun in range(len(NOUNS)):
        scores = [d.score for d in every if d.noun == noun]
        assert scores == sorted(scores, reverse=True)
    middle = float(np.median([d.score for d in every]))
    strict = GroundingDINODetector(
        lenient.model, lenient.processor, threshold=middle, max_boxes=2
    )
    kept = strict(image, NOUNS)
    expected = []
    for noun in range(len(NOUNS)):
        own = [d for d in every if d.noun == noun and d.score >= middle]
        expected += own[:2]
    assert kept == expected
    assert 0 < len(kept) < len(every)


def test_a_long_list_is_asked_for_in_parts(lenient, image):
    """24 tokens, [CLS] and [SEP] among them; each noun brings a full stop."""
    nouns = ['dog', 'abcdefghij', 'cat', 'klmnopqrs', 'dog', 'abcdefghijklmnopqrstu']
    parts = lenient.split(nouns)
    assert parts == [[0, 1, 2], [3, 4], [5]]
    found = lenient(image, nouns)
    expected = []
    for part in parts:
        for d in lenient(image, [nouns[place] for place in part]):
            expected.append((part[d.noun], d.score, d.box))
    assert [(d.noun, d.score, d.box) for d in found] == expected
    assert {d.noun for d in found} == set(range(6))


def test_no_nouns_no_boxes(detector, image):
    assert detector(image, []) == []


def test_tiny_images_have_no_boxes_or_valid_ones(lenient):
    for size in ((1, 1), (3, 50), (2, 2)):
        for detection in lenient(np.zeros((*size, 3), np.uint8), ['dog']):
            assert detection.box[2] <= size[1]
            assert detection.box[3] <= size[0]


@pytest.mark.parametrize('noun', ['', ' ', 'u.s', 'what?', 'a' * 30])
def test_nouns_that_cannot_be_asked_for(detector, image, noun):
    with pytest.raises(PseudoMaskError, match='noun 1'):
        detector(image, ['dog', noun])


def test_setting_tells_weights_apart(detector, lenient):
    other = {k for k in detector.setting if detector.setting[k] != lenient.setting[k]}
    assert other == {'box_threshold', 'max_boxes'}
    assert len(detector.setting['detector_weights']) == 64


def test_models_that_do_not_serve(tmp_path, detector):
    with pytest.raises(PseudoMaskError, match='no detector can be read'):
        GroundingDINODetector.from_pretrained(tmp_path)
    bert = BertModel(
        BertConfig(
            vocab_size=5,
            hidden_size=4,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=4,
        )
    )
    with pytest.raises(PseudoMaskError, match='grounding-dino.*not bert'):
        GroundingDINODetector(bert, detector.processor)


def test_pickled_weights_are_refused(tmp_path, detector):
    detector.model.config.save_pretrained(tmp_path)
    detector.processor.save_pretrained(tmp_path)
    torch.save(detector.model.state_dict(), tmp_path / 'pytorch_model.bin')
    with pytest.raises(PseudoMaskError, match='safetensors'):
        GroundingDINODetector.from_pretrained(tmp_path)


def test_numbers_that_are_not_finite(tmp_path, detector_folder, image):
    def spoil(model, inputs, outputs):
        outputs.logits.fill_(torch.nan)

    whole = GroundingDINODetector.from_pretrained(detector_folder)
    whole.model.register_forward_hook(spoil)
    with pytest.raises(UnreadableImageError, match='NaN'):
        whole(image, NOUNS)
    name, weight = next(whole.model.named_parameters())
    weight.data.view(-1)[0] = torch.inf
    whole.model.save_pretrained(tmp_path)
    whole.processor.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=rf'NaN or infinite .*: {name}'):
        GroundingDINODetector.from_pretrained(tmp_path)
