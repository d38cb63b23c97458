"""Other people's methods as arms: what they count, that seeds decide, and that each does what its paper says."""

import csv
import itertools
import math

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from stable_baselines3.common.monitor import Monitor

from nlf_sb3 import PPO
from nlf_sb3.experiments.compare import cloning, jsrl
from nlf_sb3.experiments.compare.baselines import BASELINES
from nlf_sb3.experiments.compare.cloning import Rounds, label_grid, train_bc, train_dagger
from nlf_sb3.experiments.compare.counting import GradientSteps
from nlf_sb3.experiments.compare.demonstrated_ppo import train_bc_ppo, train_dapg
from nlf_sb3.experiments.compare.expert_policy import ExpertPolicy
from nlf_sb3.experiments.compare.expert_rows import expert_demonstrations, expert_rows
from nlf_sb3.experiments.compare.jsrl import ShrinkingGuide, train_jsrl
from nlf_sb3.experiments.compare.jump_start import JumpStart
from nlf_sb3.experiments.compare.recorder import Recorder
from nlf_sb3.experiments.compare.task import Task
from nlf_sb3.label_weights import LargestAdvantage
from nlf_sb3.schedules import GeometricSchedule
from nlf_sb3.teachers import CallableExpert

TINY_PPO = {"n_steps": 64, "batch_size": 32, "n_epochs": 2}
COUNTS = ("agent_steps", "expert_steps", "expert_labels", "gradient_steps")


def balance(observations):
    """Push the way that the pole falls: CartPole's full return."""
    return (observations @ np.array([0.1, 0.5, 1.0, 1.0]) > 0).astype(np.int64)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(cloning, "MIN_BATCHES", 60)
    monkeypatch.setattr(cloning, "MIN_EPOCHS", 1)


def rows_of(train, tmp_path, *, timesteps=300, seed=0, arguments=None, **of_recorder):
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.csv"
    names = {"env_id": "CartPole-v1", "arm": "some", "expert": "balance", "seed": seed, "timesteps": timesteps}
    with Recorder(path, **names, n_eval_episodes=3, first_evaluation=50, **of_recorder) as recorder:
        train(Task("CartPole-v1", seed, timesteps, CallableExpert(balance), "balance", arguments or {}, recorder))
    with path.open() as file:
        return [{key: float(row[key]) for key in (*COUNTS, "mean_return")} for row in csv.DictReader(file)]


ARGUMENTS = {"bc": {}, "dagger": {}, "dagger-tuned": {}, "bc-ppo": TINY_PPO, "dapg": TINY_PPO, "jsrl": TINY_PPO}


@pytest.mark.parametrize("name", BASELINES)
def test_the_seed_decides_and_leaves_no_trace(name, tmp_path, monkeypatch):
    monkeypatch.setattr("nlf_sb3.interop.imitation.behaviour_cloning.DEFAULT_BATCHES", 50)
    arm = BASELINES[name]
    assert arm.name == name
    assert arm.needs_expert
    assert arm.description.endswith(".")
    runs = []
    for disturbance, seed in ((1, 3), (2, 3), (1, 4)):
        th.manual_seed(disturbance)  # whatever went before
        np.random.seed(disturbance)
        runs.append(rows_of(arm.train, tmp_path, timesteps=200, seed=seed, arguments=ARGUMENTS[name]))
    first, again, other = runs
    assert first == again
    assert first != other
    for count in COUNTS:
        numbers = [row[count] for row in first]
        assert numbers == sorted(numbers)


def test_bc_is_a_curve_over_labels(tmp_path):
    rows = rows_of(train_bc, tmp_path, timesteps=2000, arguments={"optimizer_kwargs": {"lr": 1e-2}})
    labels = [row["expert_labels"] for row in rows]
    assert labels == label_grid(2000)
    assert labels[0] == 32
    assert labels[-1] == 2000
    assert all(row["expert_steps"] == row["expert_labels"] and row["agent_steps"] == 0 for row in rows)
    # A clone of its own for each number of labels; what all of them took is counted together.
    assert rows[0]["gradient_steps"] == 60
    assert rows[-1]["gradient_steps"] - rows[-2]["gradient_steps"] == 2000 // 32
    assert rows[-1]["mean_return"] > 150


def test_bc_stops_where_the_return_is_reached(tmp_path):
    assert len(rows_of(train_bc, tmp_path, timesteps=2000, stop_at_return=1.0)) == 1


@pytest.mark.parametrize("most", [1, 20, 32, 33, 5000])
def test_labels_grow_by_about_a_third(most):
    grid = label_grid(most)
    assert grid[-1] == most
    assert grid[0] == min(32, most)
    assert all(1 < after / before < 1.35 for before, after in itertools.pairwise(grid))


