"""Compare each step that the learner took with the marks of this package's wrappers, whatever is in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY, FEEDBACK_KEY, Feedback
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.infos import takeover_of
from nlf_sb3.receiving.lost_marks import LostMarks
from nlf_sb3.receiving.step_faults import fault_of_end, fault_of_observation, fault_of_reward, is_same, margin_of, short
from nlf_sb3.receiving.step_tracks import StepTrack
from nlf_sb3.receiving.wrappers_around import name_wrappers_around
from nlf_sb3.vec_envs import LEAVE_OBSERVATIONS, observations_as_given, to_policy_rewards, wrappers_of
from nlf_sb3.wrappers.marks import STEP_MARK_KEY, Entries, StepMark, some_entries

_CONSEQUENCES = {
    "feedback": "its labels and remarks would be about other steps or actions than the learner's",
    "takeover": "the expert's actions would be others than the learner's rows say",
    "guide": "the expert's actions would be others than the learner's rows say",
    "fork": "the expert's episodes would be in another scale or time than the learner's",
    "tokens": "expected responses would be in another scale or time than the learner's own",
}


class TakenStep(NamedTuple):
    """
    A step as the learner took it.

    :param actions: As the policy gave them, ``[n_envs, *action_shape]``
    :param rewards: ``[n_envs]``
    :param dones: ``[n_envs]``
    :param infos: One for each environment
    :param observations: The observations after it, ``[n_envs, *obs_shape]`` or a dict of such
    """

    actions: Any
    rewards: np.ndarray
    dones: np.ndarray
    infos: list[dict[str, Any]]
    observations: Any


class StepCheck:
    """
    Raises at the first step of which a wrapper around one of ours made another, where feedback suffers from that.

    Labels, and remarks that are read, suffer from another action or number of steps; takeovers and guides too. Forks and
    expected responses also suffer from other rewards and observations, and forks from other ends.

    :param env: The learner's environment
    :param as_sent: Maps the policy's actions to those that the environment gets
    :param is_fresh: Whether it has just been reset
    :param observations: The learner's last observations, if it was
    :param reads_text: Whether the learner makes something of texts
    :param pays_segments: Whether the rewards of the expert's episodes train
    """

    def __init__(
        self,
        env: VecEnv,
        as_sent: Callable[[np.ndarray], np.ndarray],
        *,
        is_fresh: bool,
        observations: Any,
        reads_text: bool,
        pays_segments: bool,
    ) -> None:
        self._env = env
        self._as_sent = as_sent
        self._margin = margin_of(env.action_space)
        self._reads_text = reads_text
        self._pays_segments = pays_segments
        self._now = 0
        self._tracks: list[dict[str, StepTrack]] = [{} for _ in range(env.num_envs)]
        self._episode_steps: list[int | None] = [0 if is_fresh else None] * env.num_envs
        self._scales_rewards = any(isinstance(wrapper, VecNormalize) for wrapper in wrappers_of(env))
        self._changes_observations = any(not isinstance(wrapper, LEAVE_OBSERVATIONS) for wrapper in wrappers_of(env))
        self._observed: list[Entries] | None = self._some_entries(observations) if is_fresh else None
        self._looks = False  # whether any wrapper here looks at observations
        self._rewards: np.ndarray | None = None
        self._sent: np.ndarray | None = None
        self._lost = LostMarks(env)
        if is_fresh:
            self._begin_episodes(np.ones(env.num_envs, dtype=bool))

    def __call__(self, step: TakenStep) -> None:
        """
        :param step: The step
        :raises FeedbackError: With the environment, the wrapper and the difference
        """
        self._now += 1
        self._rewards = self._sent = None
        for env, info in enumerate(step.infos):
            own = self._episode_steps[env]
            if own is not None:
                self._episode_steps[env] = own + 1
            mark = info.get(STEP_MARK_KEY)
            if isinstance(mark, StepMark):
                self._check_marks(env, step, mark)
            if self._lost.expects_marks:
                self._lost.check(env, info, mark)
        self._observed = self._some_entries(step.observations) if self._looks else None
        if True in step.dones.tolist():  # faster than NumPy's any
            self._begin_episodes(step.dones)

    def steps_ago(self, env: int, steps: int) -> int:
        """
        :param env: Index of an environment
        :param steps: How many steps ago its FeedbackWrapper says that something happened
        :return: How many of the learner's that is; more than any rollout has, if the learner didn't take that step
        """
        track = self._tracks[env].get("feedback")
        return steps if track is None or not steps else track.steps_ago(steps)

    def _check_marks(self, env: int, step: TakenStep, mark: StepMark | None) -> None:
        """Check an environment's marks, the outermost wrapper's first."""
        passed_on: Any = None  # by the wrapper outside
        while mark is not None:
            track = self._tracks[env].get(mark.source)
            if track is None:
                track = self._tracks[env][mark.source] = StepTrack()
            fault = track.follow(mark, self._now)
            if not mark.is_reset:
                sent = self._sent_to(env, step) if passed_on is None else passed_on
                if fault is None and not is_same(mark.action, sent, self._margin):
                    fault = f"the learner's action {short(sent)} came to it as {short(mark.action)}"
                is_own = passed_on is None or mark.source == "feedback"  # not of an expert outside who acted
                if is_own and track.is_stale(mark, _record_of(mark, step.infos[env])):
                    fault = fault or "the step's info holds what it gave at an earlier step"
                if mark.observed is not None:
                    self._looks = True
                    fault = fault or self._fault_of_episode(env, step, mark)
                passed_on = passed_on if mark.passed_on is None else mark.passed_on
            track.fault = track.fault or fault
            if track.fault is not None and self._suffers(mark, step.infos[env]):
                raise FeedbackError(self._message(env, mark, track.fault))
            mark = mark.inner

    def _sent_to(self, env: int, step: TakenStep) -> Any:
        """The learner's action as it was sent. A wrapper may have changed the array in place."""
        if self._sent is None:
            self._sent = self._as_sent(step.actions)
        return self._sent[env]

    def _fault_of_episode(self, env: int, step: TakenStep, mark: StepMark) -> str | None:
        """A difference that only whole episodes of an expert suffer from."""
        if mark.source == "fork":
            own = self._episode_steps[env]
            if own is not None and own != mark.episode_step:
                return f"its episode is {mark.episode_step} steps old where the learner's is {own}"
            fault = fault_of_end(bool(step.dones[env]), step.infos[env], mark)
            if fault is not None:
                return fault
        if self._pays_segments:
            expected = self._rewards_of_marks(step)[env] if self._scales_rewards else mark.reward
            fault = fault_of_reward(float(step.rewards[env]), float(expected), mark)
            if fault is not None:
                return fault
        if self._observed is not None and self._episode_steps[env] is not None:
            return fault_of_observation(self._observed[env], mark.observed)
        return None

    def _rewards_of_marks(self, step: TakenStep) -> np.ndarray:
        """The rewards that wrappers returned, as the learner should have got them."""
        if self._rewards is None:
            marks = [_looking_mark(info.get(STEP_MARK_KEY)) for info in step.infos]
            returned = [0.0 if mark is None else mark.reward for mark in marks]
            self._rewards = to_policy_rewards(self._env, np.array(returned, dtype=np.float32))
        return self._rewards

    def _some_entries(self, observations: Any) -> list[Entries] | None:
        """Entries of the learner's observations as the environments gave them; None if a wrapper isn't known."""
        given = observations_as_given(self._env, observations) if self._changes_observations else observations
        if given is None:
            return None
        space = innermost(self._env).observation_space
        rows = range(self._env.num_envs)
        if isinstance(given, dict):
            return [some_entries({key: value[row] for key, value in given.items()}, space) for row in rows]
        return [some_entries(given[row], space) for row in rows]

    def _suffers(self, mark: StepMark, info: dict[str, Any]) -> bool:
        if mark.source == "feedback":
            feedback: Any = info.get(FEEDBACK_KEY)
            if not isinstance(feedback, Feedback):
                return False
            return feedback.expert_action is not None or (feedback.text is not None and self._reads_text)
        return mark.source != "tokens" or EXPERT_SEGMENT_KEY in info

    def _begin_episodes(self, dones: np.ndarray) -> None:
        # Each wrapper has a list too, which stays empty; a foreign environment may have anything by that name.
        reset_infos = getattr(innermost(self._env), "reset_infos", None)
        infos = reset_infos if isinstance(reset_infos, (list, tuple)) and len(reset_infos) == len(dones) else None
        for env in np.flatnonzero(dones):
            self._episode_steps[env] = 0
            marks: dict[str, StepMark] = {}
            mark = infos[env].get(STEP_MARK_KEY) if infos is not None and isinstance(infos[env], dict) else None
            while isinstance(mark, StepMark):
                marks[mark.source] = mark
                mark = mark.inner
            for source in marks.keys() - self._tracks[env].keys():
                self._tracks[env][source] = StepTrack()
            for source, track in self._tracks[env].items():
                track.end_episode(marks.get(source), self._now)

    def _message(self, env: int, mark: StepMark, fault: str) -> str:
        around = name_wrappers_around(self._env, env, mark.wrapper)
        return (
            f"{mark.wrapper} of environment {env}: {fault}, so that {_CONSEQUENCES[mark.source]}. {around} Put wrappers that "
            f"change actions or the number of steps, and for an expert's episodes observations, rewards or ends, inside "
            f"{mark.wrapper}."
        )


def _record_of(mark: StepMark, info: dict[str, Any]) -> Any:
    """The entry that such a wrapper puts into an info; None without one."""
    if mark.source == "feedback":
        return info.get(FEEDBACK_KEY)
    return takeover_of(info) if mark.source in ("takeover", "guide") else info.get(EXPERT_SEGMENT_KEY)


def _looking_mark(mark: Any) -> StepMark | None:
    while isinstance(mark, StepMark):
        if mark.observed is not None:
            return mark
        mark = mark.inner
    return None
