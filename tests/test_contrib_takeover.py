"""Takeovers in TRPO, RecurrentPPO and MaskablePPO: what the buffer holds of them, and what the critic doesn't."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch as th
from contrib_helpers import ALL_EXPERTS, SGD, ContribCapture, MaskedToy, make, toy
from contrib_networks import head, log_prob_of, network
from helpers import GaussianExpert, discrete_expert, step_by_hand, watch
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import FeedbackError, TrajectoryInjection
from nlf_sb3.algorithms import TRPO

N_STEPS, N_ENVS, GAMMA, LAMBDA = 32, 2, 0.9, 0.8
CASES = {
    "TRPO": ("TRPO", "box", {"n_critic_updates": 1}),
    "RecurrentPPO": ("RecurrentPPO", "box", {"n_epochs": 1}),
    "MaskablePPO": ("MaskablePPO", "masked", {"n_epochs": 1}),
}


class KnownExpert(GaussianExpert):
    """An expert that knows the density of what it did."""

    def log_prob(self, observations, actions):
        return self.distribution(observations).log_prob(th.as_tensor(actions)).numpy()


class TakeoverCapture(ContribCapture):
    """Besides rollouts, who acted in which row, and log pi_E (flat)."""

    def _on_rollout_end(self):
        super()._on_rollout_end()
        buffer, rollout = self.model.rollout_buffer, self.rollouts[-1]
        rollout.executed = buffer.executed.T.flatten()
        rollout.expert_log_probs = buffer.expert_log_probs.T.flatten()


def trained(case, expert=None, *, n_rollouts=1, **kwargs):
    algorithm, action, settings = CASES[case]
    expert = ALL_EXPERTS[action] if expert is None else expert
    takeover = {"mode": "takeover", "max_segment_steps": kwargs.pop("max_segment_steps", None)}
    env = DummyVecEnv([lambda: TrajectoryInjection(toy(action), expert, 0.2, **takeover)] * N_ENVS)
    defaults = {"n_steps": N_STEPS, "batch_size": 64, "learning_rate": 0.1, "gamma": GAMMA, "gae_lambda": LAMBDA}
    model = make(algorithm, env, policy_kwargs=SGD, **{**defaults, **settings, **kwargs})
    capture = TakeoverCapture()
    model.learn(N_STEPS * N_ENVS * n_rollouts, callback=capture)
    assert len(capture.rollouts) == n_rollouts
    assert 8 < capture.rollouts[-1].executed.sum() < len(capture.rollouts[-1]) - 8
    return model, *capture.rollouts


def outputs(model, *rollouts):
    """Values and the policy's distribution by hand, in the order of the update's one minibatch, and that order."""
    rollout = rollouts[-1]
    if isinstance(model, TRPO):
        policy, observations = rollout.policy, rollout.observations
        values = policy.value_net(policy.mlp_extractor.forward_critic(observations)).flatten()
        return values, head(policy, policy.mlp_extractor.forward_actor(observations)), np.arange(len(rollout))
    by_hand = network(model, list(rollouts))
    (rows,) = by_hand.batches()
    return *by_hand(rows), rows


@pytest.mark.parametrize("n_rollouts", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_rows_hold_what_was_executed_with_the_policys_log_probability_of_it(case, n_rollouts):
    """In the second rollout a recurrent policy's hidden states go on from the first one's."""
    model, *rollouts = trained(case, n_rollouts=n_rollouts)
    rollout = rollouts[-1]
    carries_over = rollout.executed & ~rollout.starts & (np.arange(len(rollout)) % N_STEPS == 0)
    assert n_rollouts == 1 or carries_over.any()
    _, distribution, rows = outputs(model, *rollouts)
    asked = ALL_EXPERTS[CASES[case][1]](rollout.observations.numpy())
    executed = rollout.executed
    assert np.allclose(rollout.actions.numpy().reshape(asked.shape)[executed], asked[executed], atol=1e-6)
    expected = np.empty(len(rollout))
    expected[rows] = log_prob_of(distribution, rollout.actions[rows]).detach().numpy()
    after_training = model.rollout_buffer.log_probs.flatten()
    assert after_training[executed] == pytest.approx(expected[executed], abs=1e-5)
    assert after_training[~executed] == pytest.approx(rollout.old_log_prob.numpy()[~executed])
    assert np.abs(expected - rollout.old_log_prob.numpy())[executed].max() > 1e-3, "the proposal's was another"
    assert model.num_expert_steps == sum(each.executed.sum() for each in rollouts)


@pytest.mark.parametrize("case", ["TRPO", "RecurrentPPO"])
def test_the_experts_own_log_probability_is_kept_beside_it(case):
    expert = KnownExpert()
    _, rollout = trained(case, expert)
    executed = rollout.executed
    actions = rollout.actions.numpy()[executed]
    expected = expert.log_prob(rollout.observations.numpy()[executed], actions)
    assert rollout.expert_log_probs[executed] == pytest.approx(expected, abs=1e-4)
    assert np.isnan(rollout.expert_log_probs[~executed]).all()


def returns_by_hand(rollout):
    """The agent's generalised advantages plus values; its part of an episode ends, and bootstraps, where the expert acts."""
    returns = np.zeros(len(rollout))
    rewards, values = rollout.rewards.numpy(), rollout.values.numpy()
    for env in range(N_ENVS):
        last = (env + 1) * N_STEPS - 1
        advantage = rollout.advantages[last].item()  # the last row's is its temporal difference
        returns[last] = advantage + values[last]
        for row in range(last - 1, env * N_STEPS - 1, -1):
            goes_on = not rollout.starts[row + 1]
            is_handed_over = rollout.executed[row + 1] and not rollout.executed[row]
            later = 0.0 if is_handed_over else GAMMA * LAMBDA * goes_on * advantage
            advantage = rewards[row] + GAMMA * goes_on * values[row + 1] - values[row] + later
            returns[row] = advantage + values[row]
    return returns


