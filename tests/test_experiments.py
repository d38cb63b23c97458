"""Statistics by hand-computed numbers; runs that resume, refuse to overwrite, and write what they promise."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from nlf_sb3.experiments.claims import claims
from nlf_sb3.experiments.expert import evaluate_expert, falling_learning_rate
from nlf_sb3.experiments.plots import plot_protocol
from nlf_sb3.experiments.protocols import ARMS, PROTOCOLS, expert_path
from nlf_sb3.experiments.recording import COLUMNS
from nlf_sb3.experiments.reproduce import reproduce, seed_list
from nlf_sb3.experiments.run import Run
from nlf_sb3.experiments.runs import perform_all
from nlf_sb3.experiments.statistics import reach, speed_up, trailing_mean
from nlf_sb3.teachers import PolicyExpert

QUIET = Console(file=open(os.devnull, "w"), force_terminal=False)  # noqa: SIM115 - lives as long as the tests


def run_of(returns, arm="reinforce", seed=1, expert_steps=0):
    n = len(returns)
    count = np.arange(1, n + 1)
    return pd.DataFrame(
        {
            "protocol": "paper",
            "arm": arm,
            "seed": seed,
            "episode": count,
            "return": np.asarray(returns, dtype=float),
            "length": np.asarray(returns),
            "agent_steps": np.cumsum(returns),
            "expert_steps": count * expert_steps,
            "expert_queries": 0,
            "gradient_steps": count - 1,
            "seconds": count * 0.5,
        }
    )


# --- statistics -----------------------------------------------------------------------------------


def test_a_threshold_is_reached_when_the_trailing_mean_gets_there():
    reached = reach(run_of([1, 1, 3, 5, 9], expert_steps=10), threshold=4.0, window=2)
    assert reached == {
        "episode": 4.0,
        "agent_steps": 10.0,
        "total_steps": 50.0,
        "expert_queries": 0.0,
        "gradient_steps": 3.0,
        "seconds": 2.0,
    }


def test_a_run_that_never_gets_there_needs_infinity():
    assert set(reach(run_of([1, 1, 1]), threshold=2.0, window=2).values()) == {np.inf}


def test_no_mean_is_taken_before_the_window_is_full():
    assert np.isnan(trailing_mean(np.array([9.0, 9.0, 9.0]), window=3)).tolist() == [True, True, False]


def test_speed_up_is_the_ratio_of_medians_and_its_interval_holds_it():
    result = speed_up(np.array([100.0, 200.0, 300.0]), np.array([50.0, 100.0, 75.0]), np.full(3, 300.0))
    assert result.ratio == pytest.approx(200 / 75)
    assert result.low <= result.ratio <= result.high
    assert (result.baseline_censored, result.arm_censored) == (0, 0)


def test_paired_seeds_are_resampled_together():
    # Every seed has the same ratio, and the medians of any resample with an odd number of seeds do too.
    baseline = np.array([10.0, 200.0, 3000.0])
    result = speed_up(baseline, baseline / 2, baseline)
    assert (result.low, result.ratio, result.high) == (2.0, 2.0, 2.0)


def test_censoring_counts_against_the_arm():
    spent = np.full(3, 3000.0)
    late_baseline = speed_up(np.array([np.inf, np.inf, 1000.0]), np.array([500.0, 500.0, 500.0]), spent)
    assert late_baseline.ratio == pytest.approx(6.0)  # 3,000 were not enough: a lower bound
    assert late_baseline.baseline_median == np.inf
    late_arm = speed_up(np.array([1000.0, 1000.0, 1000.0]), np.array([np.inf, np.inf, 500.0]), spent)
    assert late_arm.ratio == 0.0
    assert late_arm.arm_censored == 2


def test_one_seed_has_no_interval():
    assert speed_up(np.array([100.0]), np.array([50.0]), np.array([100.0])).low is None


def test_claims_compare_the_arms_at_the_levels_that_the_protocol_names():
    protocol = replace(PROTOCOLS["paper"], window=2, injection_threshold=4.0)
    slow, fast = [1, 1, 2, 2, 3, 3, 4, 4, 6, 6], [1, 3, 3, 6, 6, 6, 6, 6, 6, 6]
    episodes = pd.concat(run_of(fast if arm in ("joint", "injection") else slow, arm, seed) for arm in ARMS for seed in (1, 2))
    joint, injection, control = claims(protocol, episodes)
    assert (joint.threshold, injection.threshold, control.baseline) == (6.0, 4.0, "control")
    assert joint.axes["episode"].ratio == pytest.approx(10 / 5)
    assert injection.axes["episode"].ratio == pytest.approx(8 / 4)
    assert injection.axes["gradient_steps"].ratio == pytest.approx(7 / 3)


def test_runs_no_longer_than_the_window_make_a_picture(tmp_path):
    # Their means begin at their ends, which in steps differ: no part of a curve is all seeds'.
    protocol = replace(PROTOCOLS["paper"], window=3)
    episodes = pd.concat(run_of([1, 1, 1], arm, seed, expert_steps=seed) for arm in ARMS for seed in (1, 2))
    plot_protocol(protocol, episodes, claims(protocol, episodes), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_seeds_are_the_papers_first():
    assert seed_list(2) == [1, 2]
    assert seed_list(8) == [1, 2, 3, 5, 8, 4, 6, 7]
    assert len(set(seed_list(20))) == 20
    with pytest.raises(ValueError, match="expected at least 1"):
        seed_list(0)


# --- runs ------------------------------------------------------------------------------------------


def test_the_shipped_expert_balances_to_the_end():
    assert evaluate_expert(PolicyExpert.load(expert_path()), episodes=5).tolist() == [1000.0] * 5


def test_the_recipes_step_never_turns_negative():
    # The last episode runs over the steps that were asked for, and a negative step would undo its update.
    assert [falling_learning_rate(progress) for progress in (1.0, 0.5, 0.0, -1e-4)] == [5e-4, 2.5e-4, 0.0, 0.0]


SHORT = replace(PROTOCOLS["paper"], episodes=dict.fromkeys(ARMS, 20), window=5)


def test_an_interrupted_set_goes_on_without_repeating_a_finished_run(tmp_path):
    runs = [Run(SHORT, arm, seed) for arm in ("reinforce", "control") for seed in (1, 2)]
    perform_all(runs[:2], tmp_path, jobs=1, resume=False, console=QUIET)
    finished = {run.name: run.file(tmp_path).stat().st_mtime_ns for run in runs[:2]}
    half_written = runs[2].file(tmp_path).with_suffix(".part")
    half_written.write_text("protocol,arm\n")
    perform_all(runs, tmp_path, jobs=1, resume=True, console=QUIET)
    assert {run.name: run.file(tmp_path).stat().st_mtime_ns for run in runs[:2]} == finished
    assert not half_written.exists()
    control = pd.read_csv(runs[2].file(tmp_path))
    assert list(control.columns) == COLUMNS
    assert len(control) == 20
    assert control["gradient_steps"].iloc[-1] == 39  # two updates for each counted episode, the last one's still to come


def test_runs_are_never_overwritten_nor_mixed(tmp_path):
    runs = [Run(SHORT, "reinforce", 1)]
    perform_all(runs, tmp_path, jobs=1, resume=False, console=QUIET)
    with pytest.raises(FileExistsError, match="--resume"):
        perform_all(runs, tmp_path, jobs=1, resume=False, console=QUIET)
    with pytest.raises(FileExistsError, match="other settings"):
        perform_all([Run(replace(SHORT, fixed_start=False), "reinforce", 2)], tmp_path, jobs=1, resume=True, console=QUIET)
    # What only judges the finished runs may change.
    judged = replace(SHORT, window=6, joint_threshold=3.0)
    assert perform_all([Run(judged, "reinforce", 1)], tmp_path, jobs=1, resume=True, console=QUIET).runs == 0


def test_a_run_that_fails_is_named_after_the_others_have_finished(tmp_path):
    broken = replace(SHORT, overrides={"joint": {"alpha": 2.0}})
    runs = [Run(broken, "joint", 1), Run(broken, "reinforce", 1)]
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed \(paper-joint-001\)(.|\n)*alpha: got 2.0"):
        perform_all(runs, tmp_path, jobs=1, resume=False, console=QUIET)
    assert runs[1].file(tmp_path).exists()


def test_the_same_seed_writes_the_same_episodes(tmp_path):
    tables = []
    for name in ("first", "second"):
        perform_all([Run(SHORT, "injection", 3)], tmp_path / name, jobs=1, resume=False, console=QUIET)
        tables.append(pd.read_csv(Run(SHORT, "injection", 3).file(tmp_path / name)).drop(columns="seconds"))
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["expert_steps"].iloc[-1] > 1000


def test_reproduce_writes_table_summary_and_pictures(tmp_path, monkeypatch):
    short = {name: replace(protocol, episodes=dict.fromkeys(ARMS, 12), window=5) for name, protocol in PROTOCOLS.items()}
    monkeypatch.setattr("nlf_sb3.experiments.reproduce.PROTOCOLS", short)
    found = reproduce(tmp_path, protocols=["paper", "feedback"], n_seeds=2, jobs=2, resume=False, scale=1.0, console=QUIET)
    assert len(found) == 6
    episodes = pd.read_csv(tmp_path / "episodes.csv")
    assert len(episodes) == 2 * 4 * 2 * 12
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [claim["arm"] for claim in summary["claims"]] == ["joint", "injection", "injection"] * 2
    assert summary["claims"][0]["axes"]["episode"]["seeds"] == 2
    for name in ("paper", "feedback"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


# --- command line -----------------------------------------------------------------------------------


def command(*arguments, **kwargs):
    executable = Path(sys.executable).with_name("nlf-sb3")
    return subprocess.run([executable, *arguments], capture_output=True, text=True, timeout=120, **kwargs)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["reproduce", "train-expert"]),
        (["reproduce"], ["--seeds", "--jobs", "--out", "--resume", "--protocols", "--backend", "--address"]),
    ],
)
def test_help_teaches(arguments, words):
    result = command(*arguments, "--help")
    assert result.returncode == 0
    assert all(word in result.stdout for word in words)


def test_a_mistake_is_one_line_on_stderr_and_a_failure(tmp_path):
    result = command("reproduce", "--seeds", "0", "--out", str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.strip() == "nlf-sb3: seeds: got 0, expected at least 1."


def test_a_missing_extra_names_its_install_command(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['tyro'] = None\n")
    result = command("--help", env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert result.returncode == 1
    assert 'pip install "nlf-sb3[experiments]"' in result.stderr
