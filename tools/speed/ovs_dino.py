"""Time OVS-DINO: inference against Talk2DINO, training by kind of teacher.

    python tools/speed/ovs_dino.py [--threads 1] [--runs 3] [--without-sam]

Full-size configs with random weights, one window of 448 x 448. The training step
(forward, backward, no optimizer) has one image, which SAM sees at 1024 x 1024.
"""

import tempfile
from pathlib import Path

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from chain import build_model
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from timing import parse_args, take_turns

from mmseg_ovs.composition import find_config, read_config_file
from mmseg_ovs.models.text_encoders import save_embeddings

NAMES = [f'class {i}' for i in range(150)]
MODELS = {
    'Talk2DINO': 'talk2dino_dinov2-b14',
    'OVS-DINO': 'ovs-dino_dinov2-b14',
    'OVS-DINO, light gate': 'ovs-dino_dinov2-b14_light-gate',
    'OVS-DINO, ViT-S/14': 'ovs-dino_dinov2-s14',
    'OVS-DINO, DINOv3 ViT-S/16': 'ovs-dino_dinov3-s16',
    'OVS-DINO with SAM features': 'ovs-dino_dinov2-b14_sam-features',
}


def main() -> None:
    """Time everything by turns."""
    args = parse_args(
        __doc__,
        **{'--without-sam': dict(action='store_true', help='leave out what runs SAM')},
    )
    init_default_scope('mmseg')
    window, image = torch.randn(1, 3, 448, 448), torch.randn(1, 3, 1024, 1024)
    models = {}
    with tempfile.TemporaryDirectory() as folder:
        vectors = Path(folder) / 'text.safetensors'
        save_embeddings(vectors, NAMES, torch.randn(len(NAMES), 512))
        for name, config in MODELS.items():
            if args.without_sam and config.endswith('_sam-features'):
                continue
            cfg = read_config_file(find_config(config))
            cfg.model.postprocessors = []
            models[name] = build_model(cfg, vectors, cfg.model.get('auxiliary_head'))
            models[name].set_vocabulary(NAMES)
    trained = models['OVS-DINO']
    features = torch.randn(256, 64, 64)  # stored, of a window's image at 1024

    @torch.inference_mode()
    def infer(model: torch.nn.Module) -> None:
        model.encode_decode(window, model.project_vocabulary())

    def step(**fields: PixelData) -> None:
        masks = (torch.rand(3, 1024, 1024) > 0.5).to(torch.uint8)
        sample = SegDataSample(metainfo=dict(nouns=NAMES[:3]))
        sample.set_data(dict(gt_noun_masks=PixelData(data=masks), **fields))
        trained.train().zero_grad()
        sum(trained.loss(image, [sample]).values()).backward()
        trained.eval()

    runs = {name: lambda m=model: infer(m) for name, model in models.items()}
    stored = dict(teacher_features=PixelData(data=features))
    if not args.without_sam:
        runs['training step, SAM beside it'] = step
    runs['training step, teacher features from disk'] = lambda: step(**stored)
    cells, _ = take_turns(runs, args.runs)
    for name, cell in cells.items():
        print(f'{name:<42} {cell.seconds:7.2f} s {cell.mb:6.0f} MB')


if __name__ == '__main__':
    main()
