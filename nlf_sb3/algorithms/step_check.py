"""Compare each step that the learner took with the marks of this package's wrappers, whatever is in between."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from nlf_sb3.algorithms.step_tracks import StepTrack
from nlf_sb3.algorithms.vec_envs import LEAVE_OBSERVATIONS, observations_as_given, to_policy_rewards, wrappers_of
from nlf_sb3.algorithms.wrappers_around import name_wrappers_around
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY, FEEDBACK_KEY, Feedback
from nlf_sb3.foreign_vec_envs import innermost
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

    :param actions: As they were sent, ``[n_envs, *action_shape]``
    :param rewards: ``[n_envs]``
    :param dones: ``[n_envs]``
    :param infos: One for each environment
    :param observations: What came back, ``[n_envs, *obs_shape]`` or a dict of such
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
    :param is_fresh: Whether it has just been reset
    :param observations: The learner's last observations, if it was
    :param reads_text: Whether the learner makes something of texts
    :param pays_segments: Whether the rewards of the expert's episodes train
    """

    def __init__(self, env: VecEnv, *, is_fresh: bool, observations: Any, reads_text: bool, pays_segments: bool) -> None:
        self._env = env
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

    def __call__(self, step: TakenStep) -> None:
        """
        :param step: The step
        :raises FeedbackError: With the environment, the wrapper and the difference
        """
        self._now += 1
        self._rewards = None
        for env, info in enumerate(step.infos):
            own = self._episode_steps[env]
            if own is not None:
                self._episode_steps[env] = own + 1
            mark = info.get(STEP_MARK_KEY)
            if isinstance(mark, StepMark):
                self._check_marks(env, step, mark)
        self._observed = self._some_entries(step.observations) if self._looks else None
        if step.dones.any():
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
        sent = step.actions[env]
        while mark is not None:
            track = self._tracks[env].get(mark.source)
            if track is None:
                track = self._tracks[env][mark.source] = StepTrack()
            fault = track.follow(mark, self._now)
            if not mark.is_reset:
                if fault is None and not _is_same(mark.action, sent):
                    fault = f"the learner's action {_short(sent)} came to it as {_short(mark.action)}"
                if mark.observed is not None:
                    self._looks = True
                    fault = fault or self._fault_of_episode(env, step, mark)
                sent = sent if mark.passed_on is None else mark.passed_on
            track.fault = track.fault or fault
            if track.fault is not None and self._suffers(mark, step.infos[env]):
                raise FeedbackError(self._message(env, mark, track.fault))
            mark = mark.inner

    def _fault_of_episode(self, env: int, step: TakenStep, mark: StepMark) -> str | None:
        """What differs that only whole episodes of an expert's suffer from."""
        if mark.source == "fork":
            own = self._episode_steps[env]
            if own is not None and own != mark.episode_step:
                return f"its episode is {mark.episode_step} steps old where the learner's is {own}"
            fault = _fault_of_end(bool(step.dones[env]), step.infos[env], mark)
            if fault is not None:
                return fault
        if self._pays_segments:
            expected = self._rewards_of_marks(step)[env] if self._scales_rewards else mark.reward
            if abs(step.rewards[env] - expected) > 1e-5 + 1e-4 * abs(expected):
                return f"it returned the reward {mark.reward:.6g}, and the learner got {step.rewards[env]:.6g}"
        if self._observed is not None and self._episode_steps[env] is not None:
            return _fault_of_observation(self._observed[env], mark.observed)
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
        # Each wrapper has a list too, which stays empty.
        reset_infos = getattr(innermost(self._env), "reset_infos", None)
        for env in np.flatnonzero(dones):
            self._episode_steps[env] = 0
            if not self._tracks[env]:
                continue  # nothing here is ours, a foreign environment's reset_infos neither
            marks: dict[str, StepMark] = {}
            mark = reset_infos[env].get(STEP_MARK_KEY) if reset_infos else None
            while isinstance(mark, StepMark):
                marks[mark.source] = mark
                mark = mark.inner
            for source, track in self._tracks[env].items():
                track.end_episode(marks.get(source), self._now)

    def _message(self, env: int, mark: StepMark, fault: str) -> str:
        around = name_wrappers_around(self._env, env, mark.wrapper)
        return (
            f"{mark.wrapper} of environment {env}: {fault}, so that {_CONSEQUENCES[mark.source]}. {around} Put wrappers that "
            f"change actions or the number of steps, and for an expert's episodes observations, rewards or ends, inside "
            f"{mark.wrapper}."
        )


def _looking_mark(mark: Any) -> StepMark | None:
    while isinstance(mark, StepMark):
        if mark.observed is not None:
            return mark
        mark = mark.inner
    return None


def _fault_of_end(done: bool, info: dict[str, Any], mark: StepMark) -> str | None:
    if done != (mark.terminated or mark.truncated):
        return f"its episode {'went on' if done else 'ended'} where the learner's {'ended' if done else 'went on'}"
    by_limit = info.get("TimeLimit.truncated")
    if done and by_limit is not None and bool(by_limit) != (mark.truncated and not mark.terminated):
        return f"its episode was {'truncated' if mark.truncated else 'terminated'}, and the learner's not"
    return None


def _fault_of_observation(own: Entries, its: Entries | None) -> str | None:
    assert its is not None
    for key, entries in its.items():
        if key in own and _is_same(entries, own[key]):
            continue
        name = f"observation[{key!r}]" if key else "observation"
        if key not in own or own[key].size != entries.size:
            return f"its {name} has another shape than the learner's"
        place = int(np.argmax(~np.isclose(entries, own[key], 1e-4, 1e-5, equal_nan=True)))
        return f"its {name} holds {entries[place]:.6g} where the learner's holds {own[key][place]:.6g}"
    return None


def _is_same(received: Any, sent: Any) -> bool:
    first, second = np.asarray(received), np.asarray(sent)
    if first.tobytes() == second.tobytes():  # as it is at nearly every step
        return True
    return first.size == second.size and _is_close(first.reshape(-1), second.reshape(-1))


def _is_close(first: np.ndarray, second: np.ndarray) -> bool:
    first, second = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return not (np.abs(first - second) > 1e-5 + 1e-4 * np.abs(first)).any()  # NaN is no difference


def _short(value: Any) -> str:
    flat = np.asarray(value).reshape(-1)
    shown = ", ".join(f"{number:.6g}" for number in flat[:4].tolist())
    return f"[{shown}{', ...' if len(flat) > 4 else ''}]" if flat.size > 1 else shown
