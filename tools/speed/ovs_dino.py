"""Time OVS-DINO: inference against Talk2DINO, training by kind of teacher.

    python tools/speed/ovs_dino.py [--threads 1] [--runs 3]

Full-size configs with random weights, one window of 448 x 448. The training step
(forward, backward, no optimizer) has one image, which SAM sees at 1024 x 1024.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from timing import compare, parse_args
from torch import Tensor, nn

from mmseg_ovs.models.text_encoders import save_embeddings

ROOT = Path(__file__).resolve().parents[2]
NAMES = [f'class {i}' for i in range(150)]


def build(config: str, folder: str) -> nn.Module:
    """The model of a config with random weights and text vectors."""
    path = Path(folder) / 'text.safetensors'
    save_embeddings(path, NAMES, torch.randn(len(NAMES), 512))
    model = Config.fromfile(ROOT / 'configs' / config).model
    model.backbone.init_cfg = None
    if 'auxiliary_head' in model:
        model.auxiliary_head.teacher.init_cfg = None
    model.text_encoder = dict(type='PrecomputedTextEncoder', path=str(path))
    return MODELS.build(dict(model, postprocessors=[], vocabulary=NAMES))


@torch.inference_mode()
def inference(folder: str, runs: int) -> None:
    """One window through both models, without post-processors."""
    image = torch.randn(1, 3, 448, 448)
    variants = {}
    for name, config in (
        ('Talk2DINO', 'talk2dino/talk2dino_dinov2-b14.py'),
        ('OVS-DINO', 'ovs_dino/ovs-dino_dinov2-b14.py'),
        ('OVS-DINO with SAM features', 'ovs_dino/ovs-dino_dinov2-b14_sam-features.py'),
    ):
        model = build(config, folder).eval()
        if name.endswith('features'):
            model.neck[0].teacher.cfg['init_cfg'] = None
        text = model.project_vocabulary()
        variants[name] = lambda model=model, text=text: model.encode_decode(image, text)
    title = f'one window of 448 x 448, ViT-B/14, {len(NAMES)} classes'
    compare(title, variants, runs, equal=False)


def training(folder: str, runs: int) -> None:
    """A training step with SAM running and with its features from disk."""
    model = build('ovs_dino/ovs-dino_dinov2-b14.py', folder).train()
    image = torch.randn(1, 3, 1024, 1024)
    with torch.no_grad():
        features = model.auxiliary_head.teacher(image)[0]

    def step(stored: bool) -> Tensor:
        sample = SegDataSample(metainfo=dict(nouns=NAMES[:3]))
        masks = torch.rand(3, 1024, 1024) > 0.5
        sample.gt_noun_masks = PixelData(data=masks.to(torch.uint8))
        if stored:
            sample.teacher_features = PixelData(data=features)
        model.zero_grad()
        loss = sum(model.loss(image, [sample]).values())
        loss.backward()
        return loss.detach()

    compare(
        'training step, one image, three nouns',
        {
            'teacher beside the training': lambda: step(stored=False),
            'teacher features from disk': lambda: step(stored=True),
        },
        runs,
        equal=False,
    )


def main() -> None:
    """Run both comparisons."""
    args = parse_args(__doc__)
    init_default_scope('mmseg')
    with tempfile.TemporaryDirectory() as folder:
        inference(folder, args.runs)
        training(folder, args.runs)


if __name__ == '__main__':
    main()
