"""Make an expert of whatever the user has."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.teachers.experts import CallableExpert, Expert
from nlf_sb3.teachers.policy_expert import PolicyExpert


def as_expert(expert: Any) -> Expert:
    """
    Make an expert of whatever the user has.

    :param expert: An :class:`Expert`, an SB3 or sb3-contrib model or policy, or a batched function
    :return: An expert
    :raises FeedbackError: If it is none of these
    """
    if isinstance(expert, Expert):
        return expert
    if isinstance(expert, (BaseAlgorithm, BasePolicy)):
        return PolicyExpert(expert)
    if isinstance(expert, Demonstrations):
        raise FeedbackError("expert: got Demonstrations, which can't act. Pass them to the algorithm as demonstrations=.")
    if callable(expert):
        return CallableExpert(expert)
    raise FeedbackError(
        f"expert: got {type(expert).__name__}, expected an Expert, an SB3 model or policy, or a function that maps "
        "observations [n, *obs_shape] to actions [n, *action_shape]. For a file, use PolicyExpert.load(path)."
    )
