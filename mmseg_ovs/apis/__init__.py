"""apis of mmseg_ovs."""
