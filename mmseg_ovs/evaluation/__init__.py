"""evaluation of mmseg_ovs."""
