"""Make an expert of whatever the user has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from torch import nn

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.segments import Observations
from nlf_sb3.teachers.experts import CallableExpert, Expert, n_rows
from nlf_sb3.teachers.policy_expert import PolicyExpert


def as_expert(expert: Any) -> Expert:
    """
    Make an expert of whatever the user has.

    A function that needs one argument maps observations to actions; one that needs three is a policy function of the
    ``imitation`` library (:class:`PolicyFunctionExpert`).

    :param expert: An :class:`Expert`, an SB3 or sb3-contrib model or policy, a trainer of ``imitation`` (anything whose
        ``policy`` is one of SB3's), or a batched function
    :return: An expert
    :raises FeedbackError: If it is none of these
    """
    if isinstance(expert, Expert):
        return expert
    if isinstance(expert, (BaseAlgorithm, BasePolicy)):
        return PolicyExpert(expert)
    if isinstance(expert, Demonstrations):
        raise FeedbackError(
            "expert: got Demonstrations, which are rows and can't act: pass them to the algorithm as demonstrations=, "
            "or act from them with NearestStateExpert(demonstrations)."
        )
    if isinstance(expert, type):
        raise FeedbackError(f"expert: got the class {expert.__name__}, expected one of its objects.")
    if isinstance(getattr(expert, "policy", None), BasePolicy):
        return PolicyExpert(expert.policy)
    if callable(expert):
        return _from_function(expert)
    raise FeedbackError(
        f"expert: got {type(expert).__name__}, expected an Expert, an SB3 model or policy, or a function that maps "
        "observations [n, *obs_shape] to actions [n, *action_shape]. For a file, use PolicyExpert.load(path)."
    )


class PolicyFunctionExpert(Expert):
    """
    A policy function of the ``imitation`` library (its ``PolicyCallable``) as an expert.

    Each row is asked about as the first step of an episode, without a state from before: an expert answers for rows
    in any order. A function that keeps a state is therefore refused when it returns one.

    :param function: Maps observations ``[n, *obs_shape]`` (or a dict of such), states and ``dones`` ``[n]`` to actions
        ``[n, *action_shape]`` and new states
    :param label: Whether its actions are ``"sample"`` or ``"mode"``
    """

    def __init__(self, function: Callable[..., Any], label: Literal["sample", "mode"] = "mode") -> None:
        self.function = function
        self.label = label

    def act(self, observations: Observations) -> np.ndarray:
        answer = self.function(observations, None, np.ones(n_rows(observations), dtype=bool))
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise FeedbackError(
                f"expert: a function of (observations, states, dones) returned {type(answer).__name__}, expected a pair of "
                "actions and states. A function of observations alone takes one argument."
            )
        if answer[1] is not None:
            raise FeedbackError(
                "expert: a function of (observations, states, dones) returned a state, expected None. An expert is asked "
                "about single rows in any order: use one that needs nothing but the observation."
            )
        actions: np.ndarray = answer[0]
        return actions


def _from_function(function: Callable[..., Any]) -> Expert:
    if getattr(function, "__name__", "") == "predict" and isinstance(
        owner := getattr(function, "__self__", None), (BaseAlgorithm, BasePolicy)
    ):
        return PolicyExpert(owner)  # the method itself returns a pair
    try:
        signature = inspect.signature(function.forward if isinstance(function, nn.Module) else function)
    except (TypeError, ValueError):  # compiled functions may have none
        return CallableExpert(function)
    takes_one, takes_three = _takes(signature, 1), _takes(signature, 3)
    needs_one = not _takes(signature, 0)
    if takes_one and (needs_one or not takes_three):
        return CallableExpert(function)
    if takes_three and not takes_one:
        return PolicyFunctionExpert(function)
    name = getattr(function, "__name__", type(function).__name__)
    raise FeedbackError(
        f"expert: the function {name}{signature} could be called with "
        f"{'1 argument or 3' if takes_one else 'neither 1 argument nor 3'}, expected one of them: observations, or "
        "imitation's (observations, states, dones). Say which: CallableExpert(function) or PolicyFunctionExpert(function)."
    )


def _takes(signature: inspect.Signature, n_arguments: int) -> bool:
    """Whether a function can be called with this many positional arguments and nothing else."""
    try:
        signature.bind(*[None] * n_arguments)
    except TypeError:
        return False
    return True
