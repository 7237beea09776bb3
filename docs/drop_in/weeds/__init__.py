"""A project of somebody else's: its data set and its head."""

from .dataset import WeedsDataset
from .head import WeedsHead

__all__ = ['WeedsDataset', 'WeedsHead']
