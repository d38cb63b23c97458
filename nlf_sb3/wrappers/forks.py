"""Episodes that are played on in a twin: by the expert, from where it forked off."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np

from nlf_sb3.errors import FeedbackError, TwinError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY
from nlf_sb3.infos import add_error, copy_value, describe_error, failure_of
from nlf_sb3.seeding import derived_generator
from nlf_sb3.segments import ExpertSegment, rows_from, stack_observations
from nlf_sb3.teachers.experts import Expert
from nlf_sb3.wrappers.asking import MaskReader, ask_expert
from nlf_sb3.wrappers.feedback import FeedbackWrapper
from nlf_sb3.wrappers.twins import same_observation

Step = tuple[Any, Any, bool, bool, dict[str, Any]]


def _pays_scores(env: gym.Env) -> bool:
    """Whether a teacher's scores are part of the reward."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, FeedbackWrapper) and env.score_as_reward is not None:
            return True
        env = env.env
    return False


class ForkedEpisodes:
    """
    Plays the agent's episodes in one environment, and the expert's ends of them in its twin.

    :param env: The agent's environment
    :param twin: Its twin
    :param expert: The expert
    :param max_segment_steps: Cut the expert's part after this many steps
    """

    def __init__(self, env: gym.Env, twin: gym.Env, expert: Expert, max_segment_steps: int | None) -> None:
        self._env = env
        self._twin = twin
        self._expert = expert
        self._max_segment_steps = max_segment_steps
        self._action_space = env.action_space  # every wrapper passes the question on, at each step
        self._action_masks = MaskReader(twin)
        self._seed_rng = derived_generator(None, "episodes")
        self._is_scored = _pays_scores(env)

    def begin(self, seed: int | None, options: dict[str, Any] | None, fork_step: int) -> tuple[Any, dict[str, Any]]:
        """
        Reset the agent's environment with a seed that the twin can be reset with too.

        :param seed: Seeds the generator of these seeds, if given
        :param options: As in Gymnasium
        :param fork_step: How many steps the expert shares
        :return: As Gymnasium's ``reset``
        """
        if seed is not None:
            self._seed_rng = derived_generator(seed, "episodes")
        self._episode_seed = int(self._seed_rng.integers(2**31))
        self._options = copy.deepcopy(options)  # an environment may take from them what it has read
        self._fork_step = fork_step
        self._prefix: list[Any] = []
        self._prefix_rewards: list[float] = []
        self._step = 0
        observation, info = self._env.reset(seed=self._episode_seed, options=options)
        self._fork_observation = copy_value(observation) if fork_step == 0 else None
        return observation, info

    def step(self, action: Any) -> Step:
        """
        Step the agent's environment; on its last step the expert plays in the twin.

        :param action: The agent's action
        :return: As Gymnasium's ``step``
        """
        is_shared = self._step < self._fork_step
        if is_shared:
            self._prefix.append(copy_value(action))
        observation, reward, terminated, truncated, info = self._env.step(copy_value(action))
        if is_shared:
            self._prefix_rewards.append(float(reward))
        info = dict(info)  # an environment may hand out the same dict at every step
        self._step += 1
        done = terminated or truncated
        if self._step == self._fork_step and not done:
            self._fork_observation = copy_value(observation)
        if done and self._fork_observation is not None:
            observation = copy_value(observation)  # the twin may write into an array that both have
            try:
                info[EXPERT_SEGMENT_KEY] = self._play_segment()
            except Exception as error:  # the algorithm raises it, with the environment's index
                add_error(info, describe_error(error, f"trajectory injection, fork step {self._fork_step}"))
        return observation, reward, terminated, truncated, info

    def _play_segment(self) -> ExpertSegment:
        """Replay the prefix on the twin, check that it stands where the agent stood, let the expert go on."""
        observation, _ = self._twin.reset(seed=self._episode_seed, options=copy.deepcopy(self._options))
        played = _Played()
        for action in self._prefix:
            if played.ended:
                break
            observation = played.step(self._twin, observation, action, self._action_masks())
        self._check_fork(observation, played.ended)
        self._check_rewards(played.rewards)
        while not played.ended and not self._is_cut(len(played.actions)):
            masks = self._action_masks()
            action = ask_expert(self._expert, observation, self._action_space, masks)
            observation = played.step(self._twin, observation, action, masks)
        return played.segment(observation, self._fork_step, self._expert, self._action_space)

    def _is_cut(self, n_steps: int) -> bool:
        return self._max_segment_steps is not None and n_steps - self._fork_step >= self._max_segment_steps

    def _check_fork(self, observation: Any, ended: bool) -> None:
        if ended or not same_observation(observation, self._fork_observation):
            came = "had ended" if ended else f"observed {observation}"
            raise TwinError(
                f"the twin left the agent's trajectory: after {self._fork_step} shared steps the agent observed "
                f"{self._fork_observation}, the twin {came}. Both were reset with seed {self._episode_seed}. "
                "Make the environment deterministic for a given reset seed, or pass twin=, a function that makes an "
                "exact copy of it."
            )

    def _check_rewards(self, rewards: list[float]) -> None:
        """Raise if the shared steps paid otherwise: what the expert gets would be in another scale than the agent's."""
        if self._is_scored:  # people needn't say the same again
            return
        own, its = np.array(self._prefix_rewards), np.array(rewards)
        differs = ~np.isclose(own, its, 1e-5, 1e-8, equal_nan=True)
        if differs.any():
            step = int(differs.argmax())
            raise TwinError(
                f"the twin's rewards are others than the agent's: at step {step} the agent got {own[step]:.6g}, the twin "
                f"{its[step]:.6g} for the same. A wrapper that normalises rewards by what it has met, such as "
                "NormalizeReward, meets others in the twin: use VecNormalize around the vectorised environment instead. "
                "Otherwise make rewards deterministic for a given reset seed."
            )


