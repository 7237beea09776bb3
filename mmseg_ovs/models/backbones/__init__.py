"""backbones of mmseg_ovs."""
