"""Step infos: entries of this package, and entries of others by the same names."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nlf_sb3.errors import FeedbackError, hints_of
from nlf_sb3.feedback import FEEDBACK_ERROR_KEY, TAKEOVER_KEY
from nlf_sb3.observations import ObservationRows


@dataclass(frozen=True, eq=False)
class Takeover:
    """
    An expert's action in the agent's place: the mark by which an algorithm knows such a step.

    :param action: Environment-scale, ``[*action_shape]``
    :param log_prob: log pi_E of it in the environment's units, if it is known
    """

    action: np.ndarray
    log_prob: float | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Takeover:
        # As with Feedback, the action is copied where it is kept.
        return self


class FailureText(str):
    """A teacher's, expert's or user's failure. Its type tells it from others' entries by the same name."""

    __slots__ = ()


def takeover_of(info: Mapping[str, Any]) -> Takeover | None:
    """
    :param info: A step's info
    :return: The expert's action in the agent's place; None if this package's wrapper marked none
    """
    takeover = info.get(TAKEOVER_KEY)
    return takeover if isinstance(takeover, Takeover) else None


def failure_of(info: Mapping[str, Any]) -> FailureText | None:
    """
    :param info: A step's info
    :return: The failure that this package put there; None without one
    """
    failure = info.get(FEEDBACK_ERROR_KEY)
    return failure if isinstance(failure, FailureText) else None


def add_error(info: dict[str, Any], message: str) -> None:
    """
    :param info: Gets the message, after those of other wrappers of this package
    :param message: The failure
    """
    info[FEEDBACK_ERROR_KEY] = FailureText("\n".join(filter(None, (failure_of(info), message))))


def describe_error(error: Exception, where: str) -> str:
    """
    An exception as text that survives a process boundary.

    :param error: The exception
    :param where: Who raised it, and when
    :return: For our own errors the message, with its hints; for others the traceback too
    """
    message = " ".join([str(error), *hints_of(error)])
    if isinstance(error, FeedbackError):
        return f"{where}: {message}"
    trace = "".join(traceback.format_exception(error))
    return f"{where} raised {type(error).__name__}: {message}\n{trace}"


def episode_return(info: Mapping[str, Any]) -> float | None:
    """
    >>> episode_return({"episode": {"r": np.array([5.0])}})
    5.0

    :param info: A step's info
    :return: The return of the episode that ended there, as SB3's ``Monitor`` reports it; None where it isn't one number
    """
    episode = info.get("episode")
    if not isinstance(episode, Mapping):
        return None
    try:
        numbers = np.asarray(episode.get("r"), dtype=np.float64).reshape(-1)  # Gymnasium 0.29 reports an array of one
    except (TypeError, ValueError):
        return None
    return float(numbers[0]) if len(numbers) == 1 and not np.isnan(numbers[0]) else None


def is_meant_as(value: Any, record: type[Any]) -> bool:
    """
    Whether something is a mistaken attempt at a record of this package, and no entry of another library's.

    A dict is none, whatever its keys are: others call their entries ``score`` and ``text``, too.

    >>> from nlf_sb3.feedback import Feedback
    >>> is_meant_as([Feedback(score=1.0)], Feedback), is_meant_as({"score": 1.0}, Feedback), is_meant_as("Good.", Feedback)
    (True, False, False)

    :param value: An info's entry by the record's name
    :param record: A class
    :return: Whether it is the class itself, or a list that holds one
    """
    if isinstance(value, (list, tuple)):
        return any(isinstance(one, record) for one in value)
    return value is record


def with_own_arrays(value: Any, copies: dict[int, Any] | None = None) -> Any:
    """
    A copy of an info, with entries and arrays that may be changed.

    :param value: A step's info, or a part of one
    :param copies: Containers that were copied already, by their ids: an info may hold itself
    :return: It with dicts, lists, tuples and arrays of its own. Other objects are the environment's: some can't be copied.
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) not in (dict, list, tuple):
        return value
    copies = {} if copies is None else copies
    if id(value) in copies:
        return copies[id(value)]
    if type(value) is tuple:
        return tuple([with_own_arrays(part, copies) for part in value])
    copied: Any = {} if type(value) is dict else []
    copies[id(value)] = copied
    if type(value) is dict:
        copied.update({key: with_own_arrays(part, copies) for key, part in value.items()})
    else:
        copied.extend([with_own_arrays(part, copies) for part in value])
    return copied


def copy_value(value: Any) -> Any:
    """
    :param value: Observations, actions or masks, one or many; not infos, which may hold anything
    :return: A copy, since environments, experts and teachers may change theirs in place
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) is dict:
        return {key: copy_value(part) for key, part in value.items()}
    is_fixed = value is None or isinstance(value, (np.generic, int, float, str, ObservationRows))
    return value if is_fixed else copy.deepcopy(value)
