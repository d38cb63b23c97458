"""nlf-sb3 compare: a real comparison through the command, evaluations that leave no trace, and what is refused."""

import json
import math
import random
import re
import sys
import time

import gymnasium as gym
import numpy as np
import pandas as pd
import pytest
import stable_baselines3
import torch as th
from learners import parameters_of
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nlf_sb3
from nlf_sb3.experiments import cli
from nlf_sb3.experiments.compare.arm import Arm
from nlf_sb3.experiments.compare.arms import ARMS
from nlf_sb3.experiments.compare.evaluation import Evaluator
from nlf_sb3.experiments.compare.experts import make_expert
from nlf_sb3.experiments.compare.recorder import COLUMNS, Recorder
from nlf_sb3.experiments.compare.run import ComparisonRun
from nlf_sb3.experiments.compare.text_arms import TEXT_ARMS
from nlf_sb3.experiments.protocols import ENV_ID, expert_path
from nlf_sb3.experiments.run import perform, software

TINY = ["--envs", "CartPole-v1", "--arms", "ppo", "joint", "--expert", "random", "--timesteps", "300", "--eval-episodes", "2"]
GRID = [100, 115, 133, 153, 175, 202, 232, 267, 300]


def command(*arguments):
    """The command in this process; what it prints is caught by whoever wants it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nlf-sb3", "compare", *map(str, arguments)])
        cli.main()


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A whole comparison, two runs at a time in processes of their own."""
    folder = tmp_path_factory.mktemp("compare")
    command(*TINY, "--seeds", 2, "--jobs", 2, "--out", folder)
    return folder


@pytest.fixture(scope="module")
def evaluations(out):
    return pd.read_csv(out / "evaluations.csv")


def recorder_of(path, env_id="CartPole-v1", timesteps=256, **options):
    return Recorder(path, env_id=env_id, arm="own", expert="none", seed=1, timesteps=timesteps, n_eval_episodes=2, **options)


# --- the command --------------------------------------------------------------------------------------


def test_every_run_is_evaluated_on_the_grid_and_at_its_end(evaluations):
    assert list(evaluations.columns) == COLUMNS
    runs = evaluations.groupby(["arm", "expert", "seed"], sort=False)
    names = [name for name, _ in runs]
    assert names == [("ppo", "none", 1), ("joint", "random", 1), ("ppo", "none", 2), ("joint", "random", 2)]
    for _, run in runs:
        assert run["agent_steps"].tolist() == GRID
        assert run["seconds"].is_monotonic_increasing
        assert run["seconds"].iloc[0] > 0


