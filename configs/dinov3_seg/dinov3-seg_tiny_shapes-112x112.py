"""dinov3.seg on the embedded shapes set, with all parts of the large model, but tiny.

The towers come from ``dinotxt-tiny_shapes-112x112.py`` and the prior from
``../ovs_dino/sam-tiny_shapes-112x112.py``, both trained before. The loss sees only the
classes that are labelled in the batch (``loss_classes='labelled'``), so that
unseen names are not taught to be wrong. Inference is the large model's at scale: the
image at 144 x 144, nine windows of the size of training.
"""

_base_ = './dinotxt-tiny_shapes-112x112.py'

towers = 'work_dirs/dinotxt-tiny_shapes-112x112/iter_1000.pth'
early_refinement = dict(
    type='AnyUp',
    output_size=1,
    qk_dim=16,
    num_heads=2,
    mean=[127.5, 127.5, 127.5],
    std=[63.75, 63.75, 63.75],
)
semantic_prior = dict(
    type='SemanticPriorEncoder',
    backbone=dict(
        type='SAMImageEncoder',
        arch=dict(
            embed_dims=64, depth=2, num_heads=2, global_attn_indexes=(1,), mlp_ratio=2
        ),
        img_size=112,
        patch_size=4,
        window_size=7,
        out_channels=64,
        out_indices=(0, 1),
        fused_attention=True,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='work_dirs/sam-tiny_shapes-112x112/iter_1000.pth',
            prefix='backbone.',
        ),
    ),
    strides=(4, 4, 8),
)
channels = 96
model = dict(
    backbone=dict(
        backbone=dict(
            init_cfg=dict(
                type='Pretrained', checkpoint=towers, prefix='backbone.backbone.'
            )
        ),
        neck=dict(
            init_cfg=dict(type='Pretrained', checkpoint=towers, prefix='backbone.neck.')
        ),
    ),
    neck=[early_refinement, semantic_prior],
    text_encoder=dict(
        part='both',
        init_cfg=dict(type='Pretrained', checkpoint=towers, prefix='text_encoder.'),
    ),
    decode_head=dict(
        _delete_=True,
        type='CostAggregationHead',
        in_channels=channels,
        in_index=0,
        stride=8,
        text_parts=2,
        prompt_channels=2,
        appearance_guidance=dict(index=3, channels=64),
        decoder_guidance=[
            dict(index=2, channels=64),
            dict(index=1, channels=64, stride=4, upsampled_channels=16),
        ],
        aggregator=dict(
            channels=32,
            num_layers=1,
            num_heads=2,
            window_size=7,
            text_guidance_dims=16,
            appearance_guidance_dims=16,
            decoder_dims=(16, 16),
            decoder_guidance_dims=(8, 8),
            class_chunk=None,
        ),
        ignored='skip',
        loss_classes='labelled',
    ),
    test_cfg=dict(
        _delete_=True,
        mode='local-global',
        aggregation='features',
        image_size=(144, 144),
        crop_size=(112, 112),
        stride=(16, 16),
    ),
)
max_iters = 500
warmup = 50
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup),
    dict(type='CosineAnnealingLR', by_epoch=False, begin=warmup, end=max_iters),
]
default_hooks = dict(checkpoint=dict(interval=max_iters))
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(custom_keys=dict(backbone=dict(lr_mult=0.1))),
)
