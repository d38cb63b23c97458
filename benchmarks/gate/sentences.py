"""A tiny language model and a user who shows the expected response: the cases of generation as an MDP of tokens."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3.language import ByteTokenizer, CausalLMPolicy, TokenEpisodeBuffer, TokenLevel, TokenRolloutBuffer


class Asker(gym.Env):
    """Asks one of two questions; a response's reward is its length, and the expected one comes in the info."""

    observation_space = spaces.Text(100)
    action_space = spaces.Text(100)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._question = ("hi", "hello there")[int(self.np_random.integers(2))]
        return self._question, {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return self._question, float(len(action)), True, False, {"expected_response": "ok"}


def token_worlds(algorithm: str, **settings: Any) -> Any:
    """
    :param algorithm: "REINFORCE" or "PPO"
    :param settings: More arguments
    :return: An untrained model of a tiny language model
    """
    env = DummyVecEnv([lambda: TokenLevel(Asker(), ByteTokenizer(), max_new_tokens=6, context_length=24)] * 2)
    own: dict[str, Any] = {
        "REINFORCE": {"n_episodes": 4, "rollout_buffer_class": TokenEpisodeBuffer},
        "PPO": {"n_steps": 12, "batch_size": 4, "n_epochs": 1, "rollout_buffer_class": TokenRolloutBuffer},
    }
    arguments = {"seed": 1, "gamma": 1.0, "device": "cpu", **own[algorithm], **settings}
    return getattr(nlf_sb3, algorithm)(CausalLMPolicy, env, **arguments)
