"""Fork an expert off the agent's trajectory partway through an episode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from stable_baselines3.common.monitor import Monitor

from nlf_sb3.errors import FeedbackError, TwinError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY, FEEDBACK_ERROR_KEY
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.segments import ExpertSegment, rows_from, stack_observations
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.teachers.experts import single_row
from nlf_sb3.validation import check_actions
from nlf_sb3.wrappers.feedback import FeedbackWrapper, copy_observation, describe_error


class TrajectoryInjection(gym.Wrapper, gym.utils.RecordConstructorArgs):
    """
    Plays every episode twice from one state: as the agent, and as the agent until the expert takes over.

    Before each step a twin of the environment forks off with probability p, so that the number of
    shared steps is geometric from 0 with mean (1 - p) / p. When the agent's episode ends, the twin
    is reset with the same seed, replays the shared steps, is compared with what the agent saw, and
    follows the expert to its own end. The result is an :class:`~nlf_sb3.segments.ExpertSegment` in
    ``info["expert_segment"]`` of the agent's last step. An agent that ends before its fork makes none.

    A :class:`~nlf_sb3.FeedbackWrapper` goes around this wrapper, or inside it where its score is part of
    the reward: then its teachers are asked about the expert's steps too.

    Every episode starts from an explicit seed, drawn from a generator of this wrapper that
    ``reset(seed=...)`` seeds.

    :param env: The environment; deterministic for a given seed
    :param expert: Anything that :func:`~nlf_sb3.teachers.as_expert` takes
    :param fork_probability: p, in (0, 1]
    :param mode: ``"fork"``
    :param twin: Makes the twin; by default it is made anew from ``env.spec``, wrappers included
    :param max_segment_steps: Cut the expert's part after this many steps; the value function stands for the rest,
        so that the algorithm needs one
    :raises TwinError: If the environment can't be twinned
    """

    def __init__(
        self,
        env: gym.Env,
        expert: Any,
        fork_probability: float = 0.4,
        *,
        mode: Literal["fork"] = "fork",
        twin: Callable[[], gym.Env] | None = None,
        max_segment_steps: int | None = None,
    ) -> None:
        if not 0.0 < fork_probability <= 1.0:
            raise ValueError(f"fork_probability: got {fork_probability}, expected a number in (0, 1].")
        if mode != "fork":
            raise ValueError(f"mode: got {mode!r}, expected 'fork'.")
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
        self.mode = mode
        self.max_segment_steps = max_segment_steps
        self.twin = make_twin(env, twin)
        self._seed_rng = derived_generator(None, "episodes")
        self._fork_rng = derived_generator(None, "forks")
        self._prefix: list[Any] = []
        self._fork_observation: Any = None
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            self._seed_generators(seed)
        self._episode_seed = int(self._seed_rng.integers(2**31))
        self._options = options
        self._fork_step = int(self._fork_rng.geometric(self.fork_probability)) - 1
        self._prefix = []
        self._step = 0
        observation, info = self.env.reset(seed=self._episode_seed, options=options)
        self._fork_observation = copy_observation(observation) if self._fork_step == 0 else None
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        if self._step < self._fork_step:
            self._prefix.append(copy_observation(action))
        observation, reward, terminated, truncated, info = self.env.step(action)
        info = dict(info)  # an environment may hand out the same dict at every step
        self._step += 1
        done = terminated or truncated
        if self._step == self._fork_step and not done:
            self._fork_observation = copy_observation(observation)
        if done and self._fork_observation is not None:
            try:
                info[EXPERT_SEGMENT_KEY] = self._play_segment()
            except Exception as error:  # the algorithm raises it, with the environment's index
                info[FEEDBACK_ERROR_KEY] = describe_error(error, f"trajectory injection, fork step {self._fork_step}")
        return observation, reward, terminated, truncated, info

    def close(self) -> None:
        self.twin.close()
        super().close()

    def _seed_generators(self, seed: int) -> None:
        self._seed_rng = derived_generator(seed, "episodes")
        self._fork_rng = derived_generator(seed, "forks")
        self.expert.seed(derived_seed(seed, "expert"))

    def _play_segment(self) -> ExpertSegment:
        """Replay the prefix on the twin, check that it stands where the agent stood, let the expert go on."""
        observation, _ = self.twin.reset(seed=self._episode_seed, options=self._options)
        observations, actions, rewards = [], [], []
        terminated = truncated = False
        for action in self._prefix:
            if terminated or truncated:
                break
            observations.append(copy_observation(observation))
            actions.append(action)
            observation, reward, terminated, truncated, info = self.twin.step(action)
            _raise_error_of(info)
            rewards.append(float(reward))
        self._check_fork(observation, terminated or truncated)
        while not (terminated or truncated):
            if self.max_segment_steps is not None and len(rewards) - self._fork_step >= self.max_segment_steps:
                break
            action = check_actions(self.expert.act(single_row(observation)), self.env.action_space, 1)[0]
            observations.append(copy_observation(observation))
            actions.append(action)
            observation, reward, terminated, truncated, info = self.twin.step(action)
            _raise_error_of(info)
            rewards.append(float(reward))
        stacked, action_rows = stack_observations(observations), np.stack(actions)
        return ExpertSegment(
            observations=stacked,
            actions=action_rows,
            rewards=np.array(rewards),
            terminated=bool(terminated),
            truncated=bool(truncated),
            last_observation=copy_observation(observation),
            fork_step=self._fork_step,
            expert_log_probs=self.expert.log_prob(rows_from(stacked, self._fork_step), action_rows[self._fork_step :]),
        )

    def _check_fork(self, observation: Any, ended: bool) -> None:
        if ended or not same_observation(observation, self._fork_observation):
            came = "had ended" if ended else f"observed {observation}"
            raise TwinError(
                f"the twin left the agent's trajectory: after {self._fork_step} shared steps the agent observed "
                f"{self._fork_observation}, the twin {came}. Both were reset with seed {self._episode_seed}. "
                "Make the environment deterministic for a given reset seed, or pass twin=, a function that makes an "
                "exact copy of it."
            )


def _raise_error_of(info: dict[str, Any]) -> None:
    """A teacher on the twin, whose score is the expert's reward, can't speak to the algorithm itself."""
    if FEEDBACK_ERROR_KEY in info:
        raise FeedbackError(f"on the expert's trajectory, {info[FEEDBACK_ERROR_KEY]}")


def make_twin(env: gym.Env, twin: Callable[[], gym.Env] | None = None) -> gym.Env:
    """
    A second environment that behaves as the first does.

    :param env: The environment
    :param twin: Makes the twin, where ``env.spec`` doesn't
    :return: The twin
    :raises TwinError: If there is no way to make one, or it has other spaces
    """
    copy = _twin_from_spec(env) if twin is None else twin()
    if copy.unwrapped is env.unwrapped:
        raise TwinError("twin= returned the environment itself. Return a new one: both are stepped, each on its own.")
    for name in ("observation_space", "action_space"):
        if getattr(copy, name) != getattr(env, name):
            raise TwinError(
                f"the twin's {name} is {getattr(copy, name)}, the environment's {getattr(env, name)}. Make them equal."
            )
    return copy


def _twin_from_spec(env: gym.Env) -> gym.Env:
    mend = "Pass twin=, a function that makes another one, for example twin=lambda: MyWrapper(gym.make(...))."
    try:
        spec = env.spec
        if spec is None:
            raise TwinError(f"{env} has no spec, so it can't be made a second time. {mend}")
        if spec.nondeterministic:
            raise TwinError(f"{spec.id} is registered as nondeterministic: a twin would leave it. Use another environment.")
        return gym.make(_spec_of_twin(spec), disable_env_checker=True)  # a twin opens no window
    except (gym.error.Error, ValueError, TypeError, AttributeError) as error:
        raise TwinError(f"{env} can't be made a second time from its spec ({error}). {mend}") from error


def _spec_of_twin(spec: EnvSpec) -> EnvSpec:
    """
    The same environment without a window or SB3's monitor, and without teachers, who answer the agent's steps alone.

    A teacher whose score is part of the reward stays: the expert's steps are paid by it too.
    """
    feedback = f"{FeedbackWrapper.__module__}:{FeedbackWrapper.__name__}"

    def is_needed(wrapper: WrapperSpec) -> bool:
        if wrapper.entry_point == f"{Monitor.__module__}:{Monitor.__name__}":
            return False
        return wrapper.entry_point != feedback or (wrapper.kwargs or {}).get("score_as_reward") is not None

    kwargs = {key: value for key, value in spec.kwargs.items() if key != "render_mode"}
    return replace(spec, kwargs=kwargs, additional_wrappers=tuple(filter(is_needed, spec.additional_wrappers)))


def same_observation(first: Any, second: Any) -> bool:
    """Whether two observations are equal, number by number."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_observation(first[key], second[key]) for key in first)
    return bool(np.array_equal(first, second, equal_nan=np.asarray(first).dtype.kind == "f"))
