"""decode heads of mmseg_ovs."""
