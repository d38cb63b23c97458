"""Episodes in which the expert acts for a stretch in the agent's own environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from nlf_sb3.feedback import EXECUTED_ACTION_KEY, EXECUTED_LOG_PROB_KEY, TAKEOVER_KEY
from nlf_sb3.infos import Takeover, add_error, copy_value, describe_error
from nlf_sb3.teachers.experts import Expert, single_row
from nlf_sb3.wrappers.asking import MaskReader, ask_expert


class TakenOverEpisodes:
    """
    Plays episodes in one environment, in which some steps are the expert's and the rest the agent's.

    A step of the expert's is marked by a :class:`~nlf_sb3.infos.Takeover`, which alone tells the algorithm of it. For people
    to read it has ``info["executed_action"]``, and ``info["executed_log_prob"]`` if the expert knows it. Where the expert
    fails, the agent's action is executed, and ``info["feedback_error"]`` says why.

    :param env: The environment
    :param expert: The expert
    """

    def __init__(self, env: gym.Env, expert: Expert) -> None:
        self._env = env
        self._expert = expert
        self._action_space = env.action_space
        self._action_masks = MaskReader(env)

    def begin(self, seed: int | None, options: dict[str, Any] | None, experts_steps: range) -> tuple[Any, dict[str, Any]]:
        """
        :param seed: As in Gymnasium
        :param options: As in Gymnasium
        :param experts_steps: Which steps of the episode are the expert's, from 0
        :return: As Gymnasium's ``reset``
        """
        self._experts_steps = experts_steps
        self._step = 0
        observation, info = self._env.reset(seed=seed, options=options)
        self._observation = copy_value(observation)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """
        :param action: The agent's action, which the expert's replaces in its own steps
        :return: As Gymnasium's ``step``
        """
        added: dict[str, Any] = {}
        failure = None
        if self._step in self._experts_steps:
            try:
                action, added = self._experts_action()
            except Exception as error:  # the algorithm raises it, with the environment's index
                failure = describe_error(error, f"expert that took over, episode step {self._step}")
        observation, reward, terminated, truncated, info = self._env.step(copy_value(action))
        info = {**info, **added}
        if failure is not None:
            add_error(info, failure)
        self._observation = copy_value(observation)
        self._step += 1
        return observation, reward, terminated, truncated, info

    def _experts_action(self) -> tuple[Any, dict[str, Any]]:
        masks = self._action_masks()
        action = ask_expert(self._expert, self._observation, self._action_space, masks)
        own_masks = None if masks is None else masks[None]
        log_probs = self._expert.log_density(single_row(self._observation), action[None], own_masks)
        log_prob = None if log_probs is None else float(log_probs[0])
        added: dict[str, Any] = {EXECUTED_ACTION_KEY: copy_value(action), TAKEOVER_KEY: Takeover(copy_value(action), log_prob)}
        if log_prob is not None:
            added[EXECUTED_LOG_PROB_KEY] = log_prob
        return action, added
