"""Tell where infos come without the marks that this package's wrappers put there."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY, FEEDBACK_KEY, Feedback
from nlf_sb3.foreign_vec_envs import ask_wrappers, wrapped_environments
from nlf_sb3.receiving.wrappers_around import name_wrappers_around
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection
from nlf_sb3.wrappers.marks import STEP_MARK_KEY, StepMark


def loses_feedback(info: dict[str, Any]) -> bool:
    """
    :param info: A step's info, of an environment whose FeedbackWrapper marks its steps
    :return: Whether it has lost that mark, or the feedback that the mark speaks of
    """
    mark = info.get(STEP_MARK_KEY)
    while isinstance(mark, StepMark):
        if mark.source == "feedback":
            return mark.given and not isinstance(info.get(FEEDBACK_KEY), Feedback)
        mark = mark.inner
    return True


def why_no_feedback(env: VecEnv, losing: set[int]) -> str:
    """
    :param env: A learner's environment, with a FeedbackWrapper, from which no feedback came
    :param losing: Indices of environments of which an info was as :func:`loses_feedback` says
    :return: Why, as the end of a sentence and perhaps more
    """
    marked = _environments_with_labels(env)
    lost = sorted(marked & losing)
    name = FeedbackWrapper.__name__
    if lost:
        return (
            f"infos of environment {lost[0]} arrived without what it put there. {name_wrappers_around(env, lost[0], name)} "
            'A wrapper that makes new infos has to pass on all entries of the old ones, and to leave info["feedback"] alone.'
        )
    if marked == set(wrapped_environments(env, FeedbackWrapper)):
        return "its teachers returned None."
    return "its teachers returned None, or a wrapper around it replaced the infos."


class LostMarks:
    """
    Knows which environments should mark their steps.

    :param env: The learner's environment
    """

    def __init__(self, env: VecEnv) -> None:
        self._env = env
        self._has_warned = False
        self._labelled = _environments_with_labels(env)
        self._forked = _where(env, TrajectoryInjection, "nlf_sb3_injection_mode", lambda mode: mode == "fork")
        self._taken_over = _where(env, TrajectoryInjection, "nlf_sb3_injection_mode", lambda mode: mode != "fork")
        self.expects_marks = bool(self._labelled or self._forked or self._taken_over)
        """Whether any environment should; without one there is nothing to check."""

    def check(self, env: int, info: dict[str, Any], mark: Any) -> None:
        """
        Warn of a label or episode that can't be compared with the learner's step, once.

        :param env: Index of an environment
        :param info: Its info of a step
        :param mark: The info's entry by the mark's key
        :raises FeedbackError: If an expert may have acted without the learner's knowledge
        """
        if env in self._taken_over and not _has_takeovers(mark):
            raise FeedbackError(
                self._message(env, TrajectoryInjection, "the expert's steps would pass for the learner's own")
                + f" Pass on all that an info holds, or put the wrapper inside {TrajectoryInjection.__name__}."
            )
        if self._has_warned or isinstance(mark, StepMark):
            return
        for environments, wrapper, key, record in (
            (self._labelled, FeedbackWrapper, FEEDBACK_KEY, Feedback),
            (self._forked, TrajectoryInjection, EXPERT_SEGMENT_KEY, object),
        ):
            if env in environments and isinstance(info.get(key), record) and info.get(key) is not None:
                self._has_warned = True
                what = "it can't be told whether the learner's steps and actions are those that it saw"
                warnings.warn(self._message(env, wrapper, what), stacklevel=2)

    def _message(self, env: int, wrapper: type[gym.Wrapper], what: str) -> str:
        name = wrapper.__name__
        around = name_wrappers_around(self._env, env, name)
        return f"{name} of environment {env}: the step's info has lost an entry that it put there, so that {what}. {around}"


def _environments_with_labels(env: VecEnv) -> set[int]:
    """Indices of the environments in which a FeedbackWrapper marks the learner's own steps."""
    texts = spaces.Text
    # TokenLevel makes one text of several of the learner's steps, and drops the mark of that.
    return _where(env, FeedbackWrapper, "nlf_sb3_feedback_space", lambda space: not isinstance(space, texts))


def _where(env: VecEnv, wrapper: type[gym.Wrapper], name: str, is_meant: Any) -> set[int]:
    """Indices of the environments with a wrapper that answers so."""
    return {index for index, answer in ask_wrappers(env, wrapper, name).items() if is_meant(answer)}


def _has_takeovers(mark: Any) -> bool:
    while isinstance(mark, StepMark):
        if mark.source in ("takeover", "guide"):
            return True
        mark = mark.inner
    return False
