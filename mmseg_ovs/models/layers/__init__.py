"""layers of mmseg_ovs."""
