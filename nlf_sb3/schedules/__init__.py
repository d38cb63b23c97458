"""How alpha moves during training (by progress, by updates, by how well the agent does), and the size of rollouts."""

from nlf_sb3.schedules.base import AdaptiveAlpha, AlphaSchedule, TrainingState, check_alpha
from nlf_sb3.schedules.by_performance import HandOver
from nlf_sb3.schedules.by_progress import ConstantSchedule, CosineSchedule, LinearSchedule, SwitchSchedule
from nlf_sb3.schedules.by_updates import GeometricSchedule, RandomSwitch
from nlf_sb3.schedules.combined import Highest
from nlf_sb3.schedules.rollouts import LongerRollouts
from nlf_sb3.schedules.trial import Trial
from nlf_sb3.schedules.use import alpha_of, as_schedule, own_copy, schedule_from_state, schedule_to_state

__all__ = [
    "AdaptiveAlpha",
    "AlphaSchedule",
    "ConstantSchedule",
    "CosineSchedule",
    "GeometricSchedule",
    "HandOver",
    "Highest",
    "LinearSchedule",
    "LongerRollouts",
    "RandomSwitch",
    "SwitchSchedule",
    "TrainingState",
    "Trial",
    "alpha_of",
    "as_schedule",
    "check_alpha",
    "own_copy",
    "schedule_from_state",
    "schedule_to_state",
]
