"""The bench by the real command on a tiny scale, its arithmetic by hand, and what its comparisons rest on."""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
from importlib.metadata import version
from typing import get_args, get_type_hints

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3
import torch as th
from rich.console import Console

from nlf_sb3.experiments import cli
from nlf_sb3.experiments.bench import injection, joint, parts, processes, reinforce, scaling
from nlf_sb3.experiments.bench.bench import PARTS, bench
from nlf_sb3.experiments.bench.direct_injection import DirectInjection, Played, policy_loss
from nlf_sb3.experiments.bench.records import Figure, Reach, Trial, ratio_of_times
from nlf_sb3.experiments.bench.timing import Elapsed, Interval, interval_of_median, one_thread
from nlf_sb3.experiments.protocols import ENV_ID

QUIET = Console(file=open(os.devnull, "w"), force_terminal=False)  # noqa: SIM115 - lives as long as the tests


def command(monkeypatch, *arguments):
    """The command line in this process."""
    monkeypatch.setattr(sys, "argv", ["nlf-sb3", "bench", *map(str, arguments)])
    cli.main()


# --- the command ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All parts, as small as can be: the file, and what was printed."""
    out, printed, threads = tmp_path_factory.mktemp("bench") / "new", io.StringIO(), th.get_num_threads()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(scaling, "ENVIRONMENTS", (1, 64))  # of each kind the same, only fewer
        patch.setattr(scaling, "WIDTHS", (16,))
        patch.setenv("COLUMNS", "80")
        command(patch, "--scale", "0.001", "--repeats", "1", "--out", out)
    assert th.get_num_threads() == threads
    assert [path.name for path in out.iterdir()] == ["bench.json"]
    return json.loads((out / "bench.json").read_text()), printed.getvalue()


def test_the_file_says_what_was_measured_and_where(whole):
    content, _ = whole
    assert (content["repeats"], content["scale"], content["torch_threads"]) == (1, 0.001, 1)
    assert set(content["blas_threads"]) == {1}
    assert content["versions"]["stable-baselines3"] == version("stable-baselines3")
    assert content["platform"]
    assert content["python"] == sys.version.split()[0]
    assert content["parts"] == list(PARTS) == list(dict.fromkeys(one["part"] for one in content["measurements"]))
    for one in content["measurements"]:
        assert len(one["values"]) == len(one["measured"]) == 1
        assert one["low"] == one["median"] == one["high"] == one["values"][0]
        assert one["interval"] == "range"
        assert (one["is_reached"] is None) == (one["reach"] is None)
        assert (one["cpu_values"] is None) == (one["unit"] in ("us/row", "us/step", "MB", "steps/s"))
        assert one["cpu_median"] == (one["cpu_values"] and one["cpu_values"][0])


@pytest.mark.parametrize(
    ("part", "reaches"),
    [
        ("reinforce", [">= 0.5", ">= 0.35", None, None]),
        ("joint", ["<= 1.1"] * 4),
        ("expert", [None, None, None, "<= 10"]),
        ("wrapper", ["<= 5"]),
        ("injection", [None, "< 500", ">= 15", None, None]),
        ("import", ["<= 1.1", None]),
        ("scaling", [None] * 9),
    ],
)
def test_each_part_has_its_figures_and_what_they_are_to_reach(whole, part, reaches):
    own = [one for one in whole[0]["measurements"] if one["part"] == part]
    assert [one["reach"] for one in own] == reaches
    assert all(np.isfinite(number) for one in own for number in (one["values"][0], *one["measured"][0].values()))


