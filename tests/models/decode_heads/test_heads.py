"""Text-similarity and Talk2DINO heads: scores, losses, learning."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample

from mmseg_ovs.models.decode_heads import TextSimilarityHead
from mmseg_ovs.models.decode_heads.class_targets import labelled_classes, renumber
from mmseg_ovs.models.decode_heads.talk2dino_head import (
    Talk2DINOProjection,
    align_heads,
)
from mmseg_ovs.models.decode_heads.text_similarity_head import sample_points
from mmseg_ovs.models.losses import InfoNCELoss
from mmseg_ovs.models.utils import load_pretrained
from mmseg_ovs.structures import VisualFeatures
from tests.tiny import BACKBONES


def test_scores_are_cosines():
    head = TextSimilarityHead(in_channels=8, text_channels=8)
    maps, text = torch.randn(2, 8, 3, 4), torch.randn(5, 8)
    logits = head(VisualFeatures((maps,)), head.project_text(text))
    expected = F.cosine_similarity(maps[1, :, 2, 3], text[4], dim=0)
    torch.testing.assert_close(logits[1, 4, 2, 3], expected)
    assert not list(head.parameters())
    scaled = TextSimilarityHead(8, 8, logit_scale=5.0, logit_bias=-1.0)
    ours = scaled(VisualFeatures((maps,)), scaled.project_text(text))
    torch.testing.assert_close(ours, 5 * logits - 1)


def test_text_and_features_of_different_widths():
    head = TextSimilarityHead(in_channels=8, text_channels=6)
    features = VisualFeatures((torch.randn(1, 8, 2, 2),))
    with pytest.raises(ValueError, match='8 channels, text vectors 6: add or correct'):
        head(features, head.project_text(torch.randn(3, 6)))


def test_settings_of_the_loss_that_make_no_sense():
    with pytest.raises(ValueError, match="loss_classes has to be one of .*'some'"):
        TextSimilarityHead(8, 8, loss_classes='some')
    with pytest.raises(ValueError, match='give num_points'):
        TextSimilarityHead(8, 8, balanced_points=True)


@pytest.mark.parametrize('align_corners', [False, True])
def test_points_are_sampled_where_pixels_are(align_corners):
    """A sampled logit is the resized map's value at a pixel with that label."""
    labels = torch.arange(35).view(1, 5, 7)
    labels[labels % 3 == 0] = 255
    logits = torch.randn(1, 2, 4, 3)
    resized = F.interpolate(
        logits, (5, 7), mode='bilinear', align_corners=align_corners
    )
    sampled, targets = sample_points(logits, labels, 200, 255, align_corners)
    assert targets.shape == (1, 200, 1) and 255 not in targets
    for point, label in enumerate(targets.flatten().tolist()):
        expected = resized[0, :, label // 7, label % 7]
        torch.testing.assert_close(
            sampled[0, :, point, 0], expected, rtol=1e-4, atol=1e-5
        )


def test_balanced_points_draw_small_classes_as_often_as_large_ones():
    labels = torch.full((2, 20, 20), 3)
    labels[0, 0, :4] = 1
    labels[0, 1] = 255
    labels[1] = 255  # nothing labelled: any pixel
    logits = torch.randn(2, 4, 5, 5)
    _, drawn = sample_points(logits, labels, 4000, 255, False, balanced=True)
    share = (drawn[0] == 1).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.05)
    assert 255 not in drawn[0] and (drawn[1] == 255).all()
    _, drawn = sample_points(logits, labels, 4000, 255, False)
    assert (drawn[0] == 1).float().mean() < 0.05


def test_only_labelled_classes_are_compared():
    labels = torch.tensor([[[2, 7], [255, 2]], [[4, 4], [7, 255]]])
    kept = labelled_classes(labels, 9, 255)
    assert kept.tolist() == [2, 4, 7]
    renumbered = renumber(labels, kept, 255)
    assert renumbered.tolist() == [[[0, 2], [255, 0]], [[1, 1], [2, 255]]]
    assert labelled_classes(torch.full_like(labels, 255), 9, 255).tolist() == []


