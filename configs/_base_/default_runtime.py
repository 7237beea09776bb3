"""Run-time settings shared by every config: the plugin's import, hooks and logging.

All hooks are in ``default_hooks``, a dict, so that a config changes one without
repeating the others: ``default_hooks = dict(vocabulary=dict(background=...))``.

The values below the hooks are those of mmseg's ``default_runtime.py``. They are written
out because inheriting from ``mmseg::`` makes MMEngine read all metafiles of mmseg for
every config (0.2 s each) and import ``pkg_resources``, which new setuptools lack.
"""

custom_imports = dict(imports=['mmseg_ovs'], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='SafeCheckpointHook', by_epoch=False, interval=5000),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='OpenVocabVisualizationHook'),
    # the classes of the data set that runs become the model's
    vocabulary=dict(type='VocabularyHook'),
    # a checkpoint that does not fit is an error
    checkpoint_guard=dict(type='CheckpointGuardHook'),
    # data, model and metrics have to agree on the label of unlabelled pixels
    ignore_index=dict(type='IgnoreIndexHook'),
    # a training that diverges stops and writes no checkpoint
    check_finite=dict(type='CheckFiniteHook'),
    # a resumed training says which settings its checkpoint overrides
    resume_report=dict(type='ResumeReportHook'),
)

vis_backends = [dict(type='ImageFolderVisBackend')]
visualizer = dict(
    type='OpenVocabVisualizer', vis_backends=vis_backends, name='visualizer'
)

default_scope = 'mmseg'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
tta_model = dict(type='OpenVocabTTAModel')
