"""Teachers: what turns one transition into feedback, and how several become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy

from nlf_sb3.errors import ActionShapeError, FeedbackError, add_hint
from nlf_sb3.feedback import Feedback, Label
from nlf_sb3.infos import copy_value, with_own_arrays
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.teachers.experts import Expert, hint_at_rows, single_row


class Transition(NamedTuple):
    """
    One step, as a teacher sees it. Its arrays, and the dicts, lists and arrays in its info, are the teacher's to keep and to
    change; other objects in the info are the environment's.

    :param observation: The observation acted in
    :param action: The action taken, environment-scale
    :param reward: The task's reward
    :param next_observation: The observation after it
    :param terminated: Whether the episode ended in a terminal state
    :param truncated: Whether a time limit ended it
    :param info: The environment's info
    :param step: Steps since the episode's start, from 0
    :param action_masks: Which choices the environment allowed there, ``[n_choices]`` booleans; None if it has no masks
    """

    observation: Any
    action: Any
    reward: float
    next_observation: Any
    terminated: bool
    truncated: bool
    info: dict[str, Any]
    step: int
    action_masks: np.ndarray | None = None


Teacher = Callable[[Transition], Feedback | None]
"""Any function from a transition to feedback; None is silence. It may have a method ``seed(seed)``."""


class ExpertTeacher:
    """
    Labels steps with what an expert would have done there.

    :param expert: Anything that :func:`~nlf_sb3.teachers.as_expert` takes
    :param probability: Chance that a step is labelled
    :param weight: Weight of the labels in the imitation loss
    :param label: Overrides what the expert says of its actions (``"sample"`` or ``"mode"``)
    """

    def __init__(self, expert: Any, *, probability: float = 1.0, weight: float = 1.0, label: Label | None = None) -> None:
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability: got {probability}, expected a number in [0, 1].")
        self.expert: Expert = as_expert(expert)
        self.probability = probability
        self.weight = weight
        self.label: Label = label or self.expert.label
        self._rng = derived_generator(0, "labelled steps")

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Seed of the teacher's and the expert's own generators
        """
        self._rng = derived_generator(seed, "labelled steps")
        self.expert.seed(derived_seed(seed, "teacher's expert"))

    def __call__(self, transition: Transition) -> Feedback | None:
        if self.probability < 1.0 and self._rng.random() >= self.probability:
            return None
        rows, masks = single_row(transition.observation), transition.action_masks
        try:
            actions = self.expert.act(rows) if masks is None else self.expert.act_within(rows, masks[None])
            _check_one_row(actions)
        except Exception as error:
            hint_at_rows(self.expert, error)
            raise
        return Feedback(expert_action=actions[0], label=self.label, weight=self.weight)


def _check_one_row(actions: Any) -> None:
    is_none = actions is None or isinstance(actions, str)
    try:
        came = repr(actions) if is_none else f"{len(actions)} rows"
    except TypeError:  # a number
        came = f"{actions!r:.80}, which has no rows,"
    if came != "1 rows":
        kind = FeedbackError if is_none else ActionShapeError
        raise kind(f"expert: got {came} for 1 observation, expected 1 row [1, *action_shape].")


class ScoreTeacher:
    """
    Scores every step by a function.

    >>> teacher = ScoreTeacher(lambda transition: -abs(transition.action[0]))

    :param function: Maps a :class:`Transition` to a finite number, or None for silence
    """

    def __init__(self, function: Callable[[Transition], float | None]) -> None:
        self.function = function

    def __call__(self, transition: Transition) -> Feedback | None:
        score = self.function(transition)
        return None if score is None else Feedback(score=score)


class TextTeacher:
    """
    Says something about every step by a function.

    :param function: Maps a :class:`Transition` to text, or None for silence
    :param text_kind: The kind of its text, one of :data:`~nlf_sb3.feedback.TEXT_KINDS`, if it is always one
    """

    def __init__(self, function: Callable[[Transition], str | None], text_kind: str | None = None) -> None:
        self.function = function
        self.text_kind = text_kind

    def __call__(self, transition: Transition) -> Feedback | None:
        text = self.function(transition)
        return None if text is None else Feedback(text=text, text_kind=self.text_kind)


class AsksOthers(ABC):
    """A teacher of this package that asks others."""

    @property
    @abstractmethod
    def asked(self) -> list[Teacher]:
        """The teachers that it asks."""


_CHANNELS = ("score", "text", "expert_action")