def test_values_follow_from_what_was_measured(whole):
    content, _ = whole
    own = {(one["part"], one["name"]): (one["values"][0], one["measured"][0]) for one in content["measurements"]}
    value, numbers = own["reinforce", "REINFORCE, expert="]
    assert value == numbers["bare_seconds"] / numbers["training_seconds"]
    assert 0 < numbers["bare_cpu_seconds"] < numbers["training_cpu_seconds"]
    (cpu_value,) = content["measurements"][0]["cpu_values"]
    assert cpu_value == numbers["bare_cpu_seconds"] / numbers["training_cpu_seconds"]
    assert numbers["episodes"] == 16  # one update of the class's on 16 episodes, the least there can be
    value, numbers = own["joint", "PPO, expert=, 8 envs, learning rate 0"]
    assert value == numbers["joint_seconds"] / numbers["sb3_seconds"]
    assert numbers["steps"] == 64 * joint.ROUNDS
    assert numbers["joint_episodes"] == numbers["sb3_episodes"] > 0
    value, numbers = own["wrapper", "FeedbackWrapper, env and teacher excluded"]
    assert value == numbers["own"] < numbers["wrapped"]
    value, numbers = own["injection", "20 episodes"]
    assert value == numbers["direct_seconds"] / numbers["ours_compared_seconds"]
    assert numbers["direct_episodes"] == numbers["ours_episodes"] == 1
    assert 100 < own["injection", "100 episodes, peak memory"][0] < 1000
    value, numbers = own["import", "import nlf_sb3"]
    assert value > 1.0
    assert numbers["nlf_sb3_seconds"] > numbers["sb3_seconds"] > 0
    assert numbers["nlf_sb3_cpu_seconds"] > numbers["sb3_cpu_seconds"] > 0
    assert own["expert", "PolicyExpert.act, 1,024 rows"][0] < own["expert", "PolicyExpert(model).act, 1 row"][0]


def test_the_table_shows_it(whole):
    content, printed = whole
    table = printed[printed.index("nlf-sb3 bench") :]
    assert "…" not in table, "cut off, in a terminal of 80 columns"
    printed = " ".join(table.split())
    for one in content["measurements"]:
        assert one["name"].split(",")[0] in printed
    shown = f"{content['measurements'][0]['median']:.3g}"
    assert f">= 0.5 {'yes' if content['measurements'][0]['is_reached'] else 'no'}" in printed
    assert "nlf-sb3 bench, 1 repeat" in printed
    assert "[low, high]: 95% bootstrap interval; *: min and max, of fewer than 5 repeats." in printed
    assert "Scale 0.001" in printed
    assert f"[{shown}, {shown}]*" in printed


def test_help_teaches_and_knows_every_part(monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, "--help")
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("--parts", "--repeats", "--scale", "--out", "FeedbackWrapper's own cost"))
    (part, _) = get_args(get_type_hints(cli.Bench)["parts"])
    assert get_args(part) == cli.Bench.parts == tuple(PARTS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "0"], "nlf-sb3: repeats: got 0, expected at least 1."),
        (["--scale", "0"], "nlf-sb3: scale: got 0.0, expected a positive number."),
        (["--scale", "nan"], "nlf-sb3: scale: got nan, expected a positive number."),
        (["--scale", "inf"], "nlf-sb3: scale: got inf, expected a positive number."),
    ],
)
def test_a_bad_argument_is_one_line(monkeypatch, tmp_path, arguments, message):
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, *arguments, "--out", tmp_path / "bench")
    assert caught.value.code == message
    assert not (tmp_path / "bench").exists()


def test_an_unknown_part_is_refused_with_those_there_are(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        command(monkeypatch, "--parts", "joint", "speed", "--out", tmp_path)
    assert caught.value.code == 2
    complaint = capsys.readouterr().err
    assert all(name in complaint for name in ("speed", *PARTS))
    with pytest.raises(ValueError, match="parts: got speed, expected some of reinforce, joint, expert, wrapper, injection"):
        bench(tmp_path, chosen=["joint", "speed"], repeats=1, scale=1.0, console=QUIET)
    with pytest.raises(ValueError, match="parts: got none"):
        bench(tmp_path, chosen=[], repeats=1, scale=1.0, console=QUIET)


def test_measurements_are_never_overwritten(tmp_path):
    arguments = {"chosen": ["wrapper", "wrapper"], "repeats": 2, "scale": 0.001, "console": QUIET}
    (measurement,) = bench(tmp_path, **arguments)
    assert len(measurement.values) == 2
    before = (tmp_path / "bench.json").read_bytes()
    with pytest.raises(FileExistsError, match=r"bench\.json exists already"):
        bench(tmp_path, **arguments)
    assert (tmp_path / "bench.json").read_bytes() == before


def test_an_interrupted_bench_keeps_the_parts_that_were_finished(tmp_path):
    path = tmp_path / "bench.json"

    def interrupt():
        while not path.exists():
            time.sleep(0.01)
        time.sleep(0.5)  # into the next part
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    thread = threading.Thread(target=interrupt)
    printed = io.StringIO()
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt, match=r"interrupted; .*bench\.json keeps wrapper$"):
            bench(tmp_path, chosen=["wrapper", "injection"], repeats=3, scale=0.01, console=Console(file=printed, width=120))
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)
    content = json.loads(path.read_text())
    assert content["parts"] == ["wrapper"]
    assert [len(one["values"]) for one in content["measurements"]] == [3]
    assert "FeedbackWrapper, env and teacher excluded" in printed.getvalue()