def test_what_an_arm_spends_is_counted(evaluations):
    ppo, joint = (evaluations[(evaluations["arm"] == arm) & (evaluations["seed"] == 1)] for arm in ("ppo", "joint"))
    # PPO's first rollout of 2,048 steps would end beyond the budget.
    assert ppo[["expert_labels", "expert_steps", "gradient_steps"]].to_numpy().max() == 0
    # The preset's rollouts of 48 steps have three minibatches in each of ten epochs.
    assert joint["gradient_steps"].tolist() == [30 * (steps // 48) for steps in joint["agent_steps"].clip(upper=299)]
    assert set(joint["expert_labels"]) == {48}, "the second rollout ends beyond the first quarter"


def test_all_evaluations_of_a_run_play_the_same_episodes(evaluations):
    untrained = evaluations[evaluations["arm"] == "ppo"]
    assert (untrained.groupby("seed")["mean_return"].nunique() == 1).all()
    assert untrained["std_return"].max() > 0, "two episodes of one evaluation start from different states"


def test_the_report_has_a_table_for_every_question_and_says_what_columns_mean(out):
    text = (out / "REPORT.md").read_text()
    for part in (
        "## CartPole-v1",
        "![Learning curves on CartPole-v1](CartPole-v1.png)",
        "95% of the return of the expert random",
        "| arm | never | agent steps | agent + expert steps | expert labels | gradient steps | seconds |",
        "How many times less than ppo",
        "| arm | final return | area | better than ppo | of ppo's return |",
        "| joint (random) |",
        "Arms: 2. Environments: 1. Seeds: 2. Agent steps: 300.",
        "Intervals over 2 seeds are hardly more than their range: run at least 5",
    ):
        assert part in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count(" | ") for row in rows if row.startswith("| ppo |")} == {6, 4}
    assert (out / "CartPole-v1.png").read_bytes().startswith(b"\x89PNG")


def test_the_summary_holds_every_figure_as_plain_json(out):
    summary = json.loads((out / "summary.json").read_text())
    assert [(figure["arm"], figure["seeds"]) for figure in summary["figures"]] == [("ppo", 2), ("joint (random)", 2)]
    assert summary["thresholds"]["CartPole-v1"]["value"] == summary["figures"][0]["threshold"]
    assert summary["baseline"] == "ppo"
    assert (summary["runs_in_this_invocation"], summary["workers"]) == (4, 2)
    assert set(summary["figures"][1]["improvement"]) == {"value", "low", "high"}


def test_a_resumed_comparison_repeats_nothing_and_is_the_same_in_one_process(out, evaluations, tmp_path, capsys):
    command(*TINY, "--seeds", 1, "--jobs", 1, "--out", tmp_path)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert len(first) == 2
    command(*TINY, "--seeds", 2, "--jobs", 1, "--out", tmp_path, "--resume")
    assert {path: path.stat().st_mtime_ns for path in first} == first
    pd.testing.assert_frame_equal(
        pd.read_csv(tmp_path / "evaluations.csv").drop(columns="seconds"), evaluations.drop(columns="seconds")
    )
    printed = capsys.readouterr().out
    assert re.search(r"2 runs in \d+:\d\d on 1 worker \(2 finished earlier\)", printed)
    assert "what it took to reach" in printed


def test_a_comparison_is_never_overwritten_nor_mixed(out):
    with pytest.raises(SystemExit, match=r"holds runs already\. Pass --resume"):
        command(*TINY, "--out", out)
    with pytest.raises(
        SystemExit, match=r"holds runs of other settings \(CartPole-v1, joint \(random\); see .*Pass another --out"
    ):
        command(*TINY, "--out", out, "--resume", "--set", "joint.n_steps=64")


def test_runs_stop_at_the_threshold_where_they_may(tmp_path):
    command("--envs", "CartPole-v1", "--arms", "a2c", "--baseline", "a2c", "--timesteps", 300, "--eval-episodes", 2,
            "--seeds", 2, "--jobs", 1, "--threshold", 1, "--stop-at-threshold", "--out", tmp_path)  # fmt: skip
    found = pd.read_csv(tmp_path / "evaluations.csv")
    assert found["agent_steps"].tolist() == [100, 100], "every return of CartPole is above 1"
    assert found["reached"].all()
    assert "Runs ended as soon as they reached the threshold" in (tmp_path / "REPORT.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--seeds", "0"], "seeds: got 0, expected at least 1"),
        (["--timesteps", "0"], "--timesteps: got 0, expected at least 1"),
        (["--eval-episodes", "0"], "--eval-episodes: got 0, expected at least 1"),
        (["--arms", "pop"], r"--arms: there is no arm pop\. Did you mean ppo\?"),
        (["--arms", "zzz"], r"--arms: there is no arm zzz\. There are reinforce, a2c, ppo"),
        (["--arms", "ppo", "joint"], "--arms joint: it learns from an expert, and there is none. Pass --expert"),
        (["--arms", "a2c"], r"--baseline: ppo is none of --arms \(a2c\)"),
        (["--envs"], "--envs: got none, expected at least one"),
        (["--envs", "Nowhere-v1"], "--envs Nowhere-v1: .*doesn't exist"),
        (
            ["--expert", "nobody"],
            "--expert nobody can't act in CartPole-v1: expert: got 'nobody' for CartPole-v1, expected 100, 75",
        ),
        (["--expert", expert_path()], "--expert .* can't act in CartPole-v1: "),
        (["--threshold", "much"], "--threshold: got 'much', expected a return such as 475"),
        (["--threshold", "95%"], "--threshold 95%: there is no --expert"),
        (["--stop-at-threshold"], "--stop-at-threshold: the threshold has to be known before"),
        (["--set", "n_steps=8"], "--set: got 'n_steps=8', expected ARM.KEY=VALUE"),
        (["--set", "joint.n_steps=8"], r"--set joint.n_steps=8: joint is none of --arms \(ppo\)"),
        (["--set", "ppo.nsteps=8"], "--set ppo.nsteps=8: ppo has no argument nsteps. Did you mean n_steps"),
        (["--set", "ppo.seed=8"], "--set ppo.seed=8: ppo has no argument seed"),
        (["--set", "ppo.n_steps=8", "--set", "ppo.n_steps=9"], "--set ppo.n_steps=9: ppo.n_steps is there twice"),
        (["--set", "ppo.n_steps=[1"], r"--set ppo.n_steps=\[1: '\[1' is no plain Python value"),
        (["--set", "ppo.n_steps"], "--set: got 'ppo.n_steps', expected ARM.KEY=VALUE"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_run(tmp_path, arguments, words):
    with pytest.raises(SystemExit, match=f"^nlf-sb3: {words}") as error:
        command("--envs", "CartPole-v1", "--arms", "ppo", *arguments, "--out", tmp_path / "out")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as error:
        command("--help")
    assert error.value.code == 0
    printed = capsys.readouterr().out
    for word in ("--envs", "--arms", "--expert", "--threshold", "--stop-at-threshold", "--baseline", "--set", "--resume"):
        assert word in printed


# --- arms ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ARMS)
def test_every_arm_trains_within_its_budget(tmp_path, name, monkeypatch):
    for several in ("experiments.compare.cloning.MIN_BATCHES", "interop.imitation.behaviour_cloning.DEFAULT_BATCHES"):
        monkeypatch.setattr(f"nlf_sb3.{several}", 20)
    expert = "lqr" if ARMS[name].needs_expert else "none"
    run = ComparisonRun(ENV_ID, name, expert, 1, 300, 1, 100, None, {})
    (tmp_path / "runs").mkdir()
    outcome = perform(run, tmp_path, tmp_path, software())
    assert outcome.error is None
    rows = pd.read_csv(run.file(tmp_path))
    assert rows["agent_steps"].iloc[-1] <= 300
    assert (rows["arm"] == name).all()
    assert rows["mean_return"].min() >= 1
    acts_or_labels = rows["expert_labels"].iloc[-1] + rows["expert_steps"].iloc[-1] > 0
    assert acts_or_labels == (ARMS[name].needs_expert and name not in TEXT_ARMS)  # words are neither steps nor labels


def test_arguments_of_an_arm_reach_its_algorithm(tmp_path):
    arguments = {"n_steps": 50, "batch_size": 25, "n_epochs": 1, "fork_probability": 1.0}
    run = ComparisonRun(ENV_ID, "injection", "lqr", 1, 150, 1, 150, None, arguments)
    (tmp_path / "runs").mkdir()
    assert perform(run, tmp_path, tmp_path, software()).error is None
    last = pd.read_csv(run.file(tmp_path)).iloc[-1]
    assert last["gradient_steps"] == 3 * 2
    assert last["expert_steps"] >= 1000, "with a probability of 1 the expert plays whole episodes, to the time limit"


def test_names_of_runs_are_fit_for_files_and_differ_where_runs_do():
    def name(env_id="CartPole-v1", arm="joint", expert="random"):
        return ComparisonRun(env_id, arm, expert, 3, 300, 1, 100, None, {}).name

    assert (name(), name(arm="ppo", expert="none")) == ("CartPole-v1_joint_random_003", "CartPole-v1_ppo_003")
    others = {name(env_id="ALE/Pong-v5"), name(env_id="ALE-Pong-v5"), name(expert="a/b.zip"), name(expert="a_b.zip")}
    assert len(others) == 4
    assert all(re.fullmatch(r"[\w-]+", other) for other in others), "progress bars read names up to the first dot"


def test_settings_tell_an_experts_weights_apart(tmp_path):
    path = tmp_path / "expert.zip"
    path.write_bytes(b"one")
    run = ComparisonRun("CartPole-v1", "joint", str(path), 1, 300, 1, 100, None, {})
    before = run.settings()
    path.write_bytes(b"another")
    assert run.settings() != before


def test_a_saved_model_is_an_expert():
    expert = make_expert(ENV_ID, expert_path(), 0)
    evaluator = Evaluator(ENV_ID, 0, 2)
    assert evaluator.returns(lambda observations, deterministic: (expert.act(observations), None)).tolist() == [1000.0] * 2


# --- evaluations leave no trace -----------------------------------------------------------------------


def plain(algorithm, env_id, **arguments):
    return algorithm("MlpPolicy", Monitor(gym.make(env_id)), seed=3, device="cpu", **arguments)


def normalised(algorithm, env_id, **arguments):
    env = VecNormalize(DummyVecEnv([lambda: Monitor(gym.make(env_id))]))
    return algorithm("MlpPolicy", env, seed=3, device="cpu", **arguments)


SMALL = {"n_steps": 64, "batch_size": 32, "n_epochs": 2}
LEARNERS = {
    "SB3's PPO": lambda: plain(stable_baselines3.PPO, "CartPole-v1", **SMALL),
    "SB3's PPO, gSDE and VecNormalize": lambda: normalised(stable_baselines3.PPO, "Pendulum-v1", use_sde=True, **SMALL),
    "PPO": lambda: plain(nlf_sb3.PPO, "CartPole-v1", expert=make_expert("CartPole-v1", "random", 1), **SMALL),
    "A2C, VecNormalize": lambda: normalised(nlf_sb3.A2C, "CartPole-v1", n_steps=32),
    "REINFORCE": lambda: plain(nlf_sb3.REINFORCE, "CartPole-v1", n_episodes=2),
    "REINFORCE through torch": lambda: plain(
        nlf_sb3.REINFORCE, "CartPole-v1", n_episodes=2, baseline=True, sample_with_numpy=False
    ),
}
TIMESTEPS = 256


class EndAt(BaseCallback):
    """Ends training where the recorder does, and does nothing else."""

    def _on_step(self):
        return self.num_timesteps <= TIMESTEPS


@pytest.mark.parametrize("name", LEARNERS)
def test_a_recorded_run_trains_bit_for_bit_as_an_unrecorded_one(tmp_path, name):
    ends = []
    for is_recorded in (False, True):
        model = LEARNERS[name]()
        env_id = model.get_env().get_attr("spec")[0].id
        random.seed(7)
        with recorder_of(tmp_path / "rows.csv", env_id, TIMESTEPS, first_evaluation=10) as recorder:
            model.learn(TIMESTEPS, callback=recorder.callback() if is_recorded else EndAt())
            assert recorder.n_rows >= (20 if is_recorded else 0)
        ends.append((parameters_of(model), th.rand(3), np.random.rand(3), random.random(), model.policy.training))
    for without, with_recorder in zip(*ends, strict=True):
        np.testing.assert_array_equal(without, with_recorder)


def test_a_policy_that_draws_while_it_is_evaluated_draws_from_nobodys_stream(tmp_path):
    def draws(observations, deterministic):
        return np.array([int(th.rand(1) + np.random.rand() + random.random() > 1.5) for _ in observations]), None

    def streams():
        return th.get_rng_state().tolist(), np.random.get_state()[1].tolist(), np.random.get_state()[2], random.getstate()

    before = streams()
    with recorder_of(tmp_path / "rows.csv") as recorder:
        recorder.evaluate(draws, agent_steps=1, expert_steps=0, expert_labels=0, gradient_steps=0)
    assert streams() == before


@pytest.mark.parametrize("name", ["SB3's PPO, gSDE and VecNormalize", "A2C, VecNormalize"])
def test_a_learner_is_evaluated_on_its_own_normalisation_statistics(tmp_path, name):
    model = LEARNERS[name]()
    env_id = model.get_env().get_attr("spec")[0].id
    with recorder_of(tmp_path / "rows.csv", env_id, TIMESTEPS) as recorder:
        model.learn(TIMESTEPS, callback=recorder.callback())
    statistics, evaluator = model.get_vec_normalize_env(), Evaluator(env_id, 1, 2)
    returns = evaluator.returns(
        lambda observations, deterministic: model.policy.predict(
            statistics.normalize_obs(observations), deterministic=deterministic
        )
    )
    recorded = pd.read_csv(tmp_path / "rows.csv")["mean_return"].iloc[-1]
    assert recorded == pytest.approx(returns.mean(), rel=1e-4)
    raw = evaluator.returns(model.policy.predict).mean()
    assert recorded != pytest.approx(raw, rel=1e-4), "without the statistics the policy would do something else"


class KeepEpisodes(BaseCallback):
    """Steps and returns of training episodes."""

    def __init__(self):
        super().__init__()
        self.ended = []

    def _on_step(self):
        self.ended += [(self.num_timesteps, info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        return True


def test_the_training_return_is_that_of_the_episodes_since_the_last_evaluation(tmp_path):
    model, episodes = plain(nlf_sb3.A2C, "CartPole-v1"), KeepEpisodes()
    with recorder_of(tmp_path / "rows.csv", timesteps=300) as recorder:
        model.learn(300, callback=CallbackList([episodes, recorder.callback()]))
    rows = pd.read_csv(tmp_path / "rows.csv")
    before = 0
    for steps, found in zip(rows["agent_steps"], rows["train_return"], strict=True):
        own = [value for at, value in episodes.ended if before < at <= steps]
        assert found == pytest.approx(np.mean(own)) if own else math.isnan(found)
        before = steps
    assert rows["train_return"].notna().any()


# --- arms that are no SB3 learners --------------------------------------------------------------------


def left(observations, deterministic):
    return np.zeros(len(observations), dtype=int), None


def test_an_arm_of_any_kind_reports_for_itself(tmp_path):
    with recorder_of(tmp_path / "rows.csv", timesteps=1000, stop_at_return=8.0) as recorder:
        due = []
        for steps in range(90, 140):
            if recorder.is_due(steps):
                due.append(steps)
                recorder.evaluate(left, agent_steps=steps, expert_steps=steps, expert_labels=2 * steps, gradient_steps=7)
        assert due == [100, 115, 133]
        assert recorder.reached
        assert recorder.evaluate(left, agent_steps=140, expert_steps=0, expert_labels=0, gradient_steps=0) >= 8.0
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows["expert_labels"].tolist() == [200, 230, 266, 0]
    assert rows["mean_return"].between(8, 10).all(), "CartPole falls over within ten steps to the left"


def test_what_was_spent_before_a_learner_began_is_added_to_its_counts(tmp_path):
    with recorder_of(tmp_path / "rows.csv", timesteps=100, first_evaluation=60) as recorder:
        model = plain(nlf_sb3.A2C, "CartPole-v1", n_steps=10)
        before = recorder.callback(agent_steps=50, expert_steps=11, expert_labels=22, gradient_steps=33)
        model.learn(1000, callback=before)
    rows = pd.read_csv(tmp_path / "rows.csv")
    assert rows["agent_steps"].tolist() == [60, 69, 80, 92, 100]
    assert rows["gradient_steps"].tolist() == [33, 34, 35, 37, 38]
    assert set(rows["expert_steps"]) == {11}
    assert set(rows["expert_labels"]) == {22}


def test_evaluations_take_no_time_from_training(tmp_path):
    def slow(observations, deterministic):
        time.sleep(0.05)
        return left(observations, deterministic)

    with recorder_of(tmp_path / "rows.csv", timesteps=1000) as recorder:
        for steps in (1, 2):
            recorder.evaluate(slow, agent_steps=steps, expert_steps=0, expert_labels=0, gradient_steps=0)
    seconds = pd.read_csv(tmp_path / "rows.csv")["seconds"]
    assert seconds.iloc[1] - seconds.iloc[0] < 0.05, "an evaluation has eight answers at least, of 0.05 s each"


def test_an_arm_that_reports_nothing_is_named(tmp_path, monkeypatch):
    silent = Arm("ppo", "Says nothing.", lambda task: None, needs_expert=False)
    monkeypatch.setitem(ARMS, "ppo", silent)
    (tmp_path / "runs").mkdir()
    run = ComparisonRun("CartPole-v1", "ppo", "none", 1, 300, 1, 100, None, {})
    assert "arm ppo: it ended without an evaluation" in perform(run, tmp_path, tmp_path, software()).error
    assert not run.file(tmp_path).exists()
