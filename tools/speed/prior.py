"""Time dinov3.seg's prior: SAM against the student on DINOv3's own layers.

    python tools/speed/prior.py [--threads 1] [--runs 3]

Full-size necks with random weights, one image of 640 x 640. The student reads layers
that the model has computed anyway.
"""

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import torch
from chain import without_weights
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from timing import parse_args, take_turns

from mmseg_ovs.composition import find_config, read_config_file
from mmseg_ovs.models.necks import apply_neck
from mmseg_ovs.structures import VisualFeatures

CONFIGS = {'SAM ViT-L': 'dinov3-seg_l16', 'student': 'dinov3-seg_l16_wo-sam'}


@torch.inference_mode()
def main() -> None:
    """Time both by turns."""
    args = parse_args(__doc__)
    init_default_scope('mmseg')
    maps = tuple(torch.randn(5, 1, 1024, 40, 40))
    features = VisualFeatures(maps, image=torch.randn(1, 3, 640, 640))
    runs = {}
    for name, config in CONFIGS.items():
        cfg = read_config_file(find_config(config)).model.neck[1]
        without_weights(cfg)
        neck = MODELS.build(cfg).eval()
        runs[name] = lambda neck=neck: apply_neck(neck, features)
    cells, _ = take_turns(runs, args.runs)
    for name, cell in cells.items():
        print(f'{name:<12} {cell.seconds:7.2f} s {cell.mb:6.0f} MB')


if __name__ == '__main__':
    main()
