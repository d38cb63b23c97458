"""Experts of graded quality: what is shipped, what it was measured to be, and the wrong ones beside it."""

import contextlib
import io
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import ToyEnv, passes_through_torch
from rich.console import Console
from rich.progress import Progress
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

import nlf_sb3
from nlf_sb3.experiments.compare import expert_recipe, experts
from nlf_sb3.experiments.compare.expert_recipe import choose, make_experts, measure
from nlf_sb3.experiments.compare.expert_training import Recipe, actor_of, blend_actors, save_actor
from nlf_sb3.experiments.compare.experts import (
    QUALITIES,
    NegatedExpert,
    RandomExpert,
    expert_return,
    make_expert,
    shipped_environments,
)
from nlf_sb3.teachers import CallableExpert, LQRExpert, PolicyExpert

SHIPPED = ["CartPole-v1", "Hopper-v5", "InvertedDoublePendulum-v5", "InvertedPendulum-v5"]
HERE = [env_id for env_id in SHIPPED if env_id in gym.registry]  # Gymnasium 0.29 has no v5
EVERY = [(env_id, name) for env_id in HERE for name in QUALITIES]


def observations_of(env_id, n=50):
    env = gym.make(env_id)
    env.observation_space.seed(0)
    observations = [env.reset(seed=seed)[0] for seed in range(n)]
    return np.stack(observations), env.action_space


def test_these_environments_have_experts():
    assert shipped_environments() == SHIPPED


@pytest.mark.parametrize(("env_id", "name"), EVERY)
def test_a_shipped_expert_is_small_and_acts_within_the_space(env_id, name):
    path = Path(nlf_sb3.__file__).parent / "assets" / "experts" / env_id / f"{name}.zip"
    assert path.stat().st_size < 40_000
    expert = make_expert(env_id, name, seed=1)
    observations, space = observations_of(env_id)
    actions = expert.act(observations)
    assert len(actions) == 50
    assert all(action in space for action in actions)
    assert expert.label == "mode"
    np.testing.assert_array_equal(actions, expert.act(observations))
    assert not passes_through_torch(expert.policy, lambda: expert.act(observations))
    sampling = make_expert(env_id, name, seed=1, deterministic=False)
    assert sampling.label == "sample"
    assert not np.array_equal(sampling.act(observations), sampling.act(observations))


@pytest.mark.parametrize(("env_id", "name"), EVERY)
def test_a_shipped_expert_returns_what_was_measured(env_id, name):
    path = Path(nlf_sb3.__file__).parent / "assets" / "experts" / env_id / experts.RETURNS_FILE
    measured = json.loads(path.read_text())
    assert measured["episodes"] == 100
    episodes = 10
    returns = measure(make_expert(env_id, name), env_id, episodes, seed=77)
    mean, std = measured["returns"][name]["mean"], measured["returns"][name]["std"]
    assert expert_return(env_id, name) == mean
    assert abs(returns.mean() - mean) < 4 * std * np.sqrt(1 / episodes + 1 / 100) + 0.02 * abs(mean)


@pytest.mark.parametrize("env_id", HERE)
def test_qualities_are_the_shares_that_their_names_say(env_id):
    best = expert_return(env_id, "100")
    for name in ("75", "50", "25"):
        assert abs(100 * expert_return(env_id, name) / best - int(name)) < 7
    for name in ("negated", "random"):
        assert expert_return(env_id, name) < 0.25 * best


def test_the_returns_of_unknown_experts_are_not_known():
    assert expert_return("CartPole-v1", "my.zip") is None
    assert expert_return("Acrobot-v1", "100") is None


def test_a_negated_expert_mirrors_a_box_at_its_middle():
    space = spaces.Box(np.array([-1.0, 0.0, -np.inf], np.float32), np.array([1.0, 4.0, 3.0], np.float32))
    expert = NegatedExpert(CallableExpert(lambda rows: np.array([[0.5, 1.0, 2.0]] * len(rows), np.float32), "sample"), space)
    actions = expert.act(np.zeros((2, 1)))
    np.testing.assert_array_equal(actions, [[-0.5, 3.0, -2.0]] * 2)
    assert actions.dtype == space.dtype
    assert expert.label == "sample"


