"""Let an expert play the agent's episodes to their end, from some step on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import gymnasium as gym

from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.wrappers.forks import ForkedEpisodes
from nlf_sb3.wrappers.takeovers import TakenOverEpisodes
from nlf_sb3.wrappers.twins import make_twin


class TrajectoryInjection(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """
    Has every episode played by the agent, and by an expert from some step on.

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

    A :class:`~nlf_sb3.FeedbackWrapper` goes around this wrapper, or inside it where its score is part of
    the reward: then its teachers are asked about the expert's steps too.

    :param env: The environment; for forks deterministic for a given seed
    :param expert: Anything that :func:`~nlf_sb3.teachers.as_expert` takes
    :param fork_probability: p, in (0, 1]
    :param mode: ``"fork"`` or ``"takeover"``
    :param twin: Makes the twin for forks; by default it is made anew from ``env.spec``, wrappers included
    :param max_segment_steps: Cut the expert's part after this many steps. A fork then ends, and the value function stands
        for the rest, so that the algorithm needs one; after a takeover the agent goes on.
    :raises TwinError: If the environment can't be twinned
    """

    def __init__(
        self,
        env: gym.Env,
        expert: Any,
        fork_probability: float = 0.4,
        *,
        mode: Literal["fork", "takeover"] = "fork",
        twin: Callable[[], gym.Env] | None = None,
        max_segment_steps: int | None = None,
    ) -> None:
        if not 0.0 < fork_probability <= 1.0:
            raise ValueError(f"fork_probability: got {fork_probability}, expected a number in (0, 1].")
        if mode not in ("fork", "takeover"):
            raise ValueError(f"mode: got {mode!r}, expected 'fork' or 'takeover'.")
        if mode == "takeover" and twin is not None:
            raise ValueError("twin: a takeover happens in the environment itself. Leave twin away, or use mode='fork'.")
        if max_segment_steps is not None and max_segment_steps < 1:
            raise ValueError(f"max_segment_steps: got {max_segment_steps}, expected at least 1, or None for no limit.")
        gym.utils.RecordConstructorArgs.__init__(
            self,
            _disable_deepcopy=True,
            expert=expert,
            fork_probability=fork_probability,
            mode=mode,
            twin=twin,
            max_segment_steps=max_segment_steps,
        )
        gym.Wrapper.__init__(self, env)
        self.expert = as_expert(expert)
        self.fork_probability = fork_probability
        self.injection_mode = mode
        self.twin: gym.Env | None = None
        self._episodes: ForkedEpisodes | TakenOverEpisodes
        if mode == "fork":
            self.twin = make_twin(env, twin)
            self._episodes = ForkedEpisodes(env, self.twin, self.expert, max_segment_steps)
        else:
            self._episodes = TakenOverEpisodes(env, self.expert, max_segment_steps)
        self._fork_rng = derived_generator(None, "forks")

    @property
    def injection_action_space(self) -> gym.Space:
        """The space that the expert acts in, by a name that other wrappers don't have."""
        return self.action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._fork_rng = derived_generator(seed, "forks")
            self.expert.seed(derived_seed(seed, "expert"))
        return self._episodes.begin(seed, options, int(self._fork_rng.geometric(self.fork_probability)) - 1)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        return self._episodes.step(action)

    def close(self) -> None:
        if self.twin is not None:
            self.twin.close()
        super().close()
