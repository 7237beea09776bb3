"""What can go wrong on the way from captions to masks."""

from __future__ import annotations

from mmseg_ovs.jobs import JobError


class PseudoMaskError(JobError):
    """Input, setting or a file of an earlier stage is not as it has to be."""


class DamagedShardError(PseudoMaskError):
    """A shard is missing, torn or changed since it was written."""


class UnreadableImageError(Exception):
    """One image cannot be used; the others can."""
