"""visualization of mmseg_ovs."""
