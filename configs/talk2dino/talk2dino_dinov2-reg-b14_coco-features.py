"""Train Talk2DINO's projection for DINOv2 with registers ViT-B on features of COCO.

They are extracted once, from the config of the training on the fly:

    python tools/extract_features.py \\
        talk2dino_dinov2-reg-b14 --data coco-captions \\
        --out data/features/dinov2-reg-b14_coco-captions --device cuda
"""

_base_ = [
    '../_base_/datasets/feature_pairs.py',
    '../_base_/schedules/talk2dino_100e.py',
    '../_base_/default_runtime.py',
]

train_dataloader = dict(
    dataset=dict(data_root='data/features/dinov2-reg-b14_coco-captions')
)
model = dict(
    type='FeatureAlignment',
    decode_head=dict(type='Talk2DINOHead', in_channels=768, text_channels=512),
)
# no images and no classes: mmengine's own hooks, safe checkpoints and the guard
default_hooks = dict(
    _delete_=True,
    checkpoint=dict(type='SafeCheckpointHook', interval=10, max_keep_ckpts=3),
    checkpoint_guard=dict(type='CheckpointGuardHook'),
)