# --- arithmetic ---------------------------------------------------------------------------------------


def test_few_repeats_have_their_lowest_and_highest_value():
    assert interval_of_median([3.0]) == Interval(3.0, 3.0, "range")
    assert interval_of_median([3.0, 1.0, 2.0, 9.0]) == Interval(1.0, 9.0, "range")


def test_more_repeats_have_a_bootstrap_interval():
    # A resample of five has the lowest value for its median if it holds it three times: 5.8% of them, more than 2.5%.
    assert interval_of_median([4.0, 1.0, 100.0, 2.0, 3.0]) == Interval(1.0, 100.0, "bootstrap")
    # Of seven, with four times: 1.0%, too few; the two lowest together 10.8%.
    assert interval_of_median([4.0, 1.0, 7.0, 2.0, 6.0, 5.0, 3.0]) == Interval(2.0, 6.0, "bootstrap")
    assert interval_of_median([2.0] * 5) == Interval(2.0, 2.0, "bootstrap")


def test_a_median_of_ratios_is_taken_pair_by_pair():
    figure = ratio_of_times("time", "x theirs", "ours", "theirs", Reach("<=", 1.1))
    pairs = [(1.0, 1.0), (30.0, 10.0), (100.0, 200.0)]
    measured = [Elapsed(ours, ours).named("ours") | Elapsed(theirs, 2 * theirs).named("theirs") for ours, theirs in pairs]
    measurement = figure.measurement("part", measured)
    assert measurement.values == (1.0, 3.0, 0.5)
    assert measurement.median == 1.0  # the ratio of the medians is 3
    assert measurement.is_reached is True
    assert measurement.cpu_values == (0.5, 1.5, 0.25)
    assert measurement.cpu_median == 0.5
    without = Figure("time", "s", lambda numbers: numbers["ours_seconds"]).measurement("part", measured)
    assert without.values == (1.0, 30.0, 100.0)
    assert without.is_reached is without.cpu_values is without.cpu_median is None


def test_a_bound_that_is_met_is_reached_unless_it_is_strict():
    assert [Reach(sense, 2.0).is_reached_by(2.0) for sense in (">=", "<=", "<")] == [True, True, False]
    assert [Reach(sense, 2.0).is_reached_by(1.9) for sense in (">=", "<=", "<")] == [False, True, True]


def test_a_trial_has_no_more_repeats_than_it_wants():
    trial = Trial("trial", lambda seed, scale: {}, ())
    assert trial.repeats(5) == 5
    assert [Trial("trial", lambda seed, scale: {}, (), most_repeats=3).repeats(n) for n in (2, 5)] == [2, 3]


def test_threads_are_given_back_after_an_error_too():
    before = th.get_num_threads()

    def fail():
        with one_thread():
            assert th.get_num_threads() == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert th.get_num_threads() == before


# --- what the comparisons rest on -----------------------------------------------------------------------


def test_the_bare_loop_replays_the_episodes_of_training():
    recorded = reinforce.RecordedSteps(gym.make(ENV_ID))
    stable_baselines3.A2C("MlpPolicy", recorded, seed=3, device="cpu").learn(100)
    assert recorded.seeds[0] == 3
    assert len(recorded.actions) == 100
    again = reinforce.RecordedSteps(gym.make(ENV_ID))
    ends = reinforce.replay(again, recorded.actions, recorded.seeds)
    assert ends == recorded.ends == again.ends
    assert 3 < len(ends) < 50
    assert np.array_equal(again.unwrapped.data.qpos, recorded.unwrapped.data.qpos)
    assert reinforce.replay(gym.make(ENV_ID), recorded.actions, [4]) != ends, "another start, other episodes"


