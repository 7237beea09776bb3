"""Version of mmseg_ovs."""

__version__ = '0.1.0'
