"""structures of mmseg_ovs."""