def test_dagger_counts_every_step_as_a_label(tmp_path):
    rounds = Rounds(min_episodes=1, min_timesteps=60, rampdown=1, training={"n_batches": 30})
    rows = rows_of(lambda task: train_dagger(task, rounds), tmp_path, timesteps=700)
    assert rows[0]["agent_steps"] == 0  # the expert acts in the first round alone
    assert rows[0]["expert_steps"] == 500  # one episode
    assert len({row["expert_steps"] for row in rows}) == 1
    assert len(rows) > 1
    for n_rounds, row in enumerate(rows, start=1):
        assert row["expert_labels"] == row["agent_steps"] + row["expert_steps"]
        assert row["gradient_steps"] == 30 * n_rounds
    assert rows[-2]["expert_labels"] < 700 <= rows[-1]["expert_labels"]


def test_daggers_rounds_are_imitations_own_by_default(tmp_path):
    rows = rows_of(BASELINES["dagger"].train, tmp_path, timesteps=100)
    labels = rows[0]["expert_labels"]
    assert len(rows) == 1
    assert labels >= 500
    assert rows[0]["gradient_steps"] == 4 * (labels // 32)
    tuned = rows_of(BASELINES["dagger-tuned"].train, tmp_path, timesteps=100)
    assert tuned[0]["expert_labels"] >= 100
    assert tuned[0]["gradient_steps"] == 500


@pytest.mark.parametrize("train", [train_bc_ppo, train_dapg])
def test_labels_and_the_critics_steps_are_paid_for(train, tmp_path, monkeypatch):
    monkeypatch.setattr("nlf_sb3.interop.imitation.behaviour_cloning.DEFAULT_BATCHES", 50)
    rows = rows_of(train, tmp_path, timesteps=640, arguments=TINY_PPO)
    assert all(row["expert_steps"] == row["expert_labels"] == 64 for row in rows)
    # Before PPO begins: 50 batches of cloning, and ten passes through the one rollout of 64 rows that the critic had.
    assert rows[0]["agent_steps"] > 64
    assert rows[0]["gradient_steps"] == 50 + 10
    assert rows[-1]["agent_steps"] == 640
    assert rows[-1]["gradient_steps"] == 50 + 10 + (640 - 64) // 64 * 2 * 2


def test_dapg_imitates_on_the_way_with_a_weight_that_decays(tmp_path, monkeypatch):
    weights = []
    largest = LargestAdvantage.__call__

    def watched(self, rollout):
        weights.append(largest(self, rollout))
        assert rollout.advantages.mean() == pytest.approx(0.0, abs=1e-5), "as PPO takes them"
        return weights[-1]

    monkeypatch.setattr(LargestAdvantage, "__call__", watched)
    alphas = []
    geometric = GeometricSchedule.alpha
    monkeypatch.setattr(GeometricSchedule, "alpha", lambda self, state: alphas.append(geometric(self, state)) or alphas[-1])
    monkeypatch.setattr("nlf_sb3.interop.imitation.behaviour_cloning.DEFAULT_BATCHES", 5)
    rows_of(train_dapg, tmp_path, timesteps=640, arguments=TINY_PPO)
    assert len(weights) == len(alphas) == 9
    assert all(0 < weight < 10 for weight in weights)
    assert [(1 - alpha) / alpha for alpha in alphas] == pytest.approx([0.1 * 0.95**k for k in range(9)])


def test_dapgs_demonstrations_pull_the_policy(tmp_path, monkeypatch):
    """The same run without them ends elsewhere."""
    monkeypatch.setattr("nlf_sb3.interop.imitation.behaviour_cloning.DEFAULT_BATCHES", 5)
    policies = []
    original = PPO.learn

    def learn(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        policies.append([parameter.detach().clone() for parameter in self.policy.parameters()])
        return result

    monkeypatch.setattr(PPO, "learn", learn)
    for train in (train_bc_ppo, train_dapg):
        rows_of(train, tmp_path, timesteps=640, arguments=TINY_PPO)
    (clone, plain), (same_clone, pulled) = policies[:2], policies[2:]
    assert all(th.equal(one, other) for one, other in zip(clone, same_clone, strict=True))
    assert not all(th.equal(one, other) for one, other in zip(plain, pulled, strict=True))


def test_demonstrations_are_the_experts_episodes(tmp_path):
    with Recorder(
        tmp_path / "rows.csv", env_id="CartPole-v1", arm="a", expert="e", seed=0, timesteps=10, n_eval_episodes=1
    ) as recorder:
        task = Task("CartPole-v1", 0, 10, CallableExpert(balance, "sample"), "balance", {}, recorder)
        demonstrations = expert_demonstrations(task, 1100)  # longer than an episode, and than a call of imitation's
        rows = expert_rows(task, 700)
    assert len(demonstrations) == 1100
    assert demonstrations.label == "sample"
    np.testing.assert_array_equal(demonstrations.actions, balance(demonstrations.observations))
    assert len(rows) == 700
    follows = np.all(rows.obs[1:] == rows.next_obs[:-1], axis=1)
    assert follows.sum() >= 697  # all but where an episode ends


def make_guided(guide_steps, guide=balance):
    return JumpStart(Monitor(gym.make("CartPole-v1")), CallableExpert(guide), guide_steps)


def test_the_guide_hands_over_at_its_step():
    env = make_guided(7)
    observation, _ = env.reset(seed=5)
    plain = gym.make("CartPole-v1")
    expected, _ = plain.reset(seed=5)
    for _ in range(7):
        expected, *_ = plain.step(balance(expected[None])[0])
    np.testing.assert_array_equal(observation, expected)
    assert env.num_guide_steps == 7
    observation, *_ = env.step(0)
    np.testing.assert_array_equal(observation, plain.step(0)[0])
    assert env.num_guide_steps == 7  # from there on the agent acts
    env.guide_steps = 0
    np.testing.assert_array_equal(env.reset(seed=5)[0], gym.make("CartPole-v1").reset(seed=5)[0])
    assert env.num_guide_steps == 7


def test_the_guides_rewards_and_steps_are_part_of_the_episode():
    env = make_guided(7)
    env.reset(seed=5)
    steps, info = 0, {}
    while "episode" not in info:
        *_, info = env.step(0)
        steps += 1
    assert info["episode"]["r"] == info["episode"]["l"] == 7 + steps


def test_an_episode_that_ends_under_the_guide_is_begun_again_with_half_its_steps():
    env = make_guided(40, lambda observations: np.zeros(len(observations), np.int64))  # falls after about 10
    env.reset(seed=5)
    assert env.unwrapped.steps_beyond_terminated is None  # under way
    failed = env.num_guide_steps - 5
    assert 20 < failed <= 3 * 11  # 40, 20 and 10 did not work, or the pole stood just so long
    env.step(1)


def make_learner():
    return PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8, device="cpu")


def run_curriculum(curriculum, returns):
    """Episodes' returns, and the stage after each."""
    stages = []
    for episode_return in returns:
        curriculum.locals = {"infos": [{"episode": {"r": episode_return}}, {}]}
        assert curriculum._on_step()
        stages.append(curriculum.stage)
    return stages


def test_the_curriculum_moves_on_while_returns_hold(monkeypatch):
    monkeypatch.setattr(jsrl, "WINDOW", 2)
    env = make_guided(0)
    curriculum = ShrinkingGuide(env, 50)
    curriculum.model = make_learner()
    assert env.guide_steps == 45
    stages = run_curriculum(curriculum, [100, 100, 90, 90, 96, 95, 80, 200, 140, 140])
    #    the first mean is the best; 90 is too low; 93 and 95.5: the latter is within 5%; 140 is a best of its own
    assert stages == [1, 2, 2, 2, 2, 3, 3, 4, 4, 5]
    assert env.guide_steps == 25


def test_the_curriculum_ends_without_a_guide(monkeypatch):
    monkeypatch.setattr(jsrl, "WINDOW", 1)
    env = make_guided(0)
    curriculum = ShrinkingGuide(env, 500)
    curriculum.model = make_learner()
    assert run_curriculum(curriculum, [100] * 12) == [2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10]
    assert env.guide_steps == 0


def test_jsrl_counts_the_guides_steps_as_the_experts(tmp_path, monkeypatch):
    envs = []

    class Watched(JumpStart):
        def __init__(self, *args):
            super().__init__(*args)
            envs.append(self)

    monkeypatch.setattr(jsrl, "JumpStart", Watched)
    rows = rows_of(train_jsrl, tmp_path, timesteps=640, arguments=TINY_PPO)
    assert rows[-1]["agent_steps"] == 640
    assert all(row["expert_labels"] == 0 for row in rows)
    assert rows[-1]["expert_steps"] == 5 * 500 + envs[0].num_guide_steps
    assert envs[0].num_guide_steps >= 450
    assert rows[-1]["gradient_steps"] == 640 // 64 * 2 * 2
    assert rows[0]["mean_return"] < 450  # without the guide


def test_an_expert_as_a_policy_counts_what_it_answers():
    env = gym.make("CartPole-v1")
    policy = ExpertPolicy(CallableExpert(balance), env.observation_space, env.action_space)
    rows = np.stack([env.reset(seed=seed)[0] for seed in range(6)])
    actions, state = policy.predict(rows, deterministic=True)
    np.testing.assert_array_equal(actions, balance(rows))
    assert state is None
    np.testing.assert_array_equal(policy._predict(th.as_tensor(rows)), balance(rows))
    assert policy.n_answers == 6


def test_gradient_steps_of_every_optimiser_are_counted_while_entered():
    parameter = th.nn.Parameter(th.ones(1))
    first, second = th.optim.Adam([parameter]), th.optim.SGD([parameter], lr=0.1)
    first.step()
    with GradientSteps() as gradient_steps:
        first.step()
        second.step()
        second.step()
    second.step()
    assert gradient_steps.count == 3
    assert math.isfinite(parameter.item())
