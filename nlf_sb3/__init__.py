"""Train Stable-Baselines3 agents from a person's score, words and demonstrations, not only a reward."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from nlf_sb3 import algorithms, presets
from nlf_sb3.algorithms import A2C, PPO, REINFORCE
from nlf_sb3.config import Imitation, Injection, LabelReplay
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError, MissingExtraError, TwinError
from nlf_sb3.fast_dummy_vec_env import FastDummyVecEnv
from nlf_sb3.feedback import TAKEOVER_KEY, Feedback
from nlf_sb3.infos import Takeover
from nlf_sb3.schedules import ConstantSchedule, LinearSchedule, TrainingPhases
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection

if TYPE_CHECKING:
    from nlf_sb3.algorithms import TRPO, MaskablePPO, RecurrentPPO

__version__ = version("nlf-sb3")

__all__ = [
    "A2C",
    "PPO",
    "REINFORCE",
    "TAKEOVER_KEY",
    "TRPO",
    "ConstantSchedule",
    "Demonstrations",
    "ExpertSegment",
    "FastDummyVecEnv",
    "Feedback",
    "FeedbackError",
    "FeedbackWrapper",
    "Imitation",
    "Injection",
    "LabelReplay",
    "LinearSchedule",
    "MaskablePPO",
    "MissingExtraError",
    "RecurrentPPO",
    "Takeover",
    "TrainingPhases",
    "TrajectoryInjection",
    "TwinError",
    "presets",
]


def __getattr__(name: str) -> Any:
    """The algorithms of sb3-contrib, an extra, are imported when they are first asked for."""
    if name in __all__:
        return getattr(algorithms, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
