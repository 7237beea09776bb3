"""More than 255 classes, from the label file to loss and score."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmseg.registry import METRICS
from PIL import Image

from mmseg_ovs.datasets import ADE20K847Dataset, PascalContext459Dataset
from mmseg_ovs.datasets.converters.label_files import encode_labels
from mmseg_ovs.datasets.sample_errors import SampleError
from mmseg_ovs.models.decode_heads.class_targets import class_targets
from mmseg_ovs.structures import Vocabulary
from tests.tiny import BACKBONES, HEADS, WIDTH, make, vectors

PREFIX = dict(img_path='images', seg_map_path='labels')
TRAIN = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadLabelMap'),
    dict(type='RandomFlip', prob=1.0),
    dict(type='PackSegInputs'),
]
TEST = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 56), keep_ratio=True),
    dict(type='LoadLabelMap'),
    dict(type='PackSegInputs'),
]
# Columns of four pixels; 255 and 256 are real classes, 65535 is unlabelled.
COLUMNS = (0, 255, 256, 300, 846, 65535)


@pytest.fixture
def build(tmp_path):
    """Builds A-847 with one image, 28 x 24."""
    labels = np.tile(np.repeat(COLUMNS, 4), (28, 1))
    image = np.random.default_rng(0).integers(0, 256, (*labels.shape, 3), np.uint8)
    for folder in PREFIX.values():
        (tmp_path / folder).mkdir()
    Image.fromarray(image).save(tmp_path / 'images' / 'a.jpg')
    (tmp_path / 'labels' / 'a.png').write_bytes(encode_labels(labels, 847))

    def build(pipeline, **kwargs):
        return ADE20K847Dataset(
            data_root=str(tmp_path), data_prefix=PREFIX, pipeline=pipeline, **kwargs
        )

    return build


@pytest.fixture
def segmentor(tmp_path):
    """Builds a tiny segmentor with all names of A-847."""
    vocabulary = dict(source=ADE20K847Dataset.METAINFO['classes'], synonyms='first')
    names = list(dict.fromkeys(Vocabulary.build(vocabulary).rows))
    text_encoder = vectors(tmp_path / 'text.safetensors', names, WIDTH)

    def build(seg_pad_val=65535, **head):
        pixels = dict(type='OpenVocabDataPreProcessor', size=(42, 42))
        return make(
            dict(
                type='OpenVocabSegmentor',
                data_preprocessor=dict(pixels, seg_pad_val=seg_pad_val),
                backbone=BACKBONES['DINOv2'],
                text_encoder=text_encoder,
                decode_head=dict(HEADS['text similarity'], **head),
                vocabulary=vocabulary,
                test_cfg=dict(mode='whole'),
            )
        )

    return build


def test_names_and_colours():
    for dataset, number in ((ADE20K847Dataset, 847), (PascalContext459Dataset, 459)):
        info = dataset.METAINFO
        assert len(info['classes']) == number == len(set(info['classes']))
        assert len({tuple(colour) for colour in info['palette']}) == number
        assert Vocabulary.from_metainfo(info).num_classes == number


def test_padding_is_ignored_by_the_loss(build, segmentor):
    data = pseudo_collate([build(TRAIN)[0]])
    model = segmentor(ignore_index=65535)
    batch = model.data_preprocessor(data, True)
    labels = batch['data_samples'][0].gt_sem_seg.data
    assert labels.shape == (1, 42, 42)
    assert labels.unique().tolist() == [0, 255, 256, 300, 846, 65535]
    assert (labels[0, 28:] == 65535).all() and (labels[0, :, 24:] == 65535).all()
    # Flipped: unlabelled columns are now on the left.
    assert (labels[0, :28, :4] == 65535).all() and (labels[0, :28, 4:8] == 846).all()

    losses = model.loss(**batch)
    features = model.extract_feat(batch['inputs'])
    logits = model.decode_head(features, model.project_vocabulary())
    logits = F.interpolate(logits, (42, 42), mode='bilinear')[0]
    flat = labels.flatten()
    known = flat != 65535
    expected = F.cross_entropy(logits.flatten(1).T[known], flat[known], reduction='sum')
    # MMSegmentation's mean counts ignored pixels, too.
    torch.testing.assert_close(losses['decode.loss_ce'], expected / flat.numel())
    losses['decode.loss_ce'].backward()

    # With 255 for padding it would be taken for a class.
    model = segmentor(seg_pad_val=255, ignore_index=65535)
    batch = model.data_preprocessor(data, True)
    assert (batch['data_samples'][0].gt_sem_seg.data[0, 28:] == 255).all()


def test_an_ignored_label_that_is_a_class_is_refused(build):
    with pytest.raises(SampleError, match='ignore_index=255 is one of the 847'):
        build(TRAIN, ignore_index=255)[0]


@pytest.mark.parametrize('loss_classes', ['all', 'labelled'])
def test_losses_on_drawn_points(build, segmentor, loss_classes):
    data = pseudo_collate([build(TRAIN)[0]])
    model = segmentor(
        ignore_index=65535,
        num_points=50,
        balanced_points=True,
        loss_classes=loss_classes,
    )
    loss = model.loss(**model.data_preprocessor(data, True))['decode.loss_ce']
    assert loss.isfinite() and loss > 0


def test_targets_of_the_cost_aggregation():
    labels = torch.tensor([[COLUMNS]])
    targets = class_targets(labels, 847, 65535, True)
    assert targets.shape == (1, 847, 1, 6)
    assert targets[0, :, 0, :5].sum(0).tolist() == [1] * 5
    assert [targets[0, label, 0, i].item() for i, label in enumerate(COLUMNS[:5])] == (
        [1] * 5
    )
    assert (targets[0, :, 0, 5] == 255).all()


def test_score_of_predictions(build, segmentor):
    dataset = build(TEST, test_mode=True)
    model = segmentor().eval()
    (sample,) = model.test_step(pseudo_collate([dataset[0]]))
    assert sample.pred_sem_seg.data.shape == sample.gt_sem_seg.data.shape
    assert sample.pred_sem_seg.data.max() > 255  # of 847 random names

    def score(predicted):
        metric = METRICS.build(dict(type='OpenVocabIoUMetric', ignore_index=65535))
        metric.dataset_meta = dataset.metainfo
        result = dict(sample.to_dict(), pred_sem_seg=dict(data=predicted))
        metric.process({}, [result])
        return metric.evaluate(1)

    assert score(sample.pred_sem_seg.data)['mIoU'] < 50
    truth = sample.gt_sem_seg.data
    perfect = truth.masked_fill(truth == 65535, 7)  # what is ignored does not count
    assert score(perfect)['mIoU'] == 100
    wrong = perfect.masked_fill(perfect == 846, 845)
    # Four of five classes right; 845 and 846 have none.
    assert score(wrong)['mIoU'] == pytest.approx(100 * 4 / 6, abs=0.01)
