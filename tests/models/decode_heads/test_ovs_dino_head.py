"""OVS-DINO's losses: masks of nouns, negatives, alignment with the teacher."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_ovs.models.decode_heads import AlignmentHead, OVSDINOHead
from mmseg_ovs.models.decode_heads.ovs_dino_head import (
    MaskTargets,
    add_negatives,
    masks_of_labels,
    masks_of_nouns,
)
from mmseg_ovs.structures import VisualFeatures, Vocabulary
from tests.models.module_tester import label_samples
from tests.tiny import BACKBONES, VIT, build, ovs_dino

NAMES = ['cat', 'dog', 'tree', 'sky']
VOCABULARY = Vocabulary.build(NAMES)
VECTORS = dict(
    zip(
        [*NAMES, 'kitten', 'puppy'],
        torch.randn(6, 10, generator=torch.Generator().manual_seed(5)),
        strict=True,
    )
)


def encode(vocabulary):
    """Text rows of the names as a text encoder gives them."""
    return torch.stack([VECTORS[name] for name in vocabulary.rows])


def noun_sample(nouns, masks):
    sample = SegDataSample(metainfo=dict(nouns=nouns))
    sample.gt_noun_masks = PixelData(data=masks)
    return sample


def features(batch=2):
    return VisualFeatures((torch.randn(batch, 12, 4, 4),))


def test_masks_of_nouns_name_images_and_classes():
    masks = (torch.rand(3, 8, 8) > 0.5).to(torch.uint8)
    samples = [
        noun_sample(['sky', 'cat'], masks[:2]),
        noun_sample([], masks[:0]),
        noun_sample(['dog'], masks[2:]),
    ]
    targets = masks_of_nouns(samples, NAMES, 255)
    assert targets.image.tolist() == [0, 0, 2]
    assert targets.label.tolist() == [3, 0, 1]
    assert torch.equal(targets.masks, masks)


def test_weights_are_those_of_a_weighted_mean():
    """A mask of weight 2 counts as two masks; one of weight 0 not at all."""
    torch.manual_seed(0)
    head = OVSDINOHead(in_channels=12, text_channels=10)
    x = features()
    masks = torch.rand(3, 8, 8).round().to(torch.uint8)
    masks[0, :2] = 255

    def loss(nouns, place, weights=None):
        samples = []
        for own, indices in zip(nouns, place, strict=True):
            samples.append(noun_sample(own, masks[indices]))
            if weights:
                samples[-1].set_metainfo(dict(noun_weights=weights[len(samples) - 1]))
        return head.loss(x, samples, encode, VOCABULARY)

    def mean(*losses):
        return {k: sum(one[k] for one in losses) / len(losses) for k in losses[0]}

    def close(one, other):
        assert one.keys() == other.keys()
        assert all(torch.allclose(one[k], other[k], atol=1e-6) for k in one)

    cat, dog = loss([['cat'], []], [[0], []]), loss([['dog'], []], [[1], []])
    sky = loss([[], ['sky']], [[], [2]])
    nouns, place = [['cat', 'dog'], ['sky']], [[0, 1], [2]]
    found = loss(nouns, place, [[0.5, 0.25], [0.25]])
    close(found, mean(cat, cat, dog, sky))
    close(loss(nouns, place, [[0.9, 0], [0]]), cat)
    assert all(v == 0 for v in loss(nouns, place, [[0, 0], [0]]).values())
    with pytest.raises(ValueError, match='2 of the 3 masks of a batch have weights'):
        loss(nouns, place, [[0.9, 0.1], None])


def test_negatives_weigh_one():
    masks = torch.ones(2, 4, 4)
    label = torch.tensor([0, 1])
    targets = MaskTargets(label, label, masks, torch.tensor([0.5, 0.2]))
    weights = add_negatives(targets, images=2, count=3).weights
    assert torch.equal(weights, torch.tensor([0.5, 0.2, 1, 1]))


def test_images_without_nouns_train_nothing(warned):
    head = OVSDINOHead(in_channels=12, text_channels=10)
    samples = [noun_sample([], torch.zeros(0, 8, 8).int())] * 2
    losses = head.loss(features(), samples, encode, VOCABULARY)
    assert losses and all(value == 0 for value in losses.values())
    assert '1 batch(es) without a labelled pixel' in warned[0]


def test_a_noun_outside_the_vocabulary_is_an_error():
    sample = noun_sample(['unicorn'], torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match=r"masks of \['unicorn'\]"):
        masks_of_nouns([sample], NAMES, 255)


def test_masks_of_labels_keep_the_unknown():
    labels = torch.tensor([[0, 0, 255], [2, 0, 255]])
    both = torch.stack([labels, torch.ones_like(labels)])
    targets = masks_of_labels(label_samples(both), 3, 255)
    with pytest.raises(ValueError, match='from 0 to 2, but there are 2 classes'):
        masks_of_labels(label_samples(both), 2, 255)
    assert targets.image.tolist() == [0, 0, 1]
    assert targets.label.tolist() == [0, 2, 1]
    assert targets.masks[0].tolist() == [[1, 1, 255], [0, 1, 255]]
    assert targets.masks[2].unique().tolist() == [1]


def test_negatives_are_nouns_of_others_that_the_image_lacks():
    targets = MaskTargets(
        torch.tensor([0, 0, 1, 2]),
        torch.tensor([0, 1, 1, 3]),
        torch.ones(4, 2, 2, dtype=torch.uint8),
    )
    for count in (1, 5):
        more = add_negatives(targets, 4, count)
        assert torch.equal(more.label[:4], targets.label)
        assert not more.masks[4:].any()
        for i in range(4):
            own = set(targets.label[targets.image == i].tolist())
            drawn = more.label[4:][more.image[4:] == i].tolist()
            assert len(drawn) == len(set(drawn)) == min(count, 3 - len(own))
            assert not own & set(drawn)
    assert add_negatives(targets, 4, 0) is targets


def test_the_loss_is_cross_entropy_and_dice_of_upsampled_logits():
    head = OVSDINOHead(in_channels=12, text_channels=10)
    x = features()
    masks = (torch.rand(3, 8, 8) > 0.5).to(torch.uint8)
    masks[0, :2] = 255
    samples = [noun_sample(['sky', 'cat'], masks[:2]), noun_sample(['dog'], masks[2:])]
    losses = head.loss(x, samples, encode, VOCABULARY)

    logits = head(x, head.project_text(encode(VOCABULARY)))
    logits = F.interpolate(logits, (8, 8), mode='bilinear')
    chosen = logits[[0, 0, 1], [3, 0, 1]]
    known = masks != 255
    target = masks.float() * known
    entropy = F.binary_cross_entropy_with_logits(chosen, target, reduction='none')
    assert torch.allclose(losses['loss_ce'], entropy[known].mean(), atol=1e-5)
    p = chosen.sigmoid() * known
    both = (p * target).flatten(1).sum(1)
    sizes = p.flatten(1).sum(1) + target.flatten(1).sum(1)
    dice = 1 - (2 * both + 1) / (sizes + 1)
    assert torch.allclose(losses['loss_dice'], dice.mean(), atol=1e-5)


def test_the_loss_of_label_maps_is_that_of_their_masks():
    head = OVSDINOHead(in_channels=12, text_channels=10)
    x = features(1)
    labels = torch.randint(0, 4, (8, 8))
    from_labels = head.loss(x, label_samples(labels[None]), encode, VOCABULARY)
    masks = torch.stack([labels == i for i in range(4)]).to(torch.uint8)
    from_nouns = head.loss(x, [noun_sample(NAMES, masks)], encode, VOCABULARY)
    for name in from_labels:
        assert torch.allclose(from_labels[name], from_nouns[name])


def test_a_noun_takes_its_best_synonym():
    head = OVSDINOHead(in_channels=12, text_channels=10)
    x, vocabulary = features(1), Vocabulary.build([['cat', 'kitten'], ['dog', 'puppy']])
    masks = (torch.rand(1, 8, 8) > 0.5).to(torch.uint8)
    losses = head.loss(x, [noun_sample(['dog'], masks)], encode, vocabulary)
    rows = head.project_text(torch.stack([VECTORS['dog'], VECTORS['puppy']]))
    best = head(x, rows).amax(dim=1)
    expected = head.loss_of_masks(best, masks)
    assert torch.allclose(losses['loss_ce'], expected['loss_ce'])


def test_more_negatives_draw_the_absent_down():
    head = OVSDINOHead(in_channels=12, text_channels=10, negatives=3)
    x = features()
    mask = torch.ones(1, 8, 8, dtype=torch.uint8)
    samples = [noun_sample(['cat'], mask), noun_sample(['dog'], mask)]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(60):
        losses = head.loss(x, samples, encode, VOCABULARY)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    scores = head(x, head.project_text(encode(VOCABULARY))).mean(dim=(2, 3))
    assert (scores[0, 0], scores[1, 1]) > (scores[0, 1], scores[1, 0])
    assert max(scores[0, 1], scores[1, 0]) < 0 < min(scores[0, 0], scores[1, 1])


TEACHER = dict(BACKBONES['DINOv2'], arch=dict(VIT, embed_dims=8))


def test_alignment_follows_the_paper():
    head = AlignmentHead(TEACHER, input_size=(56, 56), cosine_weight=2, mse_weight=3)
    image = torch.randn(2, 3, 100, 100)
    ours = torch.randn(2, 8, 4, 4, requires_grad=True)
    losses = head.loss(VisualFeatures((ours,), image=image), [])
    target = head.teacher(image)
    dot = (ours * target).sum(1) / ours.norm(dim=1) / target.norm(dim=1)
    assert torch.allclose(losses['loss_cosine'], 2 * (1 - dot.mean()), atol=1e-5)
    mse = ((ours - target) ** 2).sum(1).mean() / 8
    assert torch.allclose(losses['loss_mse'], 3 * mse, atol=1e-5)
    sum(losses.values()).backward()
    assert ours.grad.abs().sum() > 0
    assert not head.state_dict()


def test_alignment_of_a_map_with_itself_is_zero():
    target = torch.randn(1, 8, 4, 4)
    sample = SegDataSample()
    sample.teacher_features = PixelData(data=target[0])
    losses = AlignmentHead(TEACHER).loss(VisualFeatures((target,)), [sample])
    assert all(value.abs() < 1e-6 for value in losses.values())


def test_features_of_another_grid_are_an_error():
    head = AlignmentHead(TEACHER, input_size=(56, 56))
    ours = VisualFeatures((torch.randn(2, 8, 5, 4),), image=torch.randn(2, 3, 56, 56))
    with pytest.raises(ValueError, match='8 channels of 5 x 4, that of the teacher 8'):
        head.loss(ours, [])


def test_stored_features_spare_the_teacher_but_not_for_half_a_batch():
    with_features = SegDataSample()
    with_features.teacher_features = PixelData(data=torch.randn(8, 5, 4))
    without = SegDataSample(metainfo=dict(img_path='a.jpg'))
    features = VisualFeatures((torch.randn(2, 8, 5, 4),))
    head = AlignmentHead(TEACHER)
    head.loss(features, [with_features, with_features])
    assert head.teacher._network is None
    with pytest.raises(ValueError, match='a.jpg comes without features'):
        head.loss(features, [with_features, without])


def test_a_model_trains_with_a_teacher_that_it_does_not_save(tmp_path):
    model = build(
        ovs_dino,
        tmp_path,
        backbone=dict(ovs_dino()['backbone'], frozen_stages=1),
        auxiliary_head=dict(type='AlignmentHead', teacher=TEACHER),
        train_cfg=dict(input_size=(56, 56)),
    ).train()
    keys = set(model.state_dict())
    image, labels = torch.randn(2, 3, 112, 112), torch.randint(0, 4, (2, 112, 112))
    losses = model(image, label_samples(labels), mode='loss')
    names = {'decode.loss_ce', 'decode.loss_dice'}
    assert set(losses) == {*names, 'align.loss_cosine', 'align.loss_mse'}
    sum(losses.values()).backward()
    trained = {n for n, p in model.named_parameters() if p.grad is not None}
    assert any(n.startswith('backbone.blocks.1.') for n in trained)
    assert not any(n.startswith('backbone.blocks.0.') for n in trained)
    assert any(n.startswith('neck.0.') for n in trained)
    # the teacher saw 112 x 112, the model 56 x 56, and nobody saved the teacher
    assert model.auxiliary_head.teacher._network is not None
    assert set(model.state_dict()) == keys


def test_stored_features_of_another_grid_name_the_image():
    sample = SegDataSample(metainfo=dict(img_path='a.jpg'))
    sample.teacher_features = PixelData(data=torch.randn(8, 4, 4))
    with pytest.raises(ValueError, match=r'8 channels of 4 x 4 for a\.jpg'):
        AlignmentHead(TEACHER).loss(
            VisualFeatures((torch.randn(1, 8, 5, 4),)), [sample]
        )


# ------------------------------------------------------------- SAM's own padding
def stretched(height, width, side=56):
    """A smooth image (3, side, side) that was (height, width), and its sample."""
    rows, columns = torch.linspace(-1, 1, side), torch.linspace(-1, 1, side)
    image = torch.stack(
        [
            rows[:, None].expand(-1, side),
            columns.expand(side, -1),
            rows[:, None] * columns,
        ]
    )
    factor = (side / width, side / height)
    return image, SegDataSample(metainfo=dict(scale_factor=factor, img_path='a.jpg'))


def padded_head(**options):
    return AlignmentHead(TEACHER, input_size=(56, 56), input_fit='pad', **options)


def test_padded_images_keep_their_proportions():
    seen = []
    head = padded_head()
    head.teacher = lambda images: (
        seen.append(images) or torch.ones(len(images), 8, 4, 4)
    )
    head.teacher.input_size = (56, 56)
    images, samples = zip(*map(stretched, (60, 100, 30), (80, 50, 30)), strict=True)
    maps = head.teach(torch.stack(images), samples)
    # 56 x 42 pixels in cells of 14: three of four; of 28 two
    assert [tuple(x.shape) for x in maps] == [(8, 3, 4), (8, 4, 2), (8, 4, 4)]
    wide, tall, square = seen[0]
    assert (wide[:, 42:] == 0).all() and (tall[:, :, 28:] == 0).all()
    assert wide[0, 41].min() > 0.9 and tall[1, :, 27].min() > 0.9
    assert torch.equal(square, images[2])


def test_maps_meet_where_the_image_is():
    """The student's map says where it is on the image, as the teacher's does."""
    image, sample = stretched(40, 80)
    head = padded_head()
    rows, columns = (torch.arange(8) + 0.5) / 8, (torch.arange(8) + 0.5) / 8
    grid = torch.stack(torch.meshgrid(rows, columns, indexing='ij'))
    sample.teacher_features = PixelData(
        data=torch.stack(
            [((torch.arange(4) + 0.5) / 4)[:, None].expand(4, 8), grid[1, :4]]
        )
    )
    features = VisualFeatures((grid[None],), image=image[None])
    losses = head.loss(features, [sample])
    assert all(value < 1e-4 for value in losses.values())
    sample.teacher_features = PixelData(data=torch.rand(2, 8, 8))
    with pytest.raises(ValueError, match=r"2 channels of 4 x 8, .* a\.jpg.*\('pad'\)"):
        head.loss(features, [sample])


def test_padding_reaches_the_student_and_needs_the_stretch():
    images, samples = zip(*map(stretched, (60, 100), (80, 50)), strict=True)
    ours = torch.randn(2, 8, 4, 4, requires_grad=True)
    features = VisualFeatures((ours,), image=torch.stack(images))
    sum(padded_head().loss(features, samples).values()).backward()
    assert (ours.grad.abs().sum(dim=1) > 0).all()
    samples[1].set_metainfo(dict(scale_factor=None))
    with pytest.raises(ValueError, match=r"a\.jpg does not say how.*'scale_factor'"):
        padded_head().loss(features, samples)
    with pytest.raises(ValueError, match="one of .*'pad'.*, got 'crop'"):
        AlignmentHead(TEACHER, input_fit='crop')