class _Played:
    """What happened on the twin, step by step."""

    def __init__(self) -> None:
        self.observations: list[Any] = []
        self.actions: list[Any] = []
        self.rewards: list[float] = []
        self.masks: list[np.ndarray] = []
        self.terminated = self.truncated = False

    @property
    def ended(self) -> bool:
        return self.terminated or self.truncated

    def step(self, twin: gym.Env, observation: Any, action: Any, masks: np.ndarray | None) -> Any:
        """Take a step from an observation. Returns the next one."""
        self.observations.append(copy_value(observation))
        self.actions.append(copy_value(action))
        if masks is not None:
            self.masks.append(masks)
        observation, reward, terminated, truncated, info = twin.step(action)
        failure = failure_of(info)
        if failure is not None:  # a teacher whose score is the expert's reward can't speak to the algorithm itself
            raise FeedbackError(f"on the expert's trajectory, {failure}")
        self.rewards.append(float(reward))
        self.terminated, self.truncated = bool(terminated), bool(truncated)
        return observation

    def segment(self, last_observation: Any, fork_step: int, expert: Expert, space: gym.Space) -> ExpertSegment:
        """All of it as a record. An agent's own MultiBinary actions are floats; the record has the space's dtype."""
        observations = stack_observations(self.observations)
        actions = np.stack(self.actions).astype(space.dtype, copy=False)
        masks = np.stack(self.masks) if self.masks else None
        own_masks = None if masks is None else masks[fork_step:]
        return ExpertSegment(
            observations=observations,
            actions=actions,
            rewards=np.array(self.rewards),
            terminated=self.terminated,
            truncated=self.truncated,
            last_observation=copy_value(last_observation),
            fork_step=fork_step,
            expert_log_probs=expert.log_density(rows_from(observations, fork_step), actions[fork_step:], own_masks),
            action_masks=masks,
        )
