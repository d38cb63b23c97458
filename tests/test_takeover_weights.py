"""What rows of takeovers count in an update: totals, the scale of their advantages, and the critic's share."""

from __future__ import annotations

import copy
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import ScriptEnv, assert_same_model, cartpole_expert
from learners import learner, noticing
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import Injection, TrajectoryInjection
from nlf_sb3.adapters.surrogate import SurrogateBatch
from nlf_sb3.config import as_injection


def cartpole(p=0.15, n_envs=1, **kwargs):
    return DummyVecEnv([lambda: TrajectoryInjection(gym.make("CartPole-v1"), cartpole_expert, p, **kwargs)] * n_envs)


# --- totals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coef", [1.0, 0.3])
@pytest.mark.parametrize("factor", [1, 4, 8])
def test_trpo_s_agent_and_expert_have_their_totals_at_any_sub_sampling(factor, coef, monkeypatch):
    made = []

    class Watched(SurrogateBatch):
        def __init__(self, policy, buffer, terms, **settings):
            super().__init__(policy, buffer, terms, **settings)
            self.buffer, self.executed = buffer, terms.interventions.executed

        def rows(self, samples):
            dealt = self.buffer.last_batch
            # With every advantage one, a row's weight is what it counts in the objective.
            ones = samples._replace(advantages=th.ones_like(samples.advantages))
            made.append((super().rows(ones).weights.numpy(), self.executed[dealt.rows[::factor]]))
            self.buffer.last_batch = dealt
            return super().rows(samples)

    monkeypatch.setattr("nlf_sb3.adapters.trust_region.SurrogateBatch", Watched)
    env = cartpole(0.1, n_envs=4, mode="takeover", max_segment_steps=12)
    model = learner("TRPO", env, n_steps=32, sub_sampling_factor=factor, injection=Injection(coef=coef))
    model.learn(384)
    assert len(made) == 3
    for weights, executed in made:
        assert 0 < executed.sum() < len(executed)
        assert weights[~executed].sum() == pytest.approx(1.0, rel=1e-5)
        assert 0 < weights[executed].sum() <= coef * (1 + 1e-5)  # less where the expert did badly


# --- the scale of advantages ---------------------------------------------------------------------------


def watched_ppo(env, **kwargs):
    """PPO, which keeps every rollout's advantages as they are trained on."""

    def keep(model):
        model.__dict__.setdefault("trained_on", []).append(model.rollout_buffer.advantages.copy())

    class Watched(noticing(nlf_sb3.PPO, keep)):
        def _excluded_save_params(self):
            return [*super()._excluded_save_params(), "trained_on"]

    return learner("PPO", env, subclass=Watched, n_steps=32, batch_size=32, **kwargs)


@pytest.mark.parametrize("normalizes", [True, False])
def test_where_the_agent_has_not_acted_yet_the_expert_s_rows_have_their_own_scale(normalizes):
    model = watched_ppo(cartpole(1.0, n_envs=2, mode="takeover"), normalize_advantage=normalizes)
    model.learn(64)
    advantages = model.trained_on[0].swapaxes(0, 1).reshape(-1, 1)
    buffer = model.rollout_buffer  # flat by now
    raw = buffer.returns - buffer.values
    mean, std = raw.mean(), raw.std(ddof=1)
    assert buffer.executed.all()
    expected = np.clip(raw, mean - 5 * std, mean + 5 * std)
    assert advantages == pytest.approx((expected - mean) / std if normalizes else expected, abs=1e-4)


def test_one_outlier_of_the_expert_s_is_bounded_by_the_expert_s_own_scale():
    model = watched_ppo(cartpole(1.0, mode="takeover"))
    scale = model.feedback.interventions.scale(np.zeros(1, np.float32), np.array([1.0] * 99 + [1000.0], np.float32))
    assert (scale.mean, scale.std) == pytest.approx((10.99, 99.9), rel=1e-5)
    assert scale.bounded(th.tensor([1000.0])).item() == pytest.approx(10.99 + 5 * 99.9, rel=1e-5)
    assert model.feedback.interventions.scale(np.zeros(0), np.ones(1)).safe_std == 1.0


def test_a_resumed_run_keeps_to_the_scale_of_the_agent_s_last_rows(tmp_path):
    model = watched_ppo(cartpole(0.1, n_envs=2, mode="takeover", max_segment_steps=8)).learn(64)
    assert not model.rollout_buffer.executed.all()
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", device="cpu")
    for each in (model, loaded):
        each.set_env(cartpole(1.0, n_envs=2, mode="takeover"))
        each.set_random_seed(3)
        each.learn(64)
        assert each.rollout_buffer.executed.all()
    assert np.array_equal(model.trained_on[-1], loaded.trained_on[-1])
    assert abs(loaded.trained_on[-1].mean()) > 1e-3  # not the expert's own scale
    assert_same_model(model, loaded)