@pytest.mark.parametrize(("n", "opposite"), [(2, [1, 0]), (3, [1, 2, 0]), (4, [2, 3, 0, 1])])
def test_a_negated_expert_takes_another_discrete_action(n, opposite):
    space = spaces.Discrete(n, start=5)
    expert = NegatedExpert(CallableExpert(lambda rows: 5 + np.arange(n)), space)
    np.testing.assert_array_equal(expert.act(np.zeros((n, 1))), 5 + np.array(opposite))


def test_a_negated_expert_refuses_other_spaces():
    with pytest.raises(ValueError, match="negated: got actions in MultiBinary"):
        NegatedExpert(CallableExpert(lambda rows: rows), spaces.MultiBinary(2))


def test_negated_is_the_opposite_of_the_best():
    observations, _ = observations_of("CartPole-v1")
    best, negated = make_expert("CartPole-v1", "100"), make_expert("CartPole-v1", "negated")
    np.testing.assert_array_equal(negated.act(observations), 1 - best.act(observations))


def test_a_random_expert_is_uniform_and_draws_from_its_own_generator():
    space = spaces.Box(np.array([-1.0, 0.0], np.float32), np.array([1.0, 4.0], np.float32))
    space.seed(3)
    drawn = spaces.Box(space.low, space.high, seed=3).sample()
    expert = RandomExpert(space, seed=1)
    actions = expert.act(np.zeros((2000, 3)))
    np.testing.assert_array_equal(space.sample(), drawn)  # nobody has drawn from it
    assert all(action in space for action in actions)
    np.testing.assert_allclose(actions.mean(axis=0), [0, 2], atol=0.1)
    np.testing.assert_allclose(actions.std(axis=0), np.array([2, 4]) / np.sqrt(12), atol=0.05)
    expert.seed(1)
    np.testing.assert_array_equal(expert.act(np.zeros((2000, 3))), actions)
    expert.seed(2)
    assert not np.array_equal(expert.act(np.zeros((2000, 3))), actions)


def test_random_and_lqr_need_no_weights():
    assert make_expert("Acrobot-v1", "random").act(np.zeros((4, 6))).shape == (4,)
    env_id = "InvertedPendulum-v5" if "InvertedPendulum-v5" in gym.registry else "InvertedPendulum-v4"
    assert isinstance(make_expert(env_id, "lqr"), LQRExpert)


def test_a_saved_model_is_an_expert(tmp_path):
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu")
    model.save(tmp_path / "mine.zip")
    expert = make_expert("CartPole-v1", str(tmp_path / "mine.zip"))
    observations, _ = observations_of("CartPole-v1")
    np.testing.assert_array_equal(expert.act(observations), model.predict(observations, deterministic=True)[0])
    with pytest.raises(ValueError, match=r"the observation_space of .*mine.zip is Box.*\(4,\).*expected Box.*\(6,\)"):
        make_expert("Acrobot-v1", str(tmp_path / "mine.zip"))


@pytest.mark.parametrize(
    ("env_id", "name", "error", "message"),
    [
        ("CartPole-v1", "best", ValueError, "got 'best' for CartPole-v1, expected 100, 75, 50, 25, negated, random, lqr or"),
        ("Acrobot-v1", "best", ValueError, "got 'best' for Acrobot-v1, expected random, lqr or the .zip of a saved model"),
        ("Acrobot-v1", "75", ValueError, "none of quality 75 is shipped for Acrobot-v1, only for CartPole-v1, Hopper-v5"),
        ("Acrobot-v1", "negated", ValueError, "none of quality 100 is shipped for Acrobot-v1"),
        ("Acrobot-v1", "lqr", ValueError, "is no Gymnasium MuJoCo environment"),
        ("CartPole-v1", "nowhere.zip", FileNotFoundError, "there is no nowhere.zip"),
        ("NoSuchEnv-v0", "random", ValueError, "Gymnasium can't make NoSuchEnv-v0: Environment `NoSuchEnv` doesn't exist"),
    ],
)
def test_errors_say_what_there_is_in_one_line(env_id, name, error, message):
    with pytest.raises(error) as caught:
        make_expert(env_id, name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_statistics_are_folded_into_the_actor(tmp_path):
    env = VecNormalize(make_vec_env(lambda: ToyEnv("box"), n_envs=2, seed=0))
    kwargs = {"net_arch": {"pi": [8, 4], "vf": [8]}}
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, policy_kwargs=kwargs, seed=0, device="cpu").learn(128)
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    expected, _ = model.predict(env.normalize_obs(rows), deterministic=True)
    actor = actor_of(model.policy, [8, 4], env)
    np.testing.assert_allclose(PolicyExpert(actor, deterministic=True).act(rows), expected, atol=1e-5)
    np.testing.assert_allclose(actor.log_std.detach(), model.policy.log_std.detach())
    assert not np.allclose(actor_of(model.policy, [8, 4], None).predict(rows, deterministic=True)[0], expected, atol=1e-3)


