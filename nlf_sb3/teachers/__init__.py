"""Who gives feedback: experts, who act, and teachers, who score, speak and demonstrate."""

from nlf_sb3.teachers.any_expert import PolicyFunctionExpert, as_expert
from nlf_sb3.teachers.budget import BudgetTeacher
from nlf_sb3.teachers.console import ConsoleTeacher
from nlf_sb3.teachers.experts import CallableExpert, Expert
from nlf_sb3.teachers.lqr import LQRExpert
from nlf_sb3.teachers.nearest import NearestStateExpert
from nlf_sb3.teachers.policy_expert import PolicyExpert
from nlf_sb3.teachers.speaking import SpeakingTeacher
from nlf_sb3.teachers.teachers import (
    CombinedTeacher,
    ExpertTeacher,
    ScoreTeacher,
    Teacher,
    TextTeacher,
    Transition,
)

__all__ = [
    "BudgetTeacher",
    "CallableExpert",
    "CombinedTeacher",
    "ConsoleTeacher",
    "Expert",
    "ExpertTeacher",
    "LQRExpert",
    "NearestStateExpert",
    "PolicyExpert",
    "PolicyFunctionExpert",
    "ScoreTeacher",
    "SpeakingTeacher",
    "Teacher",
    "TextTeacher",
    "Transition",
    "as_expert",
]
