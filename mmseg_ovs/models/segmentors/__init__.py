"""segmentors of mmseg_ovs."""
