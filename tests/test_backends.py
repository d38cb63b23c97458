"""The same rows through every backend, and what is refused, kept and named where runs, workers or people break off."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
from dask.distributed import LocalCluster
from joblib import register_parallel_backend
from joblib.parallel import LokyBackend
from rich.console import Console

import nlf_sb3
from nlf_sb3 import presets
from nlf_sb3.errors import MissingExtraError
from nlf_sb3.experiments import cli
from nlf_sb3.experiments.protocols import ARMS, PROTOCOLS
from nlf_sb3.experiments.reproduce import reproduce
from nlf_sb3.experiments.run import Run, perform, software
from nlf_sb3.experiments.runs import perform_all

QUIET = Console(file=open(os.devnull, "w"), force_terminal=False)  # noqa: SIM115 - lives as long as the tests
SHORT = replace(PROTOCOLS["paper"], episodes={**dict.fromkeys(ARMS, 10), "injection": 4}, window=4)
RUNS = [Run(SHORT, arm, 1) for arm in ARMS]
BROKEN = Run(replace(SHORT, overrides={"joint": {"alpha": 2.0}}), "joint", 9)


def register_own():
    """What a package does that brings a backend."""
    register_parallel_backend("own", LokyBackend)


def train(runs, out, backend, jobs=2, **options):
    return perform_all(runs, out, **{"jobs": jobs, "resume": False, "console": QUIET, "backend": backend, **options})


def rows(runs, out):
    """All columns but the seconds."""
    return pd.concat([pd.read_csv(run.file(out)) for run in runs], ignore_index=True).drop(columns="seconds")


@pytest.fixture(scope="module")
def sequential(tmp_path_factory):
    """The folder of all runs, one after the other in this process."""
    out = tmp_path_factory.mktemp("sequential")
    assert train(RUNS, out, "sequential").workers == 1
    return out


@pytest.fixture(scope="module")
def expected(sequential):
    return rows(RUNS, sequential)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """
    Two workers behind an address, which get no second chance with a run that ends them.

    One of them does not see the tests' folders, as on another machine, where the system lets a process hide a folder.
    """
    hidden = tmp_path_factory.getbasetemp()
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", "--nthreads", "1", "--no-dashboard"]
    hide = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs none "$0" && exec "$@"', hidden]
    if shutil.which("unshare") and not subprocess.run([*hide, "true"], capture_output=True).returncode:
        worker = [*hide, *worker]
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with dask.config.set({"distributed.scheduler.allowed-failures": 0}), LocalCluster(**settings) as started:
        same_code = {**os.environ, "PYTHONPATH": str(Path(nlf_sb3.__file__).parents[1])}
        command = [*worker, started.scheduler_address]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd="/", env=same_code)
        while len(started.scheduler.workers) < 2:
            assert process.poll() is None
            time.sleep(0.05)
        yield started.scheduler_address
        process.terminate()
        process.wait()


@pytest.fixture
def interrupts_as_in_a_terminal():
    """A shell's background jobs ignore Ctrl-C, and what they start does too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# --- the same rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "dask", "own"])
def test_every_backend_writes_the_same_rows(tmp_path, expected, backend):
    register = f"{__name__}:{register_own.__name__}" if backend == "own" else None
    jobs = 1 if backend == "dask" else 2  # where one job makes a cluster too, and more only take their time to start
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    done = train(RUNS, tmp_path, backend, jobs=jobs, register=register)
    assert np.random.get_state()[1].tolist() == before, "nothing ran here, not even for the only worker of a cluster"
    assert (done.runs, done.workers) == (4, jobs)
    pd.testing.assert_frame_equal(rows(RUNS, tmp_path), expected)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "settings.json"}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {f"{run.name}.csv" for run in RUNS}


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_a_cluster_at_an_address_writes_the_same_rows(tmp_path, expected, cluster, by):
    with dask.config.set({"scheduler-address": cluster if by == "environment" else None}):
        done = train(RUNS, tmp_path, "dask", jobs=1, address=cluster if by == "argument" else None)
    assert (done.runs, done.workers) == (4, 2), "the cluster counts its workers, whatever the jobs"
    pd.testing.assert_frame_equal(rows(RUNS, tmp_path), expected)


def test_runs_in_threads_of_one_process_wait_for_each_other(tmp_path, expected):
    # As on workers of two threads that join a cluster after its workers were checked.
    (tmp_path / "runs").mkdir()
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda run: perform(run, tmp_path, tmp_path, software()), RUNS))
    assert [outcome.error for outcome in outcomes] == [None] * 4
    pd.testing.assert_frame_equal(rows(RUNS, tmp_path), expected)


def test_a_run_whose_folder_is_not_shared_writes_nothing_there(tmp_path, expected):
    (tmp_path / "runs").mkdir()
    outcome = perform(RUNS[0], tmp_path, tmp_path / ".shared-elsewhere", software())
    assert (outcome.name, outcome.error) == (RUNS[0].name, None)
    (tmp_path / "came.csv").write_bytes(outcome.rows)
    found = pd.read_csv(tmp_path / "came.csv").drop(columns="seconds")
    pd.testing.assert_frame_equal(found, expected[expected["arm"] == "reinforce"])
    assert list((tmp_path / "runs").iterdir()) == []


