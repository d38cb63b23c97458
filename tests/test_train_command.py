"""nlf-sb3 train: real small runs from the shell's point of view, their files, going on with them, and every refusal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch as th
from helpers import PENDULUM, assert_same_model, cartpole_expert, parameters_of
from rich.console import Console
from sb3_contrib.common.envs import InvalidActionEnvDiscrete
from stable_baselines3.common.monitor import load_results
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nlf_sb3
from nlf_sb3 import Demonstrations
from nlf_sb3.experiments import cli
from nlf_sb3.experiments.train import Train
from nlf_sb3.experiments.train_callbacks import interrupts_ask
from nlf_sb3.experiments.train_run import train
from nlf_sb3.experiments.train_setup import algorithm_class, parse_alpha

QUIET = Console(file=open(os.devnull, "w"), force_terminal=False)  # noqa: SIM115 - lives as long as the tests
PPO = ("n_steps=32", "batch_size=32", "n_epochs=2")
QUICK = {"checkpoint_every": 0, "eval_every": 0, "eval_episodes": 1, "device": "cpu"}


@pytest.fixture(autouse=True)
def interrupts_as_in_a_terminal():
    """A shell's background jobs ignore Ctrl-C, and what they start does too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def run(out, env="CartPole-v1", **options):
    return train(Train(env=env, out=out, **{"set": PPO, "timesteps": 128, **QUICK, **options}), QUIET)


