"""postprocessors of mmseg_ovs."""