class CombinedTeacher(AsksOthers):
    """
    Several teachers as one, each filling channels that the others leave empty.

    Asking it raises a :class:`~nlf_sb3.errors.FeedbackError` when two of them fill the same channel,
    or speak of different steps.

    :param teachers: Asked in this order
    """

    def __init__(self, teachers: Sequence[Teacher]) -> None:
        self.teachers = list(teachers)

    @property
    def asked(self) -> list[Teacher]:
        """The teachers that it asks."""
        return self.teachers

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Each teacher gets a seed of its own, derived from this one
        """
        for index, teacher in enumerate(self.teachers):
            seed_teacher(teacher, derived_seed(seed, f"teacher {index}"))

    def __call__(self, transition: Transition) -> Feedback | None:
        combined: Feedback | None = None
        last = len(self.teachers) - 1
        for index, teacher in enumerate(self.teachers):
            shown = transition if index == last else _copied(transition)  # one may change what the next is to see
            feedback = check_feedback(teacher(shown), teacher)
            if feedback is not None:
                combined = feedback if combined is None else _merge(combined, feedback)
        return combined


def _copied(transition: Transition) -> Transition:
    return transition._replace(
        observation=copy_value(transition.observation),
        action=copy_value(transition.action),
        next_observation=copy_value(transition.next_observation),
        info=with_own_arrays(transition.info),
        action_masks=copy_value(transition.action_masks),
    )


def _merge(first: Feedback, second: Feedback) -> Feedback:
    clash = [name for name in _CHANNELS if getattr(first, name) is not None and getattr(second, name) is not None]
    if clash:
        raise FeedbackError(f"Two teachers filled {', '.join(clash)} of one step. Let one of them return None there.")
    if first.steps_ago != second.steps_ago:
        raise FeedbackError(
            f"Two teachers speak of different steps (steps_ago {first.steps_ago} and {second.steps_ago}). "
            "Let both speak of the same one."
        )
    changes: dict[str, Any] = {name: getattr(second, name) for name in _CHANNELS if getattr(second, name) is not None}
    if second.text is not None:
        changes["text_kind"] = second.text_kind
    if second.expert_action is not None:
        changes.update(label=second.label, weight=second.weight)
    return replace(first, **changes)


def as_teacher(teachers: Teacher | Sequence[Teacher]) -> Teacher:
    """
    :param teachers: One teacher or several
    :return: One teacher
    :raises FeedbackError: If something in it can't be called
    """
    several = list(teachers) if isinstance(teachers, Sequence) else [teachers]
    if not several:
        raise FeedbackError("teachers: got an empty list, expected at least one teacher.")
    for teacher in several:
        if isinstance(teacher, type):
            raise FeedbackError(
                f"teacher: got the class {teacher.__name__}, expected one of its objects. Write {teacher.__name__}(...)."
            )
        is_predict = getattr(teacher, "__name__", "") == "predict"
        if is_predict and isinstance(getattr(teacher, "__self__", None), (BaseAlgorithm, BasePolicy)):
            raise FeedbackError("teacher: got a model's predict, which is an expert. Wrap it in ExpertTeacher(model).")
        if not callable(teacher):
            raise FeedbackError(
                f"teacher: got {type(teacher).__name__}, expected a function from a Transition to a Feedback or None. "
                "Wrap an expert in ExpertTeacher(expert)."
            )
    return several[0] if len(several) == 1 else CombinedTeacher(several)


def experts_of(teacher: Any) -> list[Expert]:
    """
    :param teacher: A teacher
    :return: The experts whose actions are its labels, or those of the teachers that it asks. What other people's classes
        hold by any name may be something else.
    """
    if isinstance(teacher, ExpertTeacher):
        return [teacher.expert]
    return [expert for one in teacher.asked for expert in experts_of(one)] if isinstance(teacher, AsksOthers) else []


def seed_teacher(teacher: Teacher, seed: int | None) -> None:
    """Seed a teacher's own generators, if it has any."""
    seed_method = getattr(teacher, "seed", None)
    if callable(seed_method):
        seed_method(seed)


def check_feedback(feedback: Any, teacher: Teacher) -> Feedback | None:
    """
    :param feedback: What a teacher returned
    :param teacher: The teacher, for the message
    :return: The same, if it is feedback or silence
    :raises FeedbackError: If it is anything else
    """
    if feedback is None or isinstance(feedback, Feedback):
        return feedback
    name = getattr(teacher, "__name__", type(teacher).__name__)
    channels = ", ".join(_CHANNELS)
    is_action = isinstance(feedback, (int, float, list, tuple, np.ndarray, np.generic))
    mend = " To label by an expert's actions, pass ExpertTeacher(expert)." if is_action else ""
    raise FeedbackError(f"teacher {name}: got {type(feedback).__name__}, expected Feedback({channels}, ...) or None.{mend}")


def hint_at_expert(teacher: Teacher, error: Exception) -> None:
    """
    Add a hint to an error that an expert would make that is taken for a teacher.

    :param teacher: The teacher that raised it
    :param error: The error
    """
    code = getattr(teacher, "__code__", None)
    if code is None or isinstance(error, FeedbackError) or {*Transition._fields, Feedback.__name__} & set(code.co_names):
        return
    add_hint(
        error,
        "(A teacher gets a Transition, not an observation. If this is an expert, which maps observations to actions, wrap it "
        "in ExpertTeacher(expert).)",
    )
