"""Skipping the value network changes nothing but the time."""

import pytest
import torch as th

from nlf_sb3 import REINFORCE
from nlf_sb3.algorithms.skip_value_net import skip_value_net
from tests.helpers import ToyEnv, assert_same_model, box_expert


def reinforce(action, **arguments):
    return REINFORCE("MlpPolicy", ToyEnv(action), n_episodes=4, batch_size=2, seed=1, device="cpu", **arguments)


@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("net_arch", [[64, 64], [], {"pi": [4], "vf": []}], ids=str)
def test_training_is_the_same_bit_for_bit(action, net_arch):
    arguments = {"policy_kwargs": {"net_arch": net_arch}, "expert": box_expert if action == "box" else None}
    skipped = reinforce(action, **arguments).learn(100)
    plain = reinforce(action, **arguments)
    plain.skip_value_net = False
    assert_same_model(skipped, plain.learn(100))


def test_a_baseline_is_not_skipped():
    model = reinforce("box", baseline=True)
    before = model.policy.value_net.weight.clone()
    assert not th.equal(model.learn(100).policy.value_net.weight, before)


def test_the_value_network_is_back_even_after_an_error():
    policy = reinforce("box").policy
    observations = th.ones(3, 3)
    values = policy.predict_values(observations)
    with skip_value_net(policy):
        idle, log_prob, _ = policy.evaluate_actions(observations, th.zeros(3, 2))
    assert th.equal(idle, policy.value_net.bias.expand(3, 1))
    with pytest.raises(RuntimeError, match="shape"), skip_value_net(policy):
        policy.evaluate_actions(th.ones(3, 4), th.zeros(3, 2))
    again, log_prob_again, _ = policy.evaluate_actions(observations, th.zeros(3, 2))
    assert th.equal(again, values)
    assert th.equal(log_prob, log_prob_again)
