"""What a person says about one step: the Feedback record and the info keys that carry it."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from nlf_sb3.errors import FeedbackError

FEEDBACK_KEY = "feedback"
"""``info`` key of the :class:`Feedback` on the step that it answers."""
FEEDBACK_ERROR_KEY = "feedback_error"
"""``info`` key of a teacher's or expert's failure, as text: a worker process can't raise through a VecEnv."""
EXPERT_SEGMENT_KEY = "expert_segment"
"""``info`` key of an :class:`~nlf_sb3.segments.ExpertSegment`, on an injected episode's last step."""
TAKEOVER_KEY = "nlf_sb3.takeover"
"""``info`` key of a :class:`~nlf_sb3.infos.Takeover`, on a step in which an expert acted in the agent's place."""
EXECUTED_ACTION_KEY = "executed_action"
"""``info`` key of the environment-scale action that the expert executed, for people to read: others use this key too."""
EXECUTED_LOG_PROB_KEY = "executed_log_prob"
"""``info`` key of log pi_E of the executed action, where it is known; for people to read."""
TASK_REWARD_KEY = "task_reward"
"""``info`` key of the environment's own reward where the score replaced or changed it."""

TEXT_KINDS = ("r", "hp", "hn", "fp", "fn")
"""LLF-Bench's kinds of text: reward, hindsight positive / negative, future positive / negative."""

Label = Literal["sample", "mode"]


@dataclass(frozen=True, eq=False)
class Feedback:
    """
    Score, text and expert action about one step: the state acted in and the action taken there.

    The record is immutable and safe to share: copying it returns itself.

    >>> Feedback(score=0, text="Please name a source.", text_kind="fp")
    Feedback(score=0.0, text='Please name a source.', text_kind='fp')

    :param score: Finite number: how satisfied the person is. Trains through the policy gradient
        where :class:`~nlf_sb3.FeedbackWrapper` makes it the reward (``score_as_reward``).
    :param text: What was wrong or right, in words. Trains where the algorithm has an ``interpreter``.
    :param expert_action: What the person expected instead, environment-scale, shape ``action_shape``
    :param text_kind: One of :data:`TEXT_KINDS`, or None where it isn't known
    :param label: Whether ``expert_action`` is a ``"sample"`` of the expert's distribution or its
        ``"mode"``. A mode says nothing about the spread: it does not train the standard deviation, and one of several
        choices leaves the others a share.
    :param weight: How much the expert action counts in the imitation loss, at least 0
    :param steps_ago: 0 for this step; k for the step taken k steps earlier in the same environment
    :raises FeedbackError: If a field is of the wrong kind
    """

    score: float | None = None
    text: str | None = None
    expert_action: np.ndarray | None = None
    text_kind: str | None = field(default=None, kw_only=True)
    label: Label = field(default="sample", kw_only=True)
    weight: float = field(default=1.0, kw_only=True)
    steps_ago: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if self.score is not None:
            object.__setattr__(self, "score", _finite_number(self.score, "score"))
        if self.text is not None and not isinstance(self.text, str):
            raise FeedbackError(f"text: got {_named(self.text)}, expected a str or None. Decode or join it first.")
        if self.text_kind is not None and self.text_kind not in TEXT_KINDS:
            raise FeedbackError(f"text_kind: got {self.text_kind!r}, expected None or one of {', '.join(TEXT_KINDS)}.")
        if self.label not in ("sample", "mode"):
            raise FeedbackError(f"label: got {self.label!r}, expected 'sample' or 'mode'.")
        if type(self.weight) is not float or not 0.0 <= self.weight < math.inf:
            object.__setattr__(self, "weight", _weight(self.weight))
        if type(self.steps_ago) is not int or self.steps_ago < 0:
            _check_steps_ago(self.steps_ago)
        if self.expert_action is not None:
            object.__setattr__(self, "expert_action", _frozen_array(self.expert_action))

    def __copy__(self) -> Feedback:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Feedback:
        # DummyVecEnv deep-copies every info at every step: an immutable record need not be copied.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Through the constructor, which makes the array read-only again.
        return _rebuild, ({spec.name: getattr(self, spec.name) for spec in fields(self)},)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Feedback):
            return NotImplemented
        return self._key() == other._key() and _same_array(self.expert_action, other.expert_action)

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        parts = []
        for spec in fields(self):
            value = getattr(self, spec.name)
            # Arrays have no default and no truth value; everything else is shown where it differs.
            if isinstance(value, np.ndarray) or value != spec.default:
                parts.append(f"{spec.name}={value!r}")
        return f"Feedback({', '.join(parts)})"

    def _key(self) -> tuple[Any, ...]:
        return (self.score, self.text, self.text_kind, self.label, self.weight, self.steps_ago)


def _rebuild(values: dict[str, Any]) -> Feedback:
    return Feedback(**values)


def _weight(value: Any) -> float:
    weight = _finite_number(value, "weight")
    if weight < 0:
        raise FeedbackError(f"weight: got {weight}, expected at least 0. To push an action away, lower its score.")
    return weight


def _check_steps_ago(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise FeedbackError(f"steps_ago: got {value!r}, expected an integer of at least 0.")


def _finite_number(value: Any, name: str) -> float:
    """A finite real number as float; booleans, complex numbers, strings and arrays are refused."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        raise FeedbackError(f"{name}: got {_named(value)}, expected a finite number such as 0 or 0.5.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise FeedbackError(f"{name}: got {value!r}, expected a finite number. Leave it None where there is no {name}.")
    return number


def _frozen_array(value: Any) -> np.ndarray:
    try:
        array = np.array(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors with a graph or on a GPU
        raise FeedbackError(
            f"expert_action: {value!r:.80} is not an array ({error!s:.160}). Give a NumPy array or a list."
        ) from error
    if array.dtype.kind not in "biufc":
        raise FeedbackError(f"expert_action: got {_named(value)}, expected numbers of the action space.")
    array.setflags(write=False)
    return array


def _named(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _same_array(first: np.ndarray | None, second: np.ndarray | None) -> bool:
    if first is None or second is None:
        return first is second
    return np.array_equal(first, second)
