"""Talk2DINO's training pairs as features (see ``tools/extract_features.py``).

A config names the folder: ``train_dataloader = dict(dataset=dict(data_root=...))``.
"""

train_dataloader = dict(
    batch_size=128,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='FeaturePairsDataset'),
)