def test_an_actor_is_saved_with_fresh_spaces_and_nothing_else(tmp_path):
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu", policy_kwargs={"net_arch": [16, 16]})
    actor = actor_of(model.policy, [16, 16], None)
    save_actor(actor, "CartPole-v1", tmp_path / "actor.zip")
    loaded = PolicyExpert.load(tmp_path / "actor.zip", deterministic=True)
    observations, _ = observations_of("CartPole-v1")
    np.testing.assert_array_equal(loaded.act(observations), model.predict(observations, deterministic=True)[0])
    n_numbers = sum(value.numel() for value in loaded.policy.state_dict().values())
    assert n_numbers == (4 * 16 + 16) + (16 * 16 + 16) + (16 * 2 + 2) + (4 + 1)


def test_the_nearest_to_each_share_is_chosen():
    actual = [0, 9, 26, 48, 70, 77, 96, 100]
    rough = [0, 9, 26, 52, 75, 70, 100, 96]  # of few episodes
    asked = []

    def mean_return(index, episodes):
        asked.append(episodes)
        return (actual if episodes == 100 else rough)[index]

    chosen = choose(list(range(8)), mean_return)
    assert chosen == {"100": 7, "75": 5, "50": 3, "25": 2}
    assert asked.count(20) == asked.count(100) == 8  # each once


def test_a_share_that_training_jumped_over_is_found_in_between():
    chosen = choose([0.0, 3.0, 10.0, 8.0], lambda x, _: x * x, lambda first, second: (first + second) / 2)
    assert chosen["100"] == 10.0
    for name in ("25", "50", "75"):
        assert abs(chosen[name] ** 2 - int(name)) <= 3
    assert 8 < chosen["75"] < 10  # where the jump over it was smaller


def test_a_share_that_nobody_was_near_leaves_the_nearest():
    chosen = choose([7.0, 10.0], lambda x, _: x * x, lambda first, second: (first + second) / 2)
    assert chosen["25"] == 7.0


def test_a_blend_has_the_mean_weights_and_leaves_both_as_they_were():
    models = [PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu", seed=seed) for seed in (0, 1)]
    first, second = (actor_of(model.policy, [64, 64], None) for model in models)
    weights = first.action_net.weight.clone(), second.action_net.weight.clone()
    blended = blend_actors(first, second)
    th.testing.assert_close(blended.action_net.weight, (weights[0] + weights[1]) / 2)
    assert th.equal(first.action_net.weight, weights[0])
    assert th.equal(second.action_net.weight, weights[1])


def test_the_recipe_writes_what_it_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(expert_recipe.RECIPES, "CartPole-v1", Recipe(512, 1e-3, (8,), 32))
    with contextlib.closing(io.StringIO()) as file, Progress(console=Console(file=file)) as progress:
        make_experts("CartPole-v1", tmp_path, progress)
        assert all(task.finished for task in progress.tasks[:1])
    written = json.loads((tmp_path / "returns.json").read_text())["returns"]
    assert sorted(written) == sorted([*QUALITIES, "negated", "random"])  # and no regulator
    returns = measure(PolicyExpert.load(tmp_path / "50.zip", deterministic=True), "CartPole-v1")
    assert written["50"] == {"mean": pytest.approx(returns.mean()), "std": pytest.approx(returns.std(ddof=1))}


def test_the_recipe_repeats_itself():
    runs = [expert_recipe.train("CartPole-v1", Recipe(256, 1e-3, (8,), 32), lambda steps: None)[-1] for _ in range(2)]
    for first, second in zip(*(run.parameters() for run in runs), strict=True):
        assert th.equal(first, second)
