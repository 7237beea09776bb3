"""Losses that MMSegmentation does not have."""

from .infonce import InfoNCELoss

__all__ = ['InfoNCELoss']
