"""losses of mmseg_ovs."""
