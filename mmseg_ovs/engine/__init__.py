"""engine of mmseg_ovs."""
