"""Adapters: the properties of each family of algorithms that the parts of learning need."""

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.adapters.clipped import ClippedAdapter
from nlf_sb3.adapters.episodic import EpisodicAdapter

__all__ = ["Adapter", "ClippedAdapter", "EpisodicAdapter"]
