"""The Gaussian policy with a spread of its own in each state."""

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import ToyEnv, box_expert

import nlf_sb3
from nlf_sb3.algorithms import SoftplusGaussianPolicy


@pytest.mark.parametrize("algorithm", ["A2C", "PPO", "TRPO"])
def test_it_learns_in_algorithms_that_log_the_spread_of_others(algorithm):
    model = getattr(nlf_sb3, algorithm)(SoftplusGaussianPolicy, ToyEnv(), expert=box_expert, n_steps=16, device="cpu", seed=0)
    before = model.policy.action_net.weight.clone()
    model.learn(32)
    assert th.isfinite(model.policy.action_net.weight).all()
    assert not th.equal(before, model.policy.action_net.weight)


def test_its_spread_is_the_softplus_of_its_output():
    space = gym.spaces.Box(-1, 1, (2,), np.float32)
    policy = SoftplusGaussianPolicy(gym.spaces.Box(-1, 1, (3,), np.float32), space, lambda _: 0.0)
    assert not hasattr(policy, "log_std")
    with th.no_grad():
        policy.action_net.weight.zero_()
        policy.action_net.bias.copy_(th.tensor([0.5, -0.5, 0.0, 1.0]))
        distribution = policy.get_distribution(th.zeros(1, 3)).distribution
    assert distribution.mean.tolist() == [[0.5, -0.5]]
    assert distribution.stddev[0].tolist() == pytest.approx([np.log(2), np.log1p(np.e)], abs=1e-5)
