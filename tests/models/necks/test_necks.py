"""What holds for every neck."""

import torch
from mmseg.models import EncoderDecoder
from mmseg.registry import MODELS

from mmseg_ovs.models.necks.base import apply_neck
from mmseg_ovs.structures import VisualFeatures
from tests.models.module_tester import BOTH, PretrainedModuleTester, label_samples
from tests.tiny import BACKBONES, NECKS, WIDTH

# Channels of the maps that a neck takes, where it is not one map.
MAPS = {
    'StructureAwareEncoder': [WIDTH] * 3,
    'StructureModulatedDecoder': [8, WIDTH],
    'CorrelationPooling': [WIDTH, 5],
    'TCLMasker': [WIDTH, 8],
}


def features(module, batch=BOTH):
    draw = torch.Generator().manual_seed(1)
    shapes = [(c, 4, 5) for c in MAPS.get(type(module).__name__, [WIDTH])]
    shapes += [(WIDTH,), (3, WIDTH), (3, 32, 40)]
    *maps, token, registers, image = (
        torch.randn(2, *shape, generator=draw)[batch] for shape in shapes
    )
    return VisualFeatures(tuple(maps), token, registers, image=image)


class TestNecks(PretrainedModuleTester):
    CONFIGS = NECKS

    def run(self, module, batch=BOTH):
        out = apply_neck(module, features(module, batch))
        return [*out.maps, out.cls_token, out.registers]

    def test_serves_a_stock_segmentor(self, cfg):
        """Inside the backbone; gradients reach what is trained of it."""
        necks = [cfg]
        if cfg['type'] == 'StructureModulatedDecoder':
            necks.insert(0, NECKS['structure encoder'])
        backbone = dict(
            BACKBONES['DINOv3'],
            out_indices=(0, 1, 1),
            final_norm=(False, False, True),
            extra_outputs=('cls_token', 'registers'),
        )
        wrapped = dict(type='BackboneWithNeck', backbone=backbone, neck=necks)
        image = torch.randn(2, 3, 32, 40)
        channels = [m.shape[1] for m in MODELS.build(wrapped)(image)]
        head = dict(
            type='FCNHead',
            in_channels=channels,
            in_index=list(range(len(channels))),
            input_transform='resize_concat',
            channels=8,
            num_classes=3,
        )
        model = EncoderDecoder(
            backbone=wrapped, decode_head=head, test_cfg=dict(mode='whole')
        ).train()
        samples = label_samples(torch.randint(0, 3, (2, 32, 40)))
        loss = model(image, samples, mode='loss')['decode.loss_ce']
        loss.backward()
        last = list(model.backbone.neck.children())[-1]
        for name, parameter in last.named_parameters():
            assert (parameter.grad is not None) is parameter.requires_grad, name