def test_one_class_alone(warned):
    """mmseg's losses take a single channel for a mask; a softmax has nothing to do."""
    logits, labels = torch.randn(1, 3, 4, 4), torch.full((1, 8, 8), 2)
    cross_entropy = dict(type='CrossEntropyLoss')
    sigmoid = dict(cross_entropy, use_sigmoid=True)
    for loss, count in (sigmoid, 0), (cross_entropy, 1):
        head = TextSimilarityHead(8, 8, loss_classes='labelled', loss_decode=loss)
        logits.requires_grad_().grad = None
        head.loss_by_logits(logits, labels)['loss_ce'].backward()
        assert (logits.grad[:, 2] < 0).all() == (loss is sigmoid)  # raises the score
        assert len(warned) == count
    assert '1 batch(es) with a single class to compare' in warned[0]
    with pytest.raises(ValueError, match='class_weight of a loss'):
        weighted = dict(cross_entropy, class_weight=[1.0, 2.0, 3.0])
        TextSimilarityHead(8, 8, loss_classes='labelled', loss_decode=weighted)


def test_a_name_that_is_never_labelled_is_not_pushed_away():
    labels = torch.randint(0, 3, (2, 8, 8))
    for loss_classes, touched in (('all', True), ('labelled', False)):
        logits = torch.randn(2, 5, 4, 4, requires_grad=True)
        head = TextSimilarityHead(8, 8, loss_classes=loss_classes)
        head.loss_by_logits(logits, labels)['loss_ce'].backward()
        assert bool(logits.grad[:, 3:].any()) is touched


def test_point_loss_is_an_estimate_of_the_full_loss():
    labels = torch.randint(0, 4, (2, 24, 24))
    labels[:, :4] = 255
    logits = torch.randn(2, 4, 6, 6)
    losses = {}
    for points in (None, 20_000):
        head = TextSimilarityHead(
            8,
            8,
            num_points=points,
            loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
        )
        losses[points] = head.loss_by_logits(logits, labels)['loss_ce'].item()
    assert losses[20_000] == pytest.approx(losses[None], rel=0.02)


def test_caption_training_aligns_pairs(build_segmentor):
    """Only the projection learns; images find their own captions."""
    model = build_segmentor()
    model.backbone.requires_grad_(False)
    images = torch.randn(6, 3, 56, 56) + 3 * torch.randn(6, 3, 1, 1)
    samples = [SegDataSample(metainfo=dict(caption=f'thing {i}')) for i in range(6)]
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-2)
    for _ in range(60):
        losses = model(images, samples, mode='loss')
        optimizer.zero_grad()
        losses['decode.loss_align'].backward()
        optimizer.step()
    assert losses['decode.acc_align'] == 100


def test_caption_training_needs_the_attention(build_segmentor):
    model = build_segmentor(backbone=BACKBONES['DINOv3'])
    samples = [SegDataSample(metainfo=dict(caption='thing 1'))] * 2
    with pytest.raises(ValueError, match="extra_outputs=\\('cls_attention',\\)"):
        model(torch.randn(2, 3, 32, 32), samples, mode='loss')


def test_alignment_keeps_the_head_of_the_own_text():
    visual = F.normalize(torch.randn(4, 3, 8), dim=-1)
    text = F.normalize(torch.randn(4, 8), dim=-1)
    similarity, index = align_heads(visual, text)
    for image in range(4):
        own = visual[image] @ text[image]
        assert index[image] == own.argmax()
        torch.testing.assert_close(similarity[image, image], own.max())


def test_infonce_of_perfect_pairs_is_near_zero():
    loss = InfoNCELoss(temperature=0.01, divide_by_squared_batch=False)
    assert loss(torch.eye(4)) < 1e-6
    assert loss(1 - torch.eye(4)) > 10


def test_projection_takes_the_old_name_of_its_second_layer():
    source, target = (Talk2DINOProjection(4, 6) for _ in range(2))
    state = source.state_dict()
    for kind in ('weight', 'bias'):
        state[f'linear_layer2.{kind}'] = state.pop(f'hidden_layers.0.{kind}')
    load_pretrained(target, state)
    text = torch.randn(3, 4)
    assert torch.equal(target(text), source(text))
