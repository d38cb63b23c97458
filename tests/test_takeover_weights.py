"""What rows of takeovers count in an update: totals, the scale of their advantages, and the critic's share."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import assert_same_model, cartpole_expert
from learners import learner
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import TrajectoryInjection
from nlf_sb3.algorithms.trust_region import SurrogateBatch


def cartpole(p=0.15, n_envs=1, **kwargs):
    return DummyVecEnv([lambda: TrajectoryInjection(gym.make("CartPole-v1"), cartpole_expert, p, **kwargs)] * n_envs)


# --- totals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("injection_coef", [1.0, 0.3])
@pytest.mark.parametrize("factor", [1, 4, 8])
def test_trpo_s_agent_and_expert_have_their_totals_at_any_sub_sampling(factor, injection_coef, monkeypatch):
    made = []
    make_rows = SurrogateBatch.rows

    def watched_rows(batch, samples):
        dealt = batch._buffer.last_batch
        # With every advantage one, a row's weight is what it counts in the objective.
        ones = samples._replace(advantages=th.ones_like(samples.advantages))
        made.append((make_rows(batch, ones).weights.numpy(), batch._update.weights.executed[dealt.rows[::factor]]))
        batch._buffer.last_batch = dealt
        return make_rows(batch, samples)

    monkeypatch.setattr(SurrogateBatch, "rows", watched_rows)
    env = cartpole(0.1, n_envs=4, mode="takeover", max_segment_steps=12)
    model = learner("TRPO", env, n_steps=32, sub_sampling_factor=factor, injection_coef=injection_coef)
    model.learn(384)
    assert len(made) == 3
    for weights, executed in made:
        assert 0 < executed.sum() < len(executed)
        assert weights[~executed].sum() == pytest.approx(1.0, rel=1e-5)
        assert 0 < weights[executed].sum() <= injection_coef * (1 + 1e-5)  # less where the expert did badly


# --- the scale of advantages ---------------------------------------------------------------------------


def watched_ppo(env, **kwargs):
    """PPO, which keeps every rollout's advantages as they are trained on."""

    class Watched(nlf_sb3.PPO):
        def _train_original(self):
            self.__dict__.setdefault("trained_on", []).append(self.rollout_buffer.advantages.copy())
            super()._train_original()

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
    scale = model._takeover_scale(np.zeros(1, np.float32), np.array([1.0] * 99 + [1000.0], np.float32))
    assert (scale.mean, scale.std) == pytest.approx((10.99, 99.9), rel=1e-5)
    assert scale.bounded(th.tensor([1000.0])).item() == pytest.approx(10.99 + 5 * 99.9, rel=1e-5)
    assert model._takeover_scale(np.zeros(0), np.ones(1)).safe_std == 1.0


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
