"""Attach a teacher's feedback to the info of every step."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, Literal

import gymnasium as gym
import numpy as np

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import FEEDBACK_KEY, TASK_REWARD_KEY, Feedback
from nlf_sb3.foreign_vec_envs import check_is_single
from nlf_sb3.infos import add_error, copy_value, describe_error, takeover_of, with_own_arrays
from nlf_sb3.teachers.teachers import (
    Teacher,
    Transition,
    as_teacher,
    check_feedback,
    experts_of,
    hint_at_expert,
    seed_teacher,
)
from nlf_sb3.wrappers.asking import MaskReader
from nlf_sb3.wrappers.marks import STEP_MARK_KEY, StepMarker


class FeedbackWrapper(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """
    Asks teachers about every step and puts their answer into ``info["feedback"]``.

    A teacher's exception is no exception here: it travels as text in ``info["feedback_error"]``, and
    the algorithm raises it with the environment's index. Evaluation environments need no wrapper.

    >>> import gymnasium as gym
    >>> from nlf_sb3.teachers import ScoreTeacher
    >>> env = FeedbackWrapper(gym.make("CartPole-v1"), ScoreTeacher(lambda step: 1 - abs(step.observation[2])))
    >>> _ = env.reset(seed=0)
    >>> env.step(0)[4]["feedback"].score > 0.9
    True

    :param env: The environment
    :param teachers: One teacher or several; any function from a
        :class:`~nlf_sb3.teachers.Transition` to a :class:`~nlf_sb3.Feedback` or None is one
    :param score_as_reward: None leaves the reward as it is, so that scores are carried and logged but
        don't train; ``"replace"`` puts the score in its place (0 where no score is given); a number adds
        that many times the score. The task's own reward then stays in ``info["task_reward"]``. A score
        that comes late is paid when it comes.
    :raises FeedbackError: If a teacher can't be called, or the environment is vectorised or has a FeedbackWrapper already
    """

    def __init__(
        self,
        env: gym.Env,
        teachers: Teacher | Sequence[Teacher],
        *,
        score_as_reward: Literal["replace"] | float | None = None,
    ) -> None:
        teacher = as_teacher(teachers)
        _check_score_as_reward(score_as_reward)
        check_is_single(env, type(self).__name__)
        inner = env
        while isinstance(inner, gym.Wrapper):
            if isinstance(inner, FeedbackWrapper):
                raise FeedbackError("The environment has a FeedbackWrapper already. Give that one a list of teachers.")
            # Of the class: older Gymnasiums answer for a wrapper with what is inside.
            is_injection = hasattr(type(inner), "nlf_sb3_injection_mode")
            is_fork = is_injection and getattr(inner, "nlf_sb3_injection_mode", None) == "fork"
            if score_as_reward is not None and is_fork:
                raise FeedbackError(
                    "score_as_reward would pay the agent by score and the injected expert by the task's reward. "
                    "Put the FeedbackWrapper inside: TrajectoryInjection(FeedbackWrapper(env, ...), expert)."
                )
            inner = inner.env
        # A teacher may hold a network: recorded by reference, not copied.
        gym.utils.RecordConstructorArgs.__init__(
            self, _disable_deepcopy=True, teachers=teachers, score_as_reward=score_as_reward
        )
        gym.Wrapper.__init__(self, env)
        self.teacher = teacher
        for expert in experts_of(teacher):
            expert.check_spaces(self.observation_space, self.action_space)
        self.score_as_reward = score_as_reward
        self._observation: Any = None
        self._action_masks = MaskReader(env)
        self._step = 0
        # Whoever makes texts of a learner's actions, such as TokenLevel, takes several steps for one here.
        self._marker = None if isinstance(env.action_space, gym.spaces.Text) else StepMarker(self, "feedback")

    @property
    def nlf_sb3_feedback_space(self) -> gym.Space:
        """The space that expert actions are in, by a name that other wrappers don't have."""
        return self.action_space

    @property
    def nlf_sb3_labels_actions(self) -> bool:
        """Whether a teacher is an expert, whose actions are labels."""
        return bool(experts_of(self.teacher))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            seed_teacher(self.teacher, seed)
        observation, info = self.env.reset(seed=seed, options=options)
        self._observation = copy_value(observation)
        self._step = 0
        if self._marker is not None:
            info = {**info, STEP_MARK_KEY: self._marker.begin(observation, info.get(STEP_MARK_KEY))}
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        masks = self._action_masks()
        # The learner, the environment and the teacher each have arrays of their own, which the others can't change.
        taken = copy_value(action)
        observation, reward, terminated, truncated, info = self.env.step(copy_value(action))
        info = dict(info)  # an environment may hand out the same dict at every step
        takeover = takeover_of(info)
        if takeover is not None:  # where an expert took over, the teacher sees what it did
            taken = copy_value(takeover.action)
        shown, told = copy_value(observation), with_own_arrays(info)
        transition = Transition(self._observation, taken, float(reward), shown, terminated, truncated, told, self._step, masks)
        feedback: Feedback | None = None
        try:
            feedback = check_feedback(self.teacher(transition), self.teacher)
        except Exception as error:  # whatever a user's code raises must reach the algorithm
            hint_at_expert(self.teacher, error)
            add_error(info, describe_error(error, f"teacher, episode step {self._step}"))
        if feedback is not None:
            info[FEEDBACK_KEY] = feedback
        if self.score_as_reward is not None:
            info[TASK_REWARD_KEY] = float(reward)
            reward = self._reward(float(reward), feedback)
        self._observation = copy_value(observation)
        self._step += 1
        if self._marker is not None:
            returned = (observation, reward, terminated, truncated)
            inner = info.get(STEP_MARK_KEY)
            info[STEP_MARK_KEY] = self._marker.step(action, returned, inner, given=FEEDBACK_KEY in info)
        return observation, reward, terminated, truncated, info

    def _reward(self, task_reward: float, feedback: Feedback | None) -> float:
        score = 0.0 if feedback is None or feedback.score is None else feedback.score
        if self.score_as_reward == "replace":
            return score
        assert self.score_as_reward is not None
        return task_reward + float(self.score_as_reward) * score


def _check_score_as_reward(value: Any) -> None:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if value is not None and value != "replace" and not (is_number and np.isfinite(value)):
        raise FeedbackError(f"score_as_reward: got {value!r}, expected None, 'replace' or a finite weight.")
