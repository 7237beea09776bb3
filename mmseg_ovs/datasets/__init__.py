"""datasets of mmseg_ovs."""
