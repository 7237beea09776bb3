"""Nothing mixes devices, and little makes a GPU wait."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_ovs.evaluation import OpenVocabIoUMetric
from mmseg_ovs.models.postprocessors import PAMR
from tests.models.segmentors import test_open_vocab_san as san
from tests.properties.device_meter import (
    AVAILABLE,
    MixedDevicesError,
    fake_gpu,
    to_host,
)
from tests.tiny import (
    BACKBONES,
    HEADS,
    NAMES,
    POSTPROCESSORS,
    SYSTEMS,
    WIDTH,
    build,
    cat_seg,
    groupvit,
    naclip,
    ovs_dino,
    talk2dino,
)

pytestmark = pytest.mark.skipif(
    not AVAILABLE, reason='this PyTorch has other private functions'
)
SIZE = 64, 64


def sclip():
    """Another last block, no refinement."""
    return dict(
        naclip(),
        backbone=dict(BACKBONES['CLIP'], last_block='sclip'),
        postprocessors=[],
    )


def pixelclip():
    """Scores of the whole image, resized once."""
    return dict(
        backbone=BACKBONES['dense CLIP'],
        decode_head=HEADS['PixelCLIP'],
        test_cfg=dict(
            mode='whole',
            input_size=(32, 32),
            resize_once=True,
            best_name_before_resize=True,
        ),
    )


def cleaned():
    """Post-processors that look at features."""
    return dict(
        naclip(),
        backbone=dict(
            BACKBONES['DINOv2 with registers'], extra_outputs=('cls_attention',)
        ),
        postprocessors=[POSTPROCESSORS['background cleaning']],
    )


MORE = {sclip: (WIDTH,), pixelclip: (WIDTH,), cleaned: (WIDTH,)}


@pytest.fixture
def model(request, tmp_path, monkeypatch):
    if request.param is san:
        return san.spread(san.build(vocabulary=NAMES))
    for system, shape in MORE.items():
        monkeypatch.setitem(SYSTEMS, system, shape)
    return build(request.param, tmp_path)


def every(*systems):
    names = [s.__name__.rpartition('_')[2] if s is san else s.__name__ for s in systems]
    return pytest.mark.parametrize('model', systems, indirect=True, ids=names)


def samples(labels=()):
    found = []
    for label in labels:
        found.append(SegDataSample(metainfo=dict(img_path='a.jpg')))
        found[-1].gt_sem_seg = PixelData(data=label[None])
    return found


def batch(labels=(), count=1, size=(50, 70)):
    draw = torch.Generator().manual_seed(3)
    shape = (3, *(SIZE if len(labels) else size))
    images = [
        torch.randint(0, 256, shape, dtype=torch.uint8, generator=draw)
        for _ in range(len(labels) or count)
    ]
    metas = samples(labels) or [SegDataSample() for _ in images]
    return dict(inputs=images, data_samples=metas)


def label_maps():
    draw = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 5, (2, 8, 8), generator=draw)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    labels[:, :4] = 255
    return labels


@every(*SYSTEMS, *MORE, san)
def test_an_image_in_at_most_five_transfers(model):
    """The image, the order of its channels, the tiles of AnyUp; SAN's head has two.

    One value comes back, when the labels of the batch are done: whether scores are
    finite.
    """
    (expected,) = model.test_step(batch())
    with fake_gpu() as meter:
        model.to('cuda')
        model.test_step(batch())  # encodes the names and measures a window
        meter.clear()
        (found,) = model.test_step(batch())
        assert meter.copies.total() + meter.reads.total() <= 5, meter.describe()
        assert meter.reads.total() == 1, meter.describe()
    found, expected = (x.pred_sem_seg.data for x in (found, expected))
    assert found.device.type == 'cuda'
    assert torch.equal(to_host(found), expected)


@every(talk2dino)
def test_synonyms_cost_a_copy(model):
    model.set_vocabulary([NAMES[:2], NAMES[2]])
    with fake_gpu() as meter:
        model.to('cuda')
        model.test_step(batch())
        meter.clear()
        model.test_step(batch())
        assert meter.copies.total() + meter.reads.total() <= 5, meter.describe()


@every(talk2dino)
def test_a_batch_reads_one_value_back(model):
    with fake_gpu() as meter:
        model.to('cuda')
        model.test_step(batch())
        meter.clear()
        model.test_step(batch(count=3))
        assert meter.reads.total() == 1, meter.describe()


# Values that the loss itself asks for: how many pixels count, which classes are there.
INHERENT = {'CostAggregationHead': 1, 'OVSDINOHead': 1}


@every(*(s for s in SYSTEMS if s is not groupvit))
def test_a_training_step_reads_two_values_besides_the_loss(model):
    model.train()
    model.data_preprocessor.size = SIZE
    check_training_step(model, inherent_reads(model))


def inherent_reads(model):
    return INHERENT.get(type(getattr(model, 'decode_head', None)).__name__, 0)


def check_training_step(model, inherent, draw=lambda: batch(label_maps()), **tolerance):
    def losses():
        torch.manual_seed(1)
        found = model(**data, mode='loss')
        return {name: value.detach() for name, value in found.items()}

    data = model.data_preprocessor(draw(), True)
    expected = losses()
    with fake_gpu() as meter:
        model.to('cuda')
        data = model.data_preprocessor(draw(), True)
        losses()
        meter.clear()
        found = losses()
        assert meter.reads.total() <= 2 + inherent, meter.describe()
        assert meter.copies.total() <= 3, meter.describe()
    for name, value in expected.items():
        assert found[name].device.type == 'cuda'
        torch.testing.assert_close(to_host(found[name]), value, **tolerance)


@pytest.mark.parametrize(
    'changes', [dict(loss_classes='labelled'), dict(sampled_classes=4)], ids=str
)
@every(cat_seg)
def test_the_classes_of_a_step_are_read_once(model, changes):
    """On top of the number of pixels that count."""
    model.train()
    model.data_preprocessor.size = SIZE
    vars(model.decode_head).update(changes)
    check_training_step(model, 2)


@every(ovs_dino)
def test_masks_of_nouns_stay_on_the_gpu(model):
    model.train()
    model.decode_head.negatives = 2
    data = batch(label_maps())
    for i, sample in enumerate(data['data_samples']):
        sample.set_metainfo(dict(nouns=NAMES[i : i + 2]))
        masks = torch.stack([sample.gt_sem_seg.data[0] == j for j in (i, i + 1)])
        sample.gt_noun_masks = PixelData(data=masks.to(torch.uint8))
    model.data_preprocessor.size = SIZE
    with fake_gpu() as meter:
        model.to('cuda')
        data = model.data_preprocessor(data, True)
        model(**data, mode='loss')
        meter.clear()
        model(**data, mode='loss')
        assert meter.reads.total() <= 2, meter.describe()


def test_refinement_has_few_operations_at_any_size():
    kernels = []
    for size in ((64, 64), (300, 400)):
        with fake_gpu() as meter, torch.no_grad():
            pamr = PAMR().to('cuda')
            image, scores = torch.rand(3, *size), torch.rand(3, *size)
            image, scores = image.to('cuda'), scores.to('cuda')
            meter.clear()
            pamr.refine(scores, pamr.prepare(image))
            assert not meter.copies and not meter.reads, meter.describe()
            kernels.append(meter.kernels)
    assert kernels[0] == kernels[1] < 150


def test_counting_pixels_reads_four_times():
    labels = label_maps()[0]
    metric = OpenVocabIoUMetric()
    metric.dataset_meta = dict(classes=NAMES)

    def sample(device):
        data = dict(data=labels.to(device)[None])
        return dict(img_path='a.jpg', pred_sem_seg=data, gt_sem_seg=data)

    metric.process({}, [sample('cpu')])
    with fake_gpu() as meter:
        one = sample('cuda')
        meter.clear()
        metric.process({}, [one])
        assert meter.reads.total() <= 4, meter.describe()
    for expected, found in zip(*metric.results, strict=True):
        assert torch.equal(found, expected)


def attention(x, keys=None, mask=None):
    x = x[:, None]
    keys = x if keys is None else keys.T
    return F.scaled_dot_product_attention(x, keys, x, mask)


class TestTheMeter:
    """It finds what it is there for."""

    @pytest.fixture(autouse=True)
    def gpu(self):
        with fake_gpu() as self.meter:
            self.x = torch.arange(6.0, device='cuda')
            self.meter.clear()
            yield

    @pytest.mark.parametrize(
        'mix',
        [
            lambda x: x + torch.ones(6),
            lambda x: torch.ones(6).add_(x),
            lambda x: F.linear(x, torch.ones(2, 6)),
            lambda x: torch.cat([x, torch.ones(1)]),
            lambda x: x.masked_fill(torch.ones(6) > 0, 1),
            lambda x: torch.ones(6)[x.long()],
            lambda x: nn.LayerNorm(6)(x),
            lambda x: attention(x, torch.ones(1, 6)),
            lambda x: attention(x.requires_grad_(), torch.ones(1, 6)),
        ],
    )
    def test_mixed_devices(self, mix):
        with pytest.raises(MixedDevicesError):
            mix(self.x)

    @pytest.mark.parametrize(
        'read',
        [
            lambda x: x.max().item(),
            lambda x: bool(x.any()),
            lambda x: int(x[0]),
            lambda x: x.tolist(),
            lambda x: x.cpu(),
            lambda x: x[x > 2],
            lambda x: x.nonzero(),
            lambda x: x.unique(),
            lambda x: x.long().bincount(),
            lambda x: x.repeat_interleave(x.long()),
            lambda x: torch.equal(x, x + 1),
        ],
    )
    def test_what_is_read_back(self, read):
        read(self.x)
        assert self.meter.reads.total() >= 1 and not self.meter.copies

    @pytest.mark.parametrize(
        'copy',
        [
            lambda x: torch.tensor([1, 2], device='cuda'),
            lambda x: torch.ones(6).to(x),
            lambda x: x.new_tensor([1, 2]),
            lambda x: x[[2, 1, 0]],
            lambda x: x.copy_(torch.ones(6)),
        ],
    )
    def test_what_is_copied(self, copy):
        copy(self.x)
        assert self.meter.copies.total() == 1 and not self.meter.reads

    @pytest.mark.parametrize('leave', [lambda x: x.numpy(), lambda x: x.__array__()])
    def test_numpy_is_refused(self, leave):
        with pytest.raises(TypeError, match="can't convert cuda:0"):
            leave(self.x)

    @pytest.mark.parametrize('mask', [None, torch.eye(6) > 0, torch.eye(6)])
    @pytest.mark.parametrize('trained', [False, True])
    def test_attention_is_one_operation(self, trained, mask):
        expected = attention(to_host(self.x), mask=mask)
        x = self.x.requires_grad_(trained)
        mask = None if mask is None else mask.to('cuda')
        self.meter.clear()
        found = attention(x, mask=mask)
        assert self.meter.kernels == 1 and not self.meter.copies + self.meter.reads
        assert found.requires_grad == trained
        torch.testing.assert_close(to_host(found.detach()), expected)

    def test_arithmetic_is_neither(self):
        x = self.x.clone()
        x[1:3] = 5
        x.masked_fill_(x > 3, 0)
        y = (x * 2 + 1).softmax(0).to(torch.float64).float()
        assert not self.meter.reads and not self.meter.copies
        assert torch.equal(to_host(y), (to_host(x) * 2 + 1).softmax(0))
        assert 'test_arithmetic' not in self.meter.describe()
