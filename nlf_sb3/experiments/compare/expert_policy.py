"""An expert in the place of a Stable-Baselines3 policy, for libraries that ask one to act."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy

from nlf_sb3.teachers import Expert
from nlf_sb3.teachers.experts import n_rows


class ExpertPolicy(BasePolicy):
    """
    A policy whose every answer is an expert's, as the expert gives it, and that counts them.

    :param expert: The expert
    :param observation_space: Of the raw observations
    :param action_space: Of the actions
    """

    def __init__(self, expert: Expert, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        super().__init__(observation_space, action_space)
        self.expert = expert
        self.n_answers = 0

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """
        :param observation: Raw observations, ``[n, *obs_shape]`` or a dict of such
        :param state: Handed back
        :param episode_start: Not used
        :param deterministic: Not used: whether an expert samples is its own affair
        :return: Actions ``[n, *action_shape]``, and the state
        """
        self.n_answers += n_rows(observation)
        return self.expert.act(observation), state

    def _predict(self, observation: Any, deterministic: bool = False) -> th.Tensor:
        return th.as_tensor(self.expert.act(observation.cpu().numpy()))
