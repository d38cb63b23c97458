"""A text environment whose every turn is scripted, and small models on it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import PPO, REINFORCE
from nlf_sb3.language import ByteTokenizer, CausalLMPolicy, TokenEpisodeBuffer, TokenLevel, TokenRolloutBuffer

BYTES = ByteTokenizer()
EOS = BYTES.eos


class ScriptedEnv(gym.Env):
    """
    Asks the prompts of a conversation one after another, and another conversation at each reset.

    A turn's reward is the length of the response, or 1 for the only right one; what else its info holds is given.
    """

    observation_space = spaces.Text(100)
    action_space = spaces.Text(100)

    def __init__(self, *conversations: tuple[str, ...], info: dict[str, Any] | None = None, right: str | None = None) -> None:
        self._conversations = conversations or (("hi",), ("hello there",))
        self._info = info or {}
        self._right = right
        self._n_resets = 0
        self.heard: list[str] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        self._prompts = self._conversations[self._n_resets % len(self._conversations)]
        self._n_resets += 1
        self._turn = 0
        return self._prompts[0], {"asked": self._prompts[0]}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        self.heard.append(action)
        self._turn += 1
        is_last = self._turn == len(self._prompts)
        reward = float(len(action) if self._right is None else action == self._right)
        return self._prompts[self._turn % len(self._prompts)], reward, is_last, False, dict(self._info)


def token_env(
    *conversations: tuple[str, ...], info: dict[str, Any] | None = None, right: str | None = None, **settings: Any
) -> TokenLevel:
    """A scripted environment of responses of at most 6 tokens."""
    settings = {"max_new_tokens": 6, "context_length": 24, **settings}
    return TokenLevel(ScriptedEnv(*conversations, info=info, right=right), BYTES, **settings)


def vec_env(n_envs: int = 2, *conversations: tuple[str, ...], **settings: Any) -> DummyVecEnv:
    return DummyVecEnv([lambda: token_env(*conversations, **settings)] * n_envs)


def reinforce(env: Any, policy_kwargs: dict[str, Any] | None = None, **settings: Any) -> REINFORCE:
    settings = {"n_episodes": 4, "seed": 1, "gamma": 1.0, "device": "cpu", **settings}
    return REINFORCE(CausalLMPolicy, env, rollout_buffer_class=TokenEpisodeBuffer, policy_kwargs=policy_kwargs, **settings)


def ppo(env: Any, policy_kwargs: dict[str, Any] | None = None, **settings: Any) -> PPO:
    settings = {"n_steps": 12, "batch_size": 2, "n_epochs": 1, "seed": 1, "gamma": 1.0, "device": "cpu", **settings}
    return PPO(CausalLMPolicy, env, rollout_buffer_class=TokenRolloutBuffer, policy_kwargs=policy_kwargs, **settings)