@pytest.mark.parametrize("max_segment_steps", [None, 2])
@pytest.mark.parametrize("injection", ["plain", "bounded"])
@pytest.mark.parametrize("case", CASES)
def test_the_critic_is_trained_on_the_agents_rows_alone(case, injection, max_segment_steps):
    unclipped = {} if case == "TRPO" else {"max_grad_norm": 1e9}
    model, rollout = trained(case, injection=injection, max_segment_steps=max_segment_steps, **unclipped)
    values, _, rows = outputs(model, rollout)
    errors = (values - th.as_tensor(returns_by_hand(rollout)[rows]).float())[~rollout.executed[rows]]
    step_by_hand(rollout.policy, (1.0 if case == "TRPO" else model.vf_coef) * (errors**2).mean(), None)
    compared = 0
    for name, by_hand in rollout.policy.state_dict().items():
        if "value" in name or "critic" in name:
            assert (model.policy.state_dict()[name] - by_hand).abs().max().item() < 1e-6, name
            compared += 1
    assert compared >= 4
    assert all(th.isfinite(parameter).all() for parameter in model.policy.parameters())


def test_an_expert_that_takes_over_with_a_forbidden_action_is_refused_by_name():
    def one():
        return TrajectoryInjection(MaskedToy(), discrete_expert, 0.2, mode="takeover")

    model = make("MaskablePPO", DummyVecEnv([one] * N_ENVS), n_steps=N_STEPS)
    with pytest.raises(
        FeedbackError, match=r"environment \d, step \d+: expert that took over, .*: it is \d, which .* forbids"
    ):
        model.learn(N_STEPS * N_ENVS)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_trpo_logs_no_value_loss_of_a_rollout_that_the_expert_played_alone():
    env = DummyVecEnv([lambda: TrajectoryInjection(toy("box"), ALL_EXPERTS["box"], 1.0, mode="takeover")] * N_ENVS)
    model = make("TRPO", env, n_steps=N_STEPS)
    watch(model)
    critic = copy.deepcopy(model.policy.value_net.state_dict())
    model.learn(N_STEPS * N_ENVS)
    assert "train/value_loss" not in model.logger.name_to_value
    assert np.isfinite(model.logger.name_to_value["train/policy_objective"])
    assert all(th.equal(critic[name], after) for name, after in model.policy.value_net.state_dict().items())
