"""How alpha moves during training (by progress, by updates, by how well the agent does), and the size of rollouts."""

from nlf_sb3.schedules.base import AdaptiveAlpha, AlphaSchedule, TrainingState, check_alpha
from nlf_sb3.schedules.by_performance import PerformanceSchedule
from nlf_sb3.schedules.by_progress import ConstantSchedule, CosineSchedule, LinearSchedule, SwitchSchedule
from nlf_sb3.schedules.by_updates import GeometricSchedule, RandomSwitch
from nlf_sb3.schedules.combined import MaxSchedule
from nlf_sb3.schedules.phases import TrainingPhases
from nlf_sb3.schedules.trial import Trial
from nlf_sb3.schedules.use import alpha_of, as_schedule, own_copy, schedule_from_state, schedule_to_state

__all__ = [
    "AdaptiveAlpha",
    "AlphaSchedule",
    "ConstantSchedule",
    "CosineSchedule",
    "GeometricSchedule",
    "LinearSchedule",
    "MaxSchedule",
    "PerformanceSchedule",
    "RandomSwitch",
    "SwitchSchedule",
    "TrainingPhases",
    "TrainingState",
    "Trial",
    "alpha_of",
    "as_schedule",
    "check_alpha",
    "own_copy",
    "schedule_from_state",
    "schedule_to_state",
]
