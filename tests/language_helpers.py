"""A text environment whose every turn is scripted, and small models on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import PPO, REINFORCE
from nlf_sb3.language import ByteTokenizer, CausalLMPolicy, TokenEpisodeBuffer, TokenLevel, TokenRolloutBuffer
from nlf_sb3.language.contexts import EMPTY

BYTES = ByteTokenizer()
EOS = BYTES.eos
LORA = {"r": 4, "init_lora_weights": False, "target_modules": ["q_proj", "v_proj"]}


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


def policy(**kwargs: Any) -> CausalLMPolicy:
    env = token_env()
    th.manual_seed(0)
    return CausalLMPolicy(env.observation_space, env.action_space, lambda _: 1e-2, **kwargs)


def enliven(policy: CausalLMPolicy, seed: int = 1) -> CausalLMPolicy:
    """Weights far enough from the start that distributions differ from state to state, and values from 0."""
    generator = th.Generator().manual_seed(seed)
    with th.no_grad():
        for parameter in policy.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * th.randn(parameter.shape, generator=generator)
    return policy


def passes_of(policy: CausalLMPolicy) -> list[tuple[int, int]]:
    """A list that gets the rows of each pass of a policy's language model from now on, and their tokens that are computed."""
    passes: list[tuple[int, int]] = []
    embeddings = policy.language_model.get_input_embeddings()
    embeddings.register_forward_hook(lambda module, inputs, output: passes.append(tuple(output.shape[:2])))
    return passes


def padded(*rows: list[int], length: int = 24) -> np.ndarray:
    array = np.full((len(rows), length), EMPTY, dtype=np.int64)
    for row, tokens in zip(array, rows, strict=True):
        row[: len(tokens)] = tokens
    return array


def save_llama(folder: Any, generation: dict[str, Any] | None = None, vocab_size: int = 258, spread: float = 8.0) -> str:
    """A small model whose next token depends on the text, in a folder with such a generation_config.json."""
    import transformers

    config = transformers.LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=EOS,
    )
    th.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    with th.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter *= spread
    model.save_pretrained(folder)
    if generation is not None:
        (Path(folder) / "generation_config.json").write_text(json.dumps(generation))
    return str(folder)