# --- the critic ----------------------------------------------------------------------------------------


class OneEpisode(ScriptEnv):
    """Its episodes are all the same, so that a twin's rows are those of a takeover from the first step on."""

    def __init__(self):
        super().__init__(0, [7])

    def reset(self, **kwargs):
        self.episode = -1
        return super().reset(**kwargs)


def always_one(observations):
    return np.ones(len(observations), np.int64)


def critic_pull(algorithm, mode, *, injection, **kwargs):
    """How much more Injection(vf_coef=0.3) than 0 moves the critic's last layer in one step of SGD, over the step's length."""
    own = {"A2C": {"use_rms_prop": False}, "PPO": {"batch_size": 14, "n_epochs": 1}, "REINFORCE": {"baseline": True}}[
        algorithm
    ]
    length = {"n_episodes": 2} if algorithm == "REINFORCE" else {"n_steps": 14}
    twin = {"twin": OneEpisode} if mode == "fork" else {}
    layers = []
    for vf_coef in (0.3, 0.0):
        env = DummyVecEnv([lambda: TrajectoryInjection(OneEpisode(), always_one, 1.0, mode=mode, **twin)])
        settings = {
            "gamma": 0.9,
            "max_grad_norm": 1e9,
            "learning_rate": 0.01,
            "injection": replace(as_injection(injection), vf_coef=vf_coef),
        }
        sgd = {"optimizer_class": th.optim.SGD}
        model = learner(algorithm, env, policy_kwargs=sgd, **{**settings, **own, **length, **kwargs})
        before = copy.deepcopy(model.policy)
        model.learn(14)
        layers.append(th.cat([parameter.detach().flatten() for parameter in model.policy.value_net.parameters()]))
    return (layers[1] - layers[0]).numpy() / 0.01, before


def pull_by_hand(policy, is_sum):
    observations = th.tensor([[0.0, 0.0, float(step)] for step in range(7)] * 2)
    rewards = [1.0 + 0.1 * step**2 for step in range(7)]
    returns = th.tensor([sum(0.9 ** (k - t) * rewards[k] for k in range(t, 7)) for t in range(7)] * 2)
    errors = (policy.predict_values(observations).flatten() - returns) ** 2
    gradients = th.autograd.grad(0.3 * (errors.sum() if is_sum else errors.mean()), list(policy.value_net.parameters()))
    return th.cat([gradient.flatten() for gradient in gradients]).numpy()


@pytest.mark.parametrize(("injection", "coef"), [("bounded", 0.0), ("bounded", 2.0), ("plain", 1.0)])
@pytest.mark.parametrize("mode", ["fork", "takeover"])
@pytest.mark.parametrize(
    ("algorithm", "own"),
    [
        ("A2C", {"vf_coef": 0.5, "gae_lambda": 1.0}),
        ("PPO", {"vf_coef": 2.0, "gae_lambda": 1.0}),
        ("REINFORCE", {"loss_reduction": "mean"}),
        ("REINFORCE", {"loss_reduction": "sum"}),
    ],
    ids=["A2C", "PPO", "REINFORCE mean", "REINFORCE sum"],
)
def test_the_critic_s_share_is_a_mean_over_the_expert_s_rows_whatever_else_is_set(algorithm, own, mode, injection, coef):
    pull, policy = critic_pull(algorithm, mode, injection=replace(as_injection(injection), coef=coef), **own)
    assert pull == pytest.approx(pull_by_hand(policy, own.get("loss_reduction") == "sum"), rel=2e-3, abs=2e-4)


def test_an_update_of_their_own_gives_the_critic_the_same_share():
    pull, policy = critic_pull("A2C", "fork", injection="separate", vf_coef=0.0)
    assert pull == pytest.approx(pull_by_hand(policy, False), rel=2e-3, abs=2e-4)


@pytest.mark.parametrize(("algorithm", "own"), [("PPO", {"vf_coef": 0.0}), ("REINFORCE", {"baseline": False})])
def test_takeovers_without_a_value_loss_can_t_reach_the_critic(algorithm, own):
    settings = {
        "injection": Injection(vf_coef=0.5),
        **own,
        **({"normalize_returns": False} if algorithm == "REINFORCE" else {}),
    }
    model = learner(algorithm, cartpole(mode="takeover"), **settings)
    with pytest.raises(ValueError, match=r"injection.vf_coef: got 0.5 where the value loss has no weight.*positive value"):
        model.learn(14)
