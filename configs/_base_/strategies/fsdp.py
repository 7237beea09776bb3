"""Training with weights, gradients and optimizer sharded over processes (FSDP).

For models that do not fit one GPU; see docs/scale_out.md. A config lists it after its
other bases; ``tools/dist_train.sh`` starts the processes.
"""

runner_type = 'FlexibleRunner'
strategy = dict(type='OpenVocabFSDPStrategy')
