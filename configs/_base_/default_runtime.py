"""Run-time settings shared by every config: mmseg's own, and the plugin's import."""

_base_ = 'mmseg::_base_/default_runtime.py'

custom_imports = dict(imports=['mmseg_ovs'], allow_failed_imports=False)
