"""A page to try models on: ``python -m mmseg_ovs.demo`` (extra ``page``)."""
