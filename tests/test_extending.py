"""The examples of ``docs/extending.md`` run, and do what the page says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest
import stable_baselines3
import torch as th
from helpers import ToyEnv, box_expert
from learners import is_finite, learner, parameters_of
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import PPO, Imitation

PAGE = Path(__file__).resolve().parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def examples():
    """The names that the page's code defines."""
    module = types.ModuleType("extending")
    sys.modules["extending"] = module  # where dataclasses look for their module
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), vars(module))
    yield vars(module)
    del sys.modules["extending"]


def toy(**kwargs):
    return learner("PPO", DummyVecEnv([ToyEnv]), expert=box_expert, **kwargs)


def test_every_example_trains(examples):
    assert is_finite(examples["model"])
    assert issubclass(examples["CautiousA2C"], stable_baselines3.A2C)


def test_a_loss_of_ones_own_is_the_loss_that_trains(examples):
    def by_likelihood(distribution, actions, is_mode):
        return -distribution.log_prob(actions)

    def train(loss):
        return parameters_of(toy(imitation=Imitation(loss=loss, mode_trains_std=True), alpha=0.0).learn(24))

    assert th.allclose(train("nll"), train(by_likelihood), atol=1e-6)
    assert not th.allclose(train("nll"), train(examples["squared_error"]), atol=1e-4)


def test_a_squared_error_leaves_the_spread_alone(examples):
    model = toy(imitation=Imitation(loss=examples["squared_error"]), alpha=0.0, ent_coef=0.0)
    before = model.policy.log_std.detach().clone()
    model.learn(24)
    assert th.equal(model.policy.log_std, before)


def test_a_rule_of_ones_own_is_saved_with_the_model(examples, tmp_path):
    toy(imitation=Imitation(weights=[examples["OnlyBadSteps"](0.5)])).learn(12).save(tmp_path / "model.zip")
    (rule,) = PPO.load(tmp_path / "model.zip").imitation.weights
    assert (type(rule).__name__, rule.factor) == ("OnlyBadSteps", 0.5)
