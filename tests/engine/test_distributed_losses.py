"""Losses and gradients of two processes are those of one with the whole batch."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dist import get_rank, get_world_size
from mmengine.model import MMDistributedDataParallel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from processes import run_processes
from tiny_run import MODEL, largest_difference

from tests import tiny

CLASSES = ('sky', 'road', 'red car', 'tree')
SIX = (0, 1, 2, 3, 4, 5)

HEADS = {
    'captions': dict(tiny.HEADS['Talk2DINO'], text_channels=16),
    'masks of nouns': dict(
        tiny.HEADS['OVS-DINO'], text_channels=16, mask_size=(16, 16)
    ),
    'labels': dict(
        tiny.HEADS['text similarity'],
        logit_scale=5.0,
        loss_classes='labelled',
        loss_decode=[
            dict(type='CrossEntropyLoss', avg_non_ignore=True),
            dict(type='CrossEntropyLoss', loss_name='loss_plain'),
        ],
    ),
    'cost aggregation': dict(
        type='CostAggregationHead',
        in_channels=16,
        stride=8,
        ignored='skip',
        aggregator=dict(
            channels=8,
            num_layers=1,
            num_heads=1,
            window_size=2,
            text_guidance_dims=8,
            decoder_dims=(16, 16),
        ),
    ),
    # mmseg's own head, which averages over the valid pixels of its process
    'stock': dict(
        type='FCNHead',
        in_channels=16,
        channels=16,
        num_convs=0,
        concat_input=False,
        num_classes=4,
        dropout_ratio=0,
        loss_decode=dict(type='CrossEntropyLoss', avg_non_ignore=True),
    ),
}


HEADS['weighted masks of nouns'] = HEADS['masks of nouns']


def build_model(kind: str):
    cfg = ConfigDict(copy.deepcopy(MODEL))
    cfg.decode_head = HEADS[kind]
    if kind == 'captions':
        cfg.backbone.extra_outputs = ('cls_attention',)
    if kind == 'stock':
        cfg.type = 'EncoderDecoder'
        cfg.data_preprocessor = None
        cfg.pop('text_encoder')
    elif kind != 'captions':
        cfg.vocabulary = CLASSES
    if kind == 'labels':
        cfg.auxiliary_head = dict(type='AlignmentHead', teacher=dict(cfg.backbone))
    model = MODELS.build(cfg)
    model.init_weights()
    return model.train()


def make_batch(rows: tuple[int, ...]) -> tuple[torch.Tensor, list[SegDataSample]]:
    """Images and samples, of which the later have less that is labelled."""
    generator = torch.Generator().manual_seed(4)
    inputs = torch.randn(6, 3, 32, 32, generator=generator)
    samples = []
    for i in range(6):
        labels = torch.randint(0, 3, (1, 32, 32), generator=generator)
        if i > 3:
            labels[labels == 0] = 3
        labels[:, : 5 * i] = 255
        masks = torch.rand(max(1, 5 - i), 32, 32, generator=generator) > 0.5
        masks = masks.to(torch.uint8)
        masks[:, : 4 * i] = 255
        nouns = [CLASSES[(i + k) % 4] for k in range(len(masks))]
        sample = SegDataSample(metainfo=dict(caption=f'a {CLASSES[i % 4]} {i}'))
        sample.set_metainfo(dict(nouns=nouns))
        sample.gt_noun_masks = PixelData(data=masks)
        sample.gt_sem_seg = PixelData(data=labels)
        samples.append(sample)
    return inputs[list(rows)], [samples[i] for i in rows]


def select(kind: str, samples: list[SegDataSample]) -> list[SegDataSample]:
    """The samples with what the head is to be trained from."""
    for sample in samples:
        if kind != 'captions':
            del sample.caption
        if 'masks of nouns' not in kind:
            del sample.gt_noun_masks
        if kind == 'weighted masks of nouns':
            weights = [0.1 + 0.2 * k for k in range(len(sample.nouns))]
            sample.set_metainfo(dict(noun_weights=weights))
    return samples


def losses_and_gradients(kind: str) -> tuple[dict, dict]:
    """Of this process's rows of the batch, gradients averaged by DDP."""
    torch.manual_seed(0)
    model = build_model(kind)
    wrapped = model
    if get_world_size() > 1:
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    inputs, samples = make_batch(SIX[get_rank() :: get_world_size()])
    torch.manual_seed(0)  # for the teacher
    losses = wrapped(inputs, select(kind, samples), mode='loss')
    total, _ = model.parse_losses(losses)
    total.backward()
    values = {name: value.detach() for name, value in losses.items()}
    return values, {n: p.grad for n, p in model.named_parameters() if p.requires_grad}


def of_all_kinds() -> dict:
    torch.distributed.init_process_group('gloo')
    return {kind: losses_and_gradients(kind) for kind in HEADS}


@pytest.fixture(scope='module')
def of_two():
    return run_processes(2, of_all_kinds)


@pytest.mark.parametrize('kind', [kind for kind in HEADS if kind != 'stock'])
def test_gradients_are_those_of_the_whole_batch(of_two, kind):
    losses, gradients = losses_and_gradients(kind)
    (first_losses, first), (second_losses, second) = (result[kind] for result in of_two)
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name, value in losses.items():
        mean = (first_losses[name] + second_losses[name]) / 2
        torch.testing.assert_close(mean, value, rtol=1e-5, atol=1e-6)
    scale = max(float(g.abs().max()) for g in gradients.values())
    difference = largest_difference(first, gradients) / scale
    print(f'{kind}: largest difference {difference:.1e} of the largest gradient')
    assert difference < 1e-5


def test_contrastive_loss_is_the_same_on_every_process(of_two):
    first, second = (result['captions'][0] for result in of_two)
    assert torch.equal(first['decode.loss_align'], second['decode.loss_align'])


def test_stock_heads_average_the_averages_of_processes(of_two):
    """The difference that docs/scale_out.md names."""
    _, gradients = losses_and_gradients('stock')
    _, first = of_two[0]['stock']
    scale = max(float(g.abs().max()) for g in gradients.values())
    assert largest_difference(first, gradients) / scale > 0.01
