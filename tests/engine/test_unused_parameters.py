"""DDP waits for the gradient of every weight that is trained: each config gives one."""

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import MODELS

from mmseg_ovs.composition import compose
from mmseg_ovs.models.decode_heads.alignment_head import AlignmentHead
from tests.models.module_tester import label_samples
from tests.tool_loader import ROOT, load_tool

NAMES = ['sand', 'red disc', 'blue bar', 'sky']
WHOLE = {
    path.stem: path
    for path in sorted((ROOT / 'configs').glob('*/*.py'))
    if 'optim_wrapper' in Config.fromfile(path)
}
# It learns a projection from pairs of vectors, without images.
del WHOLE['talk2dino_dinov2-reg-b14_coco-features']
# Necks that learn without words and labels: tests/models/segmentors trains both kinds.
WHOLE = {
    name: path
    for name, path in WHOLE.items()
    if 'text_encoder' in Config.fromfile(path).model
}
# Two that get their data by composition; the others differ in the backbone, or have the
# parts of a tiny one, as dinov3.seg has.
COMPOSED = {
    'cat-seg_clip-b16': 'coco-stuff164k',
    'ovs-dino_dinov2-b14_wo-gate': 'coco-pseudo-masks',
}


def training_config(name):
    if name in COMPOSED:
        return compose(name, COMPOSED[name], train=True)
    return Config.fromfile(WHOLE[name])


def build(cfg):
    load_tool('tools/speed/chain.py').without_weights(cfg.model)
    for part in (cfg.model.backbone, cfg.model.text_encoder):
        part.pop('pretrained', None)
    cfg.model.get('train_cfg', {}).pop('input_size', None)  # small images
    model = MODELS.build(cfg.model).train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:
                parameter.add_(0.1)  # gates that begin at zero hide what is behind them
    model.set_vocabulary(NAMES)
    return model


def samples(model, size):
    labels = torch.randint(0, len(NAMES), (2, *size))
    labels[:, :3] = 255
    found = label_samples(labels)
    if model.with_auxiliary_head and isinstance(model.auxiliary_head, AlignmentHead):
        shape = model.extract_feat(torch.zeros(1, 3, *size)).maps[0].shape[1:]
        for sample in found:  # no teacher is built
            sample.teacher_features = PixelData(data=torch.randn(shape))
    return found


@pytest.mark.parametrize('name', [*WHOLE, *COMPOSED])
def test_every_trained_weight_gets_a_gradient(name):
    cfg = training_config(name)
    model = build(cfg)
    size = (112, 112)
    data = dict(inputs=torch.randn(2, 3, *size), data_samples=samples(model, size))
    losses = model(**data, mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    unused = [
        key
        for key, value in model.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert bool(unused) == cfg.get('find_unused_parameters', False), unused
