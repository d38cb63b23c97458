"""What each family of algorithms says of itself, for the parts that learn from feedback."""

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.adapters.clipped import ClippedAdapter
from nlf_sb3.adapters.episodic import EpisodicAdapter

__all__ = ["Adapter", "ClippedAdapter", "EpisodicAdapter"]