def test_training_that_does_not_repeat_itself_is_no_pair():
    def unseeded(env, seed):
        return stable_baselines3.A2C("MlpPolicy", env, device="cpu")

    with pytest.raises(RuntimeError, match="they are not the same steps"):
        reinforce.beside_bare_loop(lambda env, seed: unseeded(env, seed), 60, 1, 1.0)


def test_without_learning_both_take_the_same_steps_and_with_it_they_do_not():
    numbers = joint.beside_sb3("A2C", 960, False, seed=2, scale=1.0)
    assert numbers["joint_episodes"] == numbers["sb3_episodes"]
    numbers = joint.beside_sb3("A2C", 960, True, seed=2, scale=1.0)
    assert numbers["steps"] == 960
    assert numbers["joint_episodes"] != numbers["sb3_episodes"]


def test_the_cheap_environment_is_one():
    from gymnasium.utils.env_checker import check_env

    check_env(parts.CheapEnv(), skip_render_check=True)
    env = parts.CheapEnv()
    assert env.step(env.action_space.sample())[0] is not env.step(env.action_space.sample())[0]


def test_a_process_s_peak_memory_is_its_own():
    # This process has more than a hundred megabytes, with which getrusage's figure would begin.
    assert processes.peak_megabytes() > 100
    code = (
        f"import runpy; peak = runpy.run_path({processes.__file__!r})['peak_megabytes'];"
        "before = peak(); ballast = b'.' * 2**26; print(before, peak())"
    )
    before, after = map(float, processes.run_python(code).split())
    assert before < 100
    assert 60 < after - before < 70


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"(?s)failed with 1:.*ValueError: not today"):
        processes.run_python("raise ValueError('not today')")
    with pytest.raises(RuntimeError, match=r"a new Python process imports .*elsewhere.*, this one"):
        processes.check_same_copy("/elsewhere/nlf_sb3/__init__.py")


# --- injection in plain PyTorch -----------------------------------------------------------------------------


def test_the_direct_loss_is_the_papers():
    log_probs = [th.tensor(-0.5, requires_grad=True), th.tensor(-2.0, requires_grad=True)]
    loss = policy_loss(Played(log_probs=log_probs, rewards=[3.0, 100.0]))
    assert loss.item() == pytest.approx(0.5 * (3 + 0.99 * 100) + 2.0 * 100)
    loss.backward()
    assert [float(one.grad) for one in log_probs] == pytest.approx([-102.0, -100.0])


def test_the_direct_injection_plays_and_learns_as_the_papers_protocol_says():
    with th.random.fork_rng(devices=[]):
        direct = DirectInjection(2)
        initial = [parameter.clone() for parameter in direct.policy.parameters()]
        direct.train(2)
    own = injection.train_ours(1, 2, seed=2)
    assert len(direct.returns) == own["ours_episodes"] == 2
    assert all(1 <= one < 100 for one in (*direct.returns, own["ours_mean_return"]))
    assert direct.expert_returns
    assert direct.expert_returns == [1000.0] * len(direct.expert_returns), "the expert goes on to the time limit"
    expert_steps = 1000 * len(direct.expert_returns)
    assert expert_steps - 50 < len(direct.expert_outputs) <= expert_steps, "all but the steps that it shares"
    assert direct.expert_outputs[0][2].grad_fn is not None, "graphs are kept, as they were"
    updates = {int(state["step"]) for state in direct.optimizer.state.values()}
    assert updates == {2 + len(direct.expert_returns)}
    assert not any(th.equal(one, other) for one, other in zip(initial, direct.policy.parameters(), strict=True))


def test_our_injection_ends_with_the_update_on_its_last_episode():
    numbers = injection.train_ours(2, 4, seed=1)
    assert numbers["ours_episodes"] == 4
    assert 0 < numbers["ours_compared_seconds"] < numbers["ours_seconds"]
    experts_episodes = numbers["ours_steps"] // 1000
    assert experts_episodes > 0
    assert numbers["ours_updates"] == 4 + experts_episodes, "an expert's episode is an update of its own"
