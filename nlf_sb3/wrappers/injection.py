"""Let an expert play part of the agent's episodes: their ends, or their first steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym

from nlf_sb3.feedback import EXPERT_SEGMENT_KEY
from nlf_sb3.foreign_vec_envs import check_is_single
from nlf_sb3.infos import takeover_of
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.wrappers.experts_steps import ForkPoints, GuideSteps, Schedule
from nlf_sb3.wrappers.forks import ForkedEpisodes
from nlf_sb3.wrappers.marks import STEP_MARK_KEY, StepMarker
from nlf_sb3.wrappers.takeovers import TakenOverEpisodes
from nlf_sb3.wrappers.twins import make_twin

_MODES = ("fork", "takeover", "guide")


class TrajectoryInjection(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """
    Has every episode played by the agent, and by an expert from some step on, or up to one.

    Before each step the expert comes in with probability p, so that the number of steps before it is geometric
    from 0 with mean (1 - p) / p.

    ``mode="fork"``: the agent plays its episode alone. At its end a twin of the environment is reset with the same seed,
    replays the steps before the fork, is compared with what the agent saw, and follows the expert to its own end.
    The result is an :class:`~nlf_sb3.segments.ExpertSegment` in ``info["expert_segment"]`` of the agent's last step. An
    agent that ends before its fork makes none. Every episode starts from an explicit seed, drawn from a generator of
    this wrapper that ``reset(seed=...)`` seeds.

    ``mode="takeover"``: for worlds that can't be branched. The expert acts in the agent's own environment, in the
    agent's place: ``info["executed_action"]`` says what it did, and the algorithm trains on it. Choose a small p, or
    the agent hardly ever acts: ``fork_probability=0.01`` leaves it 99 steps on average.

    ``mode="guide"``: the expert acts as in a takeover, but first, for h steps; the agent plays on from there to the end,
    so that it meets the states that matter before it can reach them (JSRL; Uchendu et al., 2022,
    https://arxiv.org/abs/2204.02372). h is drawn anew for each episode, uniformly from 0, 1, ..., H (the paper's
    JSRL-Random); a schedule of H that falls is its curriculum. p has no part in it.

    Schedules are functions of the training progress remaining, 1 at the start and 0 at the end
    (:mod:`nlf_sb3.schedules`). An algorithm of this package says how far it is before each rollout, and episodes that begin
    from then on follow. Without a learner it stays 1, unless you call :meth:`set_progress`.

    A :class:`~nlf_sb3.FeedbackWrapper` goes around this wrapper, or inside it where its score is part of
    the reward: then its teachers are asked about the expert's steps too.

    :param env: The environment; for forks deterministic for a given seed
    :param expert: Anything that :func:`~nlf_sb3.teachers.as_expert` takes
    :param fork_probability: p, in (0, 1], or a schedule of it; one may return 0, where the expert stays away
    :param mode: ``"fork"``, ``"takeover"`` or ``"guide"``
    :param twin: Makes the twin for forks; by default it is made anew from ``env.spec``, wrappers included
    :param max_segment_steps: Cut the expert's part after this many steps. A fork then ends, and the value function stands
        for the rest, so that the algorithm needs one; after a takeover the agent goes on.
    :param guide_steps: H of ``mode="guide"``: a number of steps, or a schedule of the fraction of ``horizon``, rounded
    :param horizon: What a schedule of ``guide_steps`` is a fraction of; by default the time limit in ``env.spec``
    :raises TwinError: If the environment can't be twinned
    :raises FeedbackError: If it is a vectorised one
    """

    def __init__(
        self,
        env: gym.Env,
        expert: Any,
        fork_probability: float | Schedule = 0.4,
        *,
        mode: Literal["fork", "takeover", "guide"] = "fork",
        twin: Callable[[], gym.Env] | None = None,
        max_segment_steps: int | None = None,
        guide_steps: int | Schedule | None = None,
        horizon: int | None = None,
    ) -> None:
        _check_arguments(mode, twin, max_segment_steps, guide_steps, horizon)
        check_is_single(env, type(self).__name__)
        points = ForkPoints(fork_probability, max_segment_steps)
        gym.utils.RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,
            expert=expert,
            fork_probability=fork_probability,
            mode=mode,
            twin=twin,
            max_segment_steps=max_segment_steps,
            guide_steps=guide_steps,
            horizon=horizon,
        )
        gym.Wrapper.__init__(self, env)
        self.expert = as_expert(expert)
        self.expert.check_spaces(self.observation_space, self.action_space)
        self.fork_probability = fork_probability
        self.injection_mode = mode
        self.twin: gym.Env | None = None
        self._points: ForkPoints | GuideSteps = points if guide_steps is None else GuideSteps(guide_steps, horizon, env)
        self._episodes: ForkedEpisodes | TakenOverEpisodes
        if mode == "fork":
            self.twin = make_twin(env, twin)
            self._episodes = ForkedEpisodes(env, self.twin, self.expert, max_segment_steps)
        else:
            self._episodes = TakenOverEpisodes(env, self.expert)
        self._fork_rng = derived_generator(None, "forks")
        self._marker = StepMarker(self, mode)

    @property
    def nlf_sb3_injection_space(self) -> gym.Space:
        """The space that the expert acts in, by a name that other wrappers don't have."""
        return self.action_space

    @property
    def nlf_sb3_injection_mode(self) -> str:
        """``injection_mode``, by a name that other wrappers don't have."""
        return self.injection_mode

    @property
    def nlf_sb3_is_scheduled(self) -> bool:
        """Whether the expert's part depends on :meth:`set_progress`."""
        return self._points.is_scheduled

    def nlf_sb3_set_progress(self, progress_remaining: float) -> None:
        """
        :meth:`set_progress`, by a name that wrappers around this one don't have.

        :param progress_remaining: 1 at the start of training, 0 at its end
        """
        self.set_progress(progress_remaining)

    def set_progress(self, progress_remaining: float) -> None:
        """
        Say how far training is; episodes that begin from now on follow it.

        :param progress_remaining: 1 at the start of training, 0 at its end
        :raises ValueError: If a schedule returns what it may not
        """
        self._points.set_progress(progress_remaining)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._fork_rng = derived_generator(seed, "forks")
            self.expert.seed(derived_seed(seed, "expert"))
        steps = self._points.draw(self._fork_rng)
        if isinstance(self._episodes, ForkedEpisodes):
            observation, info = self._episodes.begin(seed, options, steps.start)
        else:
            observation, info = self._episodes.begin(seed, options, steps)
        return observation, {**info, STEP_MARK_KEY: self._marker.begin(observation, info.get(STEP_MARK_KEY))}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        *returned, info = self._episodes.step(action)  # with an info that is ours to change
        takeover = None if self.injection_mode == "fork" else takeover_of(info)
        given = EXPERT_SEGMENT_KEY in info if self.injection_mode == "fork" else takeover is not None
        executed = None if takeover is None else takeover.action
        inner = info.get(STEP_MARK_KEY)
        info[STEP_MARK_KEY] = self._marker.step(action, tuple(returned), inner, given=given, passed_on=executed)
        return *returned, info

    def close(self) -> None:
        if self.twin is not None:
            self.twin.close()
        super().close()


def _check_arguments(mode: Any, twin: Any, max_segment_steps: int | None, guide_steps: Any, horizon: int | None) -> None:
    """Raise on arguments that don't go together."""
    if mode not in _MODES:
        raise ValueError(f"mode: got {mode!r}, expected 'fork', 'takeover' or 'guide'.")
    if mode != "fork" and twin is not None:
        raise ValueError(f"twin: a {mode} happens in the environment itself. Leave twin away, or use mode='fork'.")
    if max_segment_steps is not None and max_segment_steps < 1:
        raise ValueError(f"max_segment_steps: got {max_segment_steps}, expected at least 1, or None for no limit.")
    if mode == "guide" and max_segment_steps is not None:
        raise ValueError("max_segment_steps: with mode='guide', guide_steps says how long the expert acts. Leave one away.")
    if (mode == "guide") != (guide_steps is not None):
        raise ValueError(f"guide_steps: got {guide_steps!r} with mode={mode!r}. It belongs to mode='guide', which needs it.")
    if horizon is not None and not callable(guide_steps):
        raise ValueError("horizon: it is what a schedule of guide_steps is a fraction of. Leave it away, or pass a schedule.")
