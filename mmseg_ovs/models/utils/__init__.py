"""utils of mmseg_ovs."""
