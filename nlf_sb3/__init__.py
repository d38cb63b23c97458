"""Train Stable-Baselines3 agents from a person's score, words and demonstrations, not only a reward."""

from importlib.metadata import version

from nlf_sb3 import presets
from nlf_sb3.algorithms import A2C, PPO, REINFORCE
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError, MissingExtraError, TwinError
from nlf_sb3.feedback import Feedback
from nlf_sb3.schedules import ConstantSchedule, LinearSchedule
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection

__version__ = version("nlf-sb3")

__all__ = [
    "A2C",
    "PPO",
    "REINFORCE",
    "ConstantSchedule",
    "Demonstrations",
    "ExpertSegment",
    "Feedback",
    "FeedbackError",
    "FeedbackWrapper",
    "LinearSchedule",
    "MissingExtraError",
    "TrajectoryInjection",
    "TwinError",
    "presets",
]
