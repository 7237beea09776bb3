"""ViT-B at 448 x 448 against timm and transformers, with the same random weights.

python tools/speed/backbones.py [--threads 1] [--runs 3]
"""

from __future__ import annotations

import mmseg_ovs  # noqa: F401  before mmseg: mmcv-lite needs its stand-in

# isort: split
import timm
import torch
import transformers
from timing import compare, parse_args

from mmseg_ovs.models.backbones import DINOv2, DINOv3
from mmseg_ovs.models.utils import load_pretrained

WIDTHS = dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12)


@torch.inference_mode()
def main() -> None:
    """Compare with each peer."""
    args = parse_args(__doc__)
    image = torch.randn(1, 3, 448, 448)
    v2 = transformers.Dinov2Config(**WIDTHS, image_size=448)
    v3 = transformers.DINOv3ViTConfig(
        **WIDTHS, intermediate_size=3072, num_register_tokens=4
    )
    for ours, peer, prefix in (
        (
            DINOv2('base', img_size=448),
            timm.create_model('vit_base_patch14_dinov2', img_size=448),
            1,
        ),
        (DINOv2('base', img_size=448), transformers.Dinov2Model(v2), 1),
        (DINOv3('base'), timm.create_model('vit_base_patch16_dinov3'), 5),
        (DINOv3('base'), transformers.DINOv3ViTModel(v3), 5),
    ):
        load_pretrained(ours.eval(), peer.eval().state_dict())

        def by_peer(peer=peer, prefix=prefix) -> torch.Tensor:
            run = getattr(peer, 'forward_features', peer)
            tokens = run(image)
            return getattr(tokens, 'last_hidden_state', tokens)[:, prefix:]

        compare(
            f'{type(ours).__name__} ViT-B, 448 x 448',
            {
                type(peer).__module__.split('.')[0]: by_peer,
                'mmseg_ovs': lambda ours=ours: ours(image)[0].flatten(2).mT,
            },
            args.runs,
        )


if __name__ == '__main__':
    main()
