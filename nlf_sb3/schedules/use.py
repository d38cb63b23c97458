"""How an algorithm takes, asks, saves and loads a schedule of alpha."""

from __future__ import annotations

import copy
from typing import Any

from nlf_sb3.plain_state import from_plain, to_plain
from nlf_sb3.schedules.base import AdaptiveAlpha, AlphaSchedule, TrainingState, check_alpha
from nlf_sb3.schedules.by_progress import ConstantSchedule, LinearSchedule

_EARLIER: dict[Any, Any] = {"constant": ConstantSchedule, "linear": LinearSchedule}
"""Names under which version 0.1.0 saved schedules."""


def as_schedule(alpha: float | AlphaSchedule) -> AlphaSchedule:
    """
    :param alpha: A number in [0, 1], a function of the progress remaining, or an :class:`AdaptiveAlpha`
    :return: A schedule
    :raises ValueError: For a number outside [0, 1]
    """
    is_schedule = callable(alpha) or isinstance(alpha, AdaptiveAlpha)
    return alpha if is_schedule else ConstantSchedule(check_alpha(alpha))  # type: ignore[return-value]


def own_copy(alpha: float | AlphaSchedule) -> float | AlphaSchedule:
    """
    :param alpha: As a user gave it
    :return: The same, or a copy of what keeps a state, so that two models never share one
    """
    return copy.deepcopy(alpha) if isinstance(alpha, AdaptiveAlpha) else alpha


def alpha_of(schedule: AlphaSchedule, state: TrainingState) -> float:
    """
    :param schedule: Any schedule
    :param state: Where training stands
    :return: alpha
    :raises ValueError: If the schedule gave something else
    """
    value = schedule.alpha(state) if isinstance(schedule, AdaptiveAlpha) else schedule(state.progress_remaining)
    return check_alpha(value)


def schedule_to_state(schedule: AlphaSchedule) -> Any:
    """
    What a saved model keeps of a schedule: plain data for ours, so that it loads where nlf_sb3 isn't installed.

    :param schedule: Any schedule
    :return: A dict of plain data, or the callable itself if it is the user's own
    """
    return to_plain(schedule)


def schedule_from_state(state: Any) -> AlphaSchedule:
    """
    The inverse of :func:`schedule_to_state`; it reads what earlier versions saved too.

    :param state: What it returned
    :return: The schedule
    """
    if isinstance(state, dict) and "schedule" in state and state["schedule"] in ("constant", "linear"):
        arguments = dict(state)
        state = _EARLIER[arguments.pop("schedule")](**arguments)
    return as_schedule(from_plain(state))