# --- what breaks off ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["sequential", "loky", "multiprocessing", "dask"])
def test_a_run_that_fails_is_named_with_its_traceback_through_every_backend(tmp_path, cluster, backend):
    address = cluster if backend == "dask" else None
    with pytest.raises(RuntimeError, match=rf"1 of 2 runs failed \({BROKEN.name}\)(.|\n)*Traceback(.|\n)*alpha: got 2.0"):
        train([BROKEN, RUNS[0]], tmp_path, backend, address=address)
    assert RUNS[0].file(tmp_path).exists()


def test_workers_with_other_software_are_refused(tmp_path):
    here = software()
    for name in ("numpy", "code of nlf-sb3"):
        outcome = perform(RUNS[0], tmp_path, tmp_path, {**here, name: "0.1"})
        assert f"found {{{name!r}: {here[name]!r}}}, expected {{" in outcome.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("interrupts_as_in_a_terminal")
@pytest.mark.parametrize("backend", ["loky", "dask"])
def test_an_interrupt_keeps_finished_runs_and_resume_goes_on(tmp_path, cluster, backend):
    address = cluster if backend == "dask" else None
    runs = [RUNS[0], *(Run(replace(SHORT, episodes={"reinforce": 80}), "reinforce", seed) for seed in (11, 12))]

    def interrupt():
        while not list((tmp_path / "runs").glob("*.csv")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        train(runs, tmp_path, backend, address=address)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").glob("*.csv")}
    assert 0 < len(finished) < 3
    # Dask's workers still train what was cut off; joblib's own have ended, and starting new ones takes its time.
    done = train(runs, tmp_path, backend if address else "sequential", address=address, resume=True)
    assert done.runs == 3 - len(finished)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert rows(runs[1:], tmp_path).groupby("seed")["episode"].apply(list).tolist() == [list(range(1, 81))] * 2
    assert not list((tmp_path / "runs").glob("*.part"))


@pytest.mark.usefixtures("interrupts_as_in_a_terminal")
def test_who_interrupts_the_command_reads_how_to_go_on(tmp_path, monkeypatch):
    arguments = ["--seeds", "1", "--scale", "0.1", "--backend", "sequential", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["nlf-sb3", "reproduce", *arguments])

    def interrupt():
        while not list(tmp_path.glob("runs/*.part")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(SystemExit, match="nlf-sb3: interrupted; finished runs are kept, go on with --resume"):
        cli.main()


def test_a_run_that_ends_its_worker_is_named_and_the_others_are_finished(tmp_path, cluster):
    here = os.getpid()
    fatal_there = replace(SHORT, name="fatal", preset=lambda: presets.paper() if os.getpid() == here else os._exit(7))
    fatal = Run(fatal_there, "reinforce", 1)
    with pytest.raises(RuntimeError, match=r"1 of 2 runs failed \(fatal-reinforce-001\)(.|\n)*worker died(.|\n)*KilledWorker"):
        train([fatal, RUNS[0]], tmp_path, "dask", address=cluster)
    assert RUNS[0].file(tmp_path).exists()


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "lokey"}, r"got 'lokey', expected one that joblib knows \(dask, loky, multiprocessing, .*--register ray"),
        ({"backend": "threading"}, "threading would run 2 at a time in one process, and each run needs a process of its own"),
        ({"backend": "loky", "address": "tcp://127.0.0.1:8786"}, "address: got 'tcp.*which is Dask's; the backend is loky"),
        ({"backend": "dask", "address": "tcp://scheduler:port"}, "address: got 'tcp://scheduler:port', expected Dask's sched"),
        ({"backend": "dask", "address": "foo://127.0.0.1:1"}, "address: got 'foo://127.0.0.1:1', expected Dask's scheduler"),
        ({"backend": "ray", "register": "nowhere:register"}, "register: got 'nowhere:register', expected package.module:func"),
    ],
)
def test_a_backend_that_will_not_do_says_why(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        train(RUNS, tmp_path, **options)


def test_workers_of_several_threads_are_refused(tmp_path):
    settings = {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": "127.0.0.1:0", "processes": False}
    with LocalCluster(**settings) as threads, pytest.raises(ValueError, match=r"found 2 threads in a worker.*--nthreads 1"):
        train(RUNS, tmp_path, "dask", address=threads.scheduler_address)


def test_a_missing_cluster_extra_names_its_install_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=re.escape('pip install "nlf-sb3[cluster]"')):
        train(RUNS, tmp_path, "dask")


# --- the wall clock -----------------------------------------------------------------------------------


def test_a_resumed_set_is_not_mistaken_for_a_whole_one(tmp_path, sequential, monkeypatch, capsys):
    monkeypatch.setattr("nlf_sb3.experiments.reproduce.PROTOCOLS", {"paper": SHORT})
    out = shutil.copytree(sequential, tmp_path / "out")
    RUNS[2].file(out).unlink()
    began = time.perf_counter()
    options = {"protocols": ["paper"], "n_seeds": 1, "jobs": 1, "scale": 1.0, "console": Console(width=120)}
    reproduce(out, resume=True, backend="sequential", **options)
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["runs_in_this_invocation"], summary["workers"], summary["backend"]) == (1, 1, "sequential")
    assert 0 < summary["wall_seconds"] <= time.perf_counter() - began + 0.01
    last_line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"1 run in \d+:\d\d on 1 worker \(3 finished earlier\)", last_line)
    assert train(RUNS, out, "loky", resume=True).runs == 0
