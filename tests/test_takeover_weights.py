"""What rows of takeovers count in an update: totals, the scale of their advantages, and the critic's share."""

from __future__ import annotations

import gymnasium as gym
import pytest
import torch as th
from helpers import cartpole_expert
from learners import learner
from stable_baselines3.common.vec_env import DummyVecEnv

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
