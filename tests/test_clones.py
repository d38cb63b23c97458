"""Policies cloned from recorded rows, as experts."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import ToyEnv, cartpole_expert, discrete_expert
from imitation.data import rollout
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import Demonstrations, FeedbackError
from nlf_sb3.interop.imitation import clone, to_segments


def same_policy(first, second):
    return all(th.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def cartpole_rows():
    observations = np.random.default_rng(0).uniform(-0.2, 0.2, (1_000, 4)).astype(np.float32)
    return Demonstrations(observations, cartpole_expert(observations))


def test_a_clone_does_as_the_rows_do(cartpole_rows, tmp_path, monkeypatch, untouched_random_state):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    expert = clone(cartpole_rows, gym.make("CartPole-v1"), n_batches=300, deterministic=True)
    fresh = np.random.default_rng(1).uniform(-0.2, 0.2, (500, 4)).astype(np.float32)
    assert (expert.act(fresh) == cartpole_expert(fresh)).mean() > 0.95
    assert not list(tmp_path.glob("imitation*")), "imitation's own logger would have made a directory"


def test_clones_of_one_seed_are_the_same(cartpole_rows):
    first, second, other = (clone(cartpole_rows, gym.make("CartPole-v1"), n_epochs=1, seed=seed) for seed in (3, 3, 4))
    assert same_policy(first.policy, second.policy)
    assert not same_policy(first.policy, other.policy)
    np.testing.assert_array_equal(first.act(cartpole_rows.observations), second.act(cartpole_rows.observations))


@pytest.mark.parametrize("records", ["segments", "trajectories", "transitions"])
def test_clones_are_made_from_every_kind_of_record(records):
    venv = DummyVecEnv([lambda: ToyEnv("discrete", lengths=(4, 4))])
    until = rollout.make_sample_until(min_timesteps=None, min_episodes=12)
    policy = lambda obs, states, dones: (discrete_expert(obs), None)  # noqa: E731
    recorded = rollout.rollout(policy, venv, until, rng=np.random.default_rng(0), unwrap=False)
    segments = to_segments(recorded, observation_space=venv.observation_space, action_space=venv.action_space)
    given = {"segments": segments, "trajectories": recorded, "transitions": rollout.flatten_trajectories(recorded)}
    from_rows = clone(Demonstrations.from_segments(segments), venv, n_epochs=2)
    assert same_policy(clone(given[records], venv, n_epochs=2).policy, from_rows.policy)


def test_clones_of_dict_observations_and_box_actions():
    rng = np.random.default_rng(0)
    parts = {"a": rng.uniform(-1, 1, (400, 3)).astype(np.float32), "b": rng.uniform(-1, 1, (400, 2, 2)).astype(np.float32)}
    rows = Demonstrations(parts, 0.8 * parts["a"][:, :2])
    space = spaces.Dict({key: spaces.Box(-1.0, 1.0, value.shape[1:], np.float32) for key, value in parts.items()})
    actions = spaces.Box(-1.0, 1.0, (2,), np.float32)
    expert = clone(rows, observation_space=space, action_space=actions, n_batches=400, min_std=0.1, deterministic=True)
    assert np.abs(expert.act(rows.observations) - rows.actions).mean() < 0.1
    assert float(expert.policy.log_std.detach().exp().min()) >= 0.1 - 1e-6


def test_weights_decide_between_rows_that_disagree():
    observations, actions = np.zeros((40, 3), np.float32), np.repeat([0, 1, 2, 0], 10)
    rows = Demonstrations(observations, actions, weights=np.repeat([0.0, 1.0, 3.0, 0.0], 10))
    expert = clone(
        rows,
        observation_space=spaces.Box(-1.0, 1.0, (3,), np.float32),
        action_space=spaces.Discrete(3),
        n_epochs=300,
        ent_weight=0.0,
    )
    probabilities = expert.distribution(observations[:1]).distribution.probs[0]
    np.testing.assert_allclose(probabilities, [0.0, 0.25, 0.75], atol=0.08)


def test_what_cannot_be_cloned_is_refused(cartpole_rows):
    masked = replace(cartpole_rows, action_masks=np.ones((len(cartpole_rows), 2), bool))
    with pytest.raises(FeedbackError, match=r"takes no action masks.*MaskablePPO"):
        clone(masked, gym.make("CartPole-v1"), n_epochs=1)
    with pytest.raises(FeedbackError, match="both spaces"):
        clone(cartpole_rows)
    with pytest.raises(FeedbackError, match="all weights are 0"):
        clone(replace(cartpole_rows, weights=np.zeros(len(cartpole_rows))), gym.make("CartPole-v1"), n_epochs=1)
    with pytest.raises(ValueError, match="expected one of them"):
        clone(cartpole_rows, gym.make("CartPole-v1"), n_epochs=1, n_batches=1)
