"""Gymnasium wrappers: attach feedback to infos, inject expert trajectories."""

from nlf_sb3.wrappers.feedback import FeedbackWrapper
from nlf_sb3.wrappers.fixed_start import FixedStart
from nlf_sb3.wrappers.injection import TrajectoryInjection

__all__ = ["FeedbackWrapper", "FixedStart", "TrajectoryInjection"]
