"""SB3's rollout buffers, keeping feedback beside each transition."""

from nlf_sb3.buffers.episodes import DictEpisodeBuffer, EpisodeBuffer
from nlf_sb3.buffers.labels import FeedbackBufferMixin, keep_feedback

__all__ = ["DictEpisodeBuffer", "EpisodeBuffer", "FeedbackBufferMixin", "keep_feedback"]
