"""A small environment with action masks, its expert, and tiny settings of sb3-contrib's algorithms, shared by their tests."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from helpers import EXPERTS, Capture, ToyEnv, discrete_expert, teacher
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import FeedbackWrapper
from nlf_sb3.seeding import derived_generator

LSTM = {"net_arch": [8], "lstm_hidden_size": 8}


def masks_of(observations: Any) -> np.ndarray:
    """What :class:`MaskedToy` allows, by its observations: choice 1 always, 0 and 2 not everywhere. ``[n, 3]``."""
    third = np.asarray(observations)[:, 2]
    return np.stack([third < 0.3, np.ones_like(third, dtype=bool), third > -0.3], axis=1)


def masked_expert(observations: np.ndarray) -> np.ndarray:
    """``discrete_expert`` where :class:`MaskedToy` allows it, else the choice that is always allowed."""
    wished = discrete_expert(observations)
    return np.where(masks_of(observations)[np.arange(len(wished)), wished], wished, 1)


class MaskedToy(ToyEnv):
    """A :class:`ToyEnv` with masks. With ``is_strict``, a forbidden action is an error."""

    def __init__(self, *args: Any, is_strict: bool = False, **kwargs: Any):
        super().__init__("discrete", *args, **kwargs)
        self.is_strict = is_strict

    def action_masks(self) -> np.ndarray:
        return masks_of(self.state.astype(np.float32)[None])[0]

    def step(self, action: Any):
        assert not self.is_strict or self.action_masks()[action], "the environment got an action that its mask forbids"
        return super().step(action)


gym.register("NLFToyMasked-v0", MaskedToy, kwargs={"is_strict": True})

ALL_EXPERTS = {**EXPERTS, "masked": masked_expert}


def toy(action: str, **kwargs: Any) -> gym.Env:
    """
    :param action: "box", "discrete" or "masked"
    :param kwargs: As in ToyEnv
    """
    return MaskedToy(is_strict=True, **kwargs) if action == "masked" else ToyEnv(action, **kwargs)


def vec_env(action: str, n_envs: int = 2, **labels: Any) -> DummyVecEnv:
    """Toy environments; with keyword arguments, each with a teacher."""

    def one() -> gym.Env:
        env = toy(action)
        return FeedbackWrapper(env, teacher(ALL_EXPERTS[action], **labels)) if labels else env

    return DummyVecEnv([one] * n_envs)


def make(algorithm: str, env: Any, package: Any = nlf_sb3.algorithms, **kwargs: Any) -> Any:
    """A model of ours, or of ``package``'s, with a tiny network."""
    policy = "MlpLstmPolicy" if algorithm == "RecurrentPPO" else "MlpPolicy"
    network = LSTM if algorithm == "RecurrentPPO" else {"net_arch": [8]}
    own = {} if algorithm == "TRPO" else {"n_epochs": 2}
    settings = {"n_steps": 16, "batch_size": 8, "seed": 1, "device": "cpu", **own, **kwargs}
    settings["policy_kwargs"] = {**network, **kwargs.get("policy_kwargs", {})}
    return getattr(package, algorithm)(policy, env, **settings)


SGD = {"optimizer_class": th.optim.SGD}
"""The step of Adam hardly depends on the gradient's size, and would hide a wrong scale."""


class ContribCapture(Capture):
    """Besides rollouts, which rows started an episode (flat), its injected rows as the update will get
    them, and the learner's own generator before it deals out those of the first rollout."""

    def _on_rollout_end(self) -> None:
        super()._on_rollout_end()
        rollout: Any = self.rollouts[-1]
        rollout.starts = self.model.rollout_buffer.episode_starts.T.flatten().astype(bool)
        rollout.injected = self.model.feedback.injection.rows()
        rollout.feedback_rng = derived_generator(self.model.seed, "feedback")


def learn(model: Any, n_rollouts: int = 1, **kwargs: Any) -> list[Any]:
    """Train on n rollouts; returns them as they were before their updates."""
    capture = ContribCapture()
    model.learn(model.n_steps * model.n_envs * n_rollouts, callback=capture, **kwargs)
    assert len(capture.rollouts) == n_rollouts
    return capture.rollouts
