"""Run-time settings shared by every config: mmseg's own, the plugin's import and hooks.

All hooks stand in ``default_hooks``, a dict, so that a config changes one without
repeating the others: ``default_hooks = dict(vocabulary=dict(background=...))``.
"""

_base_ = 'mmseg::_base_/default_runtime.py'

custom_imports = dict(imports=['mmseg_ovs'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=5000),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
    # the classes of the data set that runs become the model's
    vocabulary=dict(type='VocabularyHook'),
    # a checkpoint that does not fit is an error
    checkpoint_guard=dict(type='CheckpointGuardHook'),
)

vis_backends = [dict(type='LocalVisBackend')]
visualizer = dict(
    type='OpenVocabVisualizer', vis_backends=vis_backends, name='visualizer'
)