def command(monkeypatch, *arguments):
    """The command line in this process: what it prints on stderr, and its exit code."""
    monkeypatch.setattr(sys, "argv", ["nlf-sb3", "train", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return str(caught.value.code)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A file of demonstrations on CartPole."""
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    observations = np.random.default_rng(0).normal(0, 0.1, (200, 4)).astype(np.float32)
    Demonstrations(observations, cartpole_expert(observations), label="mode").save(path)
    return path


@pytest.fixture(scope="module")
def pendulum_model(tmp_path_factory):
    """A policy for the pendulum, as SB3 saves it; its samples differ from state to state."""
    path = tmp_path_factory.mktemp("expert") / "expert.zip"
    stable_baselines3.PPO("MlpPolicy", PENDULUM, seed=5, device="cpu").save(path)
    return path


class InterruptedEnv(gym.Wrapper):
    """CartPole in which something happens once, at a given step: Ctrl-C is pressed."""

    steps_left: int | None = None

    @staticmethod
    def what():
        signal.raise_signal(signal.SIGINT)

    def step(self, action):
        if InterruptedEnv.steps_left is not None:
            InterruptedEnv.steps_left -= 1
            if InterruptedEnv.steps_left == 0:
                InterruptedEnv.steps_left = None
                self.what()
        return self.env.step(action)


gym.register("NLFInterrupted-v0", lambda **kwargs: InterruptedEnv(gym.make("CartPole-v1", **kwargs)))


def _masked(**kwargs):
    return gym.wrappers.TimeLimit(InvalidActionEnvDiscrete(dim=6, ep_length=20, n_invalid_actions=3), 20)


gym.register("NLFMasked-v0", _masked)


# --- what a run writes --------------------------------------------------------------------------------


def test_a_run_leaves_files_that_sb3_s_users_know(tmp_path):
    out = tmp_path / "run"
    summary = run(out, n_envs=2, checkpoint_every=100, eval_every=100, eval_episodes=2, normalize=True, timesteps=256)
    assert summary.steps == 256
    assert len(load_results(str(out / "monitor"))) == summary.episodes > 0
    assert {path.name for path in (out / "monitor").iterdir()} == {"0.monitor.csv", "1.monitor.csv"}
    evaluations = np.load(out / "evaluations.npz")
    assert evaluations["timesteps"].tolist() == [100, 200]
    assert evaluations["results"].shape == (2, 2)
    assert {path.name for path in (out / "checkpoints").glob("*.zip")} == {f"rl_model_{n}_steps.zip" for n in (128, 256)}
    assert (out / "progress.csv").read_text().count("\n") > 2
    record = json.loads((out / "settings.json").read_text())
    assert (record["settings"]["env"], record["settings"]["set"]) == ("CartPole-v1", list(PPO))
    assert record["versions"]["stable-baselines3"] == stable_baselines3.__version__
    assert json.loads((out / "summary.json").read_text())["steps"] == 256
    for model, statistics in (("model", "vecnormalize"), ("best_model", "best_model_vecnormalize")):
        env = VecNormalize.load(str(out / f"{statistics}.pkl"), DummyVecEnv([lambda: gym.make("CartPole-v1")]))
        stable_baselines3.PPO.load(out / f"{model}.zip", env=env, device="cpu").predict(env.reset())
    checkpoint = stable_baselines3.PPO.load(out / "checkpoints" / "rl_model_256_steps.zip", device="cpu")
    final = stable_baselines3.PPO.load(out / "model.zip", device="cpu")
    assert_same_model(checkpoint, final)


@pytest.mark.parametrize(
    "options",
    [
        {"expert": "rows", "alpha": "0.1:1.0"},
        {"demonstrations": "rows", "n_envs": 2},
        {"env": PENDULUM, "expert": "pendulum_model", "method": "injection"},
    ],
    ids=["joint", "demonstrations", "injection"],
)
def test_the_same_command_gives_the_same_model(tmp_path, rows, pendulum_model, options):
    files = {"rows": str(rows), "pendulum_model": str(pendulum_model)}
    options = {key: files.get(value, value) for key, value in options.items()}
    models = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        run(tmp_path / name, seed=seed, **options)
        models.append(nlf_sb3.PPO.load(tmp_path / name / "model.zip", device="cpu"))
    assert_same_model(*models[:2])
    assert not th.equal(parameters_of(models[0].policy), parameters_of(models[2].policy))


def test_without_an_expert_it_is_sb3_s_own_training(tmp_path):
    run(tmp_path / "run")
    theirs = stable_baselines3.PPO("MlpPolicy", "CartPole-v1", seed=0, device="cpu", n_steps=32, batch_size=32, n_epochs=2)
    ours = stable_baselines3.PPO.load(tmp_path / "run" / "model.zip", device="cpu")
    assert_same_model(ours, theirs.learn(128))


def test_each_kind_of_expert_teaches(tmp_path, rows, pendulum_model):
    joint = run(tmp_path / "joint", expert=str(rows))
    assert (joint.expert_queries, joint.expert_steps) == (128, 0)
    injected = run(tmp_path / "injection", expert=str(rows), method="injection", fork_probability=1.0)
    assert injected.expert_queries == 0
    assert injected.expert_steps > 100
    lqr = run(tmp_path / "lqr", PENDULUM, expert="lqr:0.1", imitation="kl")
    assert lqr.expert_queries == 128
    policy = run(tmp_path / "policy", PENDULUM, expert=str(pendulum_model), algorithm="REINFORCE", set=("n_episodes=2",))
    assert policy.expert_queries == policy.steps
    again = run(tmp_path / "again", expert=str(tmp_path / "joint"))
    assert again.expert_queries == 128


SETTINGS_OF_CONTRIB = {"TRPO": ("n_steps=32",), "RecurrentPPO": PPO}


@pytest.mark.parametrize("method", ["joint", "injection", "takeover"])
@pytest.mark.parametrize("algorithm", SETTINGS_OF_CONTRIB)
def test_the_algorithms_of_contrib_train_and_go_on(tmp_path, rows, algorithm, method):
    options = {"expert": str(rows), "method": method, "algorithm": algorithm, "set": SETTINGS_OF_CONTRIB[algorithm]}
    first = run(tmp_path / "run", **options, checkpoint_every=64)
    assert (first.expert_queries > 0, first.expert_steps > 0) == (method == "joint", method != "joint")
    second = run(tmp_path / "run", **options, checkpoint_every=64, timesteps=192, resume=True)
    assert second.steps == 192
    assert second.expert_queries + second.expert_steps > first.expert_queries + first.expert_steps


def test_maskable_ppo_trains_and_is_evaluated_within_its_masks(tmp_path):
    summary = run(tmp_path / "run", "NLFMasked-v0", algorithm="MaskablePPO", eval_every=64, preset="feedback")
    assert (summary.steps, summary.episodes) == (128, 6)
    assert np.load(tmp_path / "run" / "evaluations.npz")["timesteps"].tolist() == [64, 128]


def test_maskable_ppo_without_masks_is_one_line(tmp_path, monkeypatch):
    message = command(monkeypatch, "--env", "CartPole-v1", "--out", tmp_path / "run", "--algorithm", "MaskablePPO")
    assert message == "nlf-sb3: Environment does not support action masking. Consider using ActionMasker wrapper"
    assert not (tmp_path / "run").exists()


def test_an_expert_that_was_normalised_brings_its_statistics(tmp_path):
    run(tmp_path / "expert", normalize=True)
    assert run(tmp_path / "agent", expert=str(tmp_path / "expert")).expert_queries == 128
    with pytest.raises(ValueError, match=r"lies beside VecNormalize statistics.*Pass its folder"):
        run(tmp_path / "other", expert=str(tmp_path / "expert" / "model.zip"))
    statistics = tmp_path / "expert" / "vecnormalize.pkl"
    named = run(tmp_path / "named", expert=str(tmp_path / "expert" / "model.zip"), expert_statistics=statistics)
    assert named.expert_queries == 128


def test_preset_alpha_and_further_arguments_reach_the_algorithm(tmp_path, rows):
    further = ("n_steps=16", "policy_kwargs={'net_arch': [7]}", "injection.coef=0.5")
    run(tmp_path / "run", algorithm="A2C", preset="feedback", alpha="0.2:0.9", expert=str(rows), set=further)
    model = nlf_sb3.A2C.load(tmp_path / "run" / "model.zip")
    assert (model.n_steps, model.normalize_advantage, model.policy_kwargs["net_arch"]) == (16, True, [7])
    assert model.injection == nlf_sb3.Injection(coef=0.5)
    assert model.alpha == nlf_sb3.LinearSchedule(0.2, 0.9)


@pytest.mark.parametrize("method", ["injection", "takeover"])
@pytest.mark.parametrize("given", [None, 0.2])
def test_a_takeover_leaves_the_agent_time_to_act_unless_told_otherwise(tmp_path, rows, method, given):
    options = {"expert": str(rows), "method": method, "fork_probability": given, "timesteps": 2048}
    summary = run(tmp_path / "run", **options, set=("n_steps=2048", "n_epochs=1"))
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    if method == "takeover":
        assert settings["fork_probability"] == (given or 0.01)
        # CartPole lasts a beginner some 20 steps, so that at 0.01 most episodes end before the expert comes.
        assert (summary.expert_steps / summary.steps > 0.8) == (given is not None)
    else:
        assert settings["fork_probability"] == given


def test_the_preset_has_an_alpha_of_its_own(tmp_path, rows):
    run(tmp_path / "run", preset="feedback", expert=str(rows))
    model = nlf_sb3.PPO.load(tmp_path / "run" / "model.zip")
    assert isinstance(model.alpha, nlf_sb3.schedules.Trial)
    assert model.imitation == nlf_sb3.Imitation("nll", replay=nlf_sb3.LabelReplay(100_000, per_step=4.0))


def test_demonstrations_are_imitated_by_alpha_beside_injection_too(tmp_path, rows):
    run(tmp_path / "run", expert=str(rows), method="injection", demonstrations=rows, alpha="0.9")
    assert nlf_sb3.PPO.load(tmp_path / "run" / "model.zip").alpha == nlf_sb3.ConstantSchedule(0.9)


def test_alpha_has_a_default_that_is_written_down(tmp_path, rows):
    run(tmp_path / "run", expert=str(rows))
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]["alpha"] == "0.5"


def test_the_network_fits_the_observations(tmp_path):
    run(tmp_path / "run", "Line-v0", env_kwargs='{"dict_observation": true}')
    model = nlf_sb3.PPO.load(tmp_path / "run" / "model.zip")
    assert type(model.policy).__name__ == "MultiInputActorCriticPolicy"
    assert model.observation_space.keys() == {"noise", "count"}


def test_tensorboard_goes_on_in_the_same_folder(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(tmp_path / "run", tensorboard=True)
    run(tmp_path / "run", tensorboard=True, resume=True, timesteps=256)
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("rollout/ep_rew_mean")] == list(range(32, 257, 32))


# --- going on -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["PPO", "A2C"])
def test_ctrl_c_keeps_a_checkpoint_and_resume_takes_the_steps_that_remain(tmp_path, algorithm, rows):
    out = tmp_path / "run"
    settings = {"PPO": PPO, "A2C": ("n_steps=32",)}[algorithm]
    options = {"algorithm": algorithm, "set": settings, "timesteps": 224, "normalize": True, "expert": str(rows)}
    InterruptedEnv.steps_left = 75
    with pytest.raises(KeyboardInterrupt, match=r"interrupted; a checkpoint of 64 steps is kept\. The same command with"):
        run(out, "NLFInterrupted-v0", **options)
    assert not (out / "model.zip").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    statistics = VecNormalize.load(str(out / "checkpoints" / "rl_model_vecnormalize_64_steps.pkl"), cartpole())
    summary = run(out, "NLFInterrupted-v0", resume=True, **options)
    whole = run(tmp_path / "whole", "NLFInterrupted-v0", **options)
    assert summary.steps == whole.steps == 224
    assert summary.expert_queries == whole.expert_queries == 224
    final = VecNormalize.load(str(out / "vecnormalize.pkl"), cartpole())
    assert final.obs_rms.count == pytest.approx(statistics.obs_rms.count + 224 - 64 + 1, abs=0.01), "statistics went on"
    assert {path.name for path in (out / "monitor").iterdir()} == {"0.monitor.csv", "0.2.monitor.csv"}
    model = getattr(stable_baselines3, algorithm).load(out / "model.zip", device="cpu")
    assert model.num_timesteps == 224
    assert not th.equal(parameters_of(model.policy), parameters_of(nlf_sb3.PPO.load(tmp_path / "whole" / "model.zip").policy))


def cartpole():
    return DummyVecEnv([lambda: gym.make("CartPole-v1")])


def test_a_run_that_breaks_keeps_what_it_has_written(tmp_path, monkeypatch):
    def fall():
        raise OSError("the robot fell over")

    monkeypatch.setattr(InterruptedEnv, "what", staticmethod(fall))
    InterruptedEnv.steps_left = 90
    with pytest.raises(OSError, match="fell over"):
        run(tmp_path / "run", "NLFInterrupted-v0", checkpoint_every=32)
    assert (tmp_path / "run" / "checkpoints" / "rl_model_64_steps.zip").exists()
    assert len(load_results(str(tmp_path / "run" / "monitor"))) > 1
    assert run(tmp_path / "run", "NLFInterrupted-v0", checkpoint_every=32, resume=True).steps == 128


def test_the_first_interrupt_asks_and_the_second_ends_at_once():
    asked = []
    with interrupts_ask(lambda: asked.append(True)):
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert asked == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_two_resumes_from_one_checkpoint_end_alike(tmp_path):
    for name in ("a", "b"):
        run(tmp_path / name, timesteps=64)
        run(tmp_path / name, timesteps=128, resume=True)
    models = [nlf_sb3.PPO.load(tmp_path / name / "model.zip", device="cpu") for name in ("a", "b")]
    assert_same_model(*models)
    run(tmp_path / "straight")
    assert not th.equal(
        parameters_of(models[0].policy), parameters_of(nlf_sb3.PPO.load(tmp_path / "straight" / "model.zip").policy)
    ), "a stream of its own from there on"


def test_evaluations_go_on_and_the_best_model_stays(tmp_path):
    out = tmp_path / "run"
    run(out, eval_every=64, eval_episodes=2)
    evaluations = dict(np.load(out / "evaluations.npz"))
    np.savez(out / "evaluations.npz", **{**evaluations, "results": evaluations["results"] + 1e6})
    best = (out / "best_model.zip").read_bytes()
    run(out, eval_every=64, eval_episodes=2, timesteps=256, resume=True)
    assert np.load(out / "evaluations.npz")["timesteps"].tolist() == [64, 128, 192, 256]
    assert (out / "best_model.zip").read_bytes() == best


def test_a_finished_run_trains_no_further(tmp_path):
    summary = run(tmp_path / "run")
    written = (tmp_path / "run" / "model.zip").stat().st_mtime_ns
    assert run(tmp_path / "run", resume=True) == summary
    assert (tmp_path / "run" / "model.zip").stat().st_mtime_ns == written


def test_resume_begins_where_there_is_nothing_yet(tmp_path):
    assert run(tmp_path / "run", resume=True).steps == 128


def test_resume_names_each_setting_that_differs(tmp_path, rows):
    run(tmp_path / "run", expert=str(rows))
    with pytest.raises(ValueError, match=r"other settings: seed was 0 and is 1; normalize was False and is True\. Repeat"):
        run(tmp_path / "run", expert=str(rows), seed=1, normalize=True, resume=True)
    kept = rows.read_bytes()
    Demonstrations(np.zeros((1, 4), np.float32), [0]).save(rows)
    with pytest.raises(ValueError, match=r"expert_sha256 was '\w+' and is '\w+'"):
        run(tmp_path / "run", expert=str(rows), resume=True)
    rows.write_bytes(kept)


# --- refusals -----------------------------------------------------------------------------------------

REFUSALS = {
    "unknown environment": (["--env", "CartPol-v1"], "--env CartPol-v1: ", "Did you mean"),
    "unknown package": (["--env", "nothing:Env-v0"], "--env nothing:Env-v0: ", "nothing"),
    "environment's arguments": (["--env-kwargs", '{"wind": 3}'], "--env CartPole-v1: ", "wind"),
    "no JSON": (["--env-kwargs", "wind=3"], "--env-kwargs: 'wind=3' is no JSON"),
    "no JSON object": (["--env-kwargs", "3"], "--env-kwargs: got '3', expected a JSON object"),
    "no expert there": (["--expert", "nothing.zip"], "--expert: there is no nothing.zip. Expected a model's .zip"),
    "expert of another task": (["--expert", "pendulum_model"], "can't act in CartPole-v1: it acts in Box", "made for it"),
    "regulator elsewhere": (["--expert", "lqr"], "LQRExpert", "no Gymnasium MuJoCo environment"),
    "statistics alone": (["--expert-statistics", "x.pkl"], "--expert-statistics belongs to an --expert"),
    "joint alone": (["--method", "joint"], "--method joint needs --expert or --demonstrations"),
    "injection alone": (["--method", "injection"], "--method injection needs --expert"),
    "expert unused": (["--method", "none", "--expert", "lqr"], "--method none uses no --expert"),
    "probability unused": (
        ["--fork-probability", "0.1"],
        "--fork-probability is for an expert that acts, and in --method none none does",
    ),
    "probability of labels": (["--expert", "rows", "--fork-probability", "0.1"], "in --method joint none does", "injection"),
    "probability 0": (
        ["--expert", "rows", "--method", "injection", "--fork-probability", "0"],
        "--fork-probability: got 0.0, expected a number in (0, 1].",
    ),
    "probability above 1": (
        ["--expert", "rows", "--method", "takeover", "--fork-probability", "5"],
        "--fork-probability: got 5.0, expected",
    ),
    "alpha of injection": (
        ["--expert", "rows", "--method", "injection", "--alpha", "0.9"],
        "--alpha is for imitation, and --method injection without --demonstrations imitates nothing",
    ),
    "alpha alone": (["--alpha", "0.5"], "--alpha is for imitation, and --method none"),
    "kl of takeovers": (
        ["--expert", "rows", "--method", "takeover", "--imitation", "kl"],
        "--imitation is for imitation, and --method takeover without --demonstrations",
    ),
    "alpha": (["--alpha", "half"], "--alpha: got 'half', expected a number in [0, 1], or START:END"),
    "alpha's range": (["--alpha", "1:2"], "alpha: got 2.0, expected a number in [0, 1]"),
    "no pair": (["--set", "n_steps"], "--set: got 'n_steps', expected KEY=VALUE"),
    "twice": (["--set", "n_steps=8", "--set", "n_steps=9"], "--set: got 'n_steps=9', expected KEY=VALUE, each key once"),
    "typo": (["--set", "nsteps=8"], "--set nsteps=8: PPO has no argument nsteps. Did you mean n_steps?"),
    "own option": (["--set", "seed=8"], "--set seed=8: seed has an option of its own. Use --seed."),
    "own option of a field": (["--set", "imitation.loss=kl"], "imitation.loss has an option of its own. Use --imitation."),
    "typo of a field": (["--set", "injection.coeff=8"], "PPO has no argument injection.coeff. Did you mean injection.coef?"),
    "value of a field": (["--set", "injection.coef=-1"], "Injection.coef: got -1, expected a finite number of at least 0"),
    "no value": (["--set", "n_steps=[1"], "--set n_steps=[1: '[1' is no plain Python value"),
    "wrong value": (["--set", "n_steps='a'"], "PPO: "),
    "kl of rows": (["--demonstrations", "rows", "--imitation", "kl"], "imitation='kl' needs expert="),
    "steps": (["--timesteps", "0"], "--timesteps: got 0, expected at least 1."),
    "no demonstrations there": (["--demonstrations", "nothing.npz"], "there is no nothing.npz"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_mistake_is_one_line_that_teaches_and_leaves_nothing_behind(tmp_path, monkeypatch, rows, pendulum_model, case):
    arguments, *words = REFUSALS[case]
    files = {"rows": str(rows), "pendulum_model": str(pendulum_model)}
    arguments = [files.get(argument, argument) for argument in arguments]
    environment = [] if "--env" in arguments else ["--env", "CartPole-v1"]
    message = command(monkeypatch, *environment, "--out", tmp_path / "run", "--timesteps", "64", *arguments)
    assert all(word in message for word in words), message
    assert "\n" not in message
    assert not (tmp_path / "run").exists()


def test_demonstrations_of_another_task_are_refused(tmp_path, monkeypatch, rows):
    for option in ("--expert", "--demonstrations"):
        message = command(monkeypatch, "--env", PENDULUM, "--out", tmp_path / "run", option, rows)
        assert message.startswith(f"nlf-sb3: {option} {rows}")
        assert "demonstrations: got shape (200,), expected (200, 1)" in message


def test_an_existing_folder_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("mine")
    message = command(monkeypatch, "--env", "CartPole-v1", "--out", tmp_path)
    assert message == f"nlf-sb3: {tmp_path} exists already. Pass --resume to go on with it, or another --out."
    message = command(monkeypatch, "--env", "CartPole-v1", "--out", tmp_path, "--resume")
    assert "has no settings.json, so that it is no run to resume" in message
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_missing_tensorboard_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    message = command(monkeypatch, "--env", "CartPole-v1", "--out", tmp_path / "run", "--tensorboard")
    assert message == "--tensorboard needs tensorboard, which is not installed. Install it with: pip install tensorboard"


def test_an_algorithm_that_isn_t_there_is_named():
    with pytest.raises(ValueError, match="this version of nlf_sb3 has no DreamerV9"):
        algorithm_class("DreamerV9")


@pytest.mark.parametrize("text", ["0:1:0.5", "", "0.1-1"])
def test_alpha_is_a_number_or_a_line(text):
    assert parse_alpha("0.25") == 0.25
    with pytest.raises(ValueError, match="--alpha: got"):
        parse_alpha(text)


def test_help_teaches(monkeypatch, capsys):
    assert command(monkeypatch, "--help") == "0"
    shown = capsys.readouterr().out
    for word in ("--env", "--expert", "--alpha", "--set", "--resume", "--tensorboard", "checkpoint", "START:END"):
        assert word in shown


def test_from_the_shell(tmp_path):
    out = str(tmp_path / "run")
    arguments = ["--env", "CartPole-v1", "--out", out, "--timesteps", "64", "--eval-episodes", "1", "--set", "n_steps=64"]
    done = subprocess.run(
        [sys.executable, "-m", "nlf_sb3.experiments.cli", "train", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(nlf_sb3.__file__).parents[1])},
    )
    assert done.returncode == 0, done.stderr
    assert "evaluation return" in done.stdout
    assert nlf_sb3.PPO.load(f"{out}/model.zip").num_timesteps == 64
