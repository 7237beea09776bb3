"""text encoders of mmseg_ovs."""
