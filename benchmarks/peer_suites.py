"""
Run the test suites of Stable-Baselines3 and sb3-contrib with this package's classes in the place of theirs.

Fetches the source of the releases that are installed, runs the tests that use on-policy algorithms twice, once with
the peers' own classes and once with ours, and names the tests that pass with theirs and not with ours.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
PEERS = {"stable-baselines3": ("A2C", "PPO"), "sb3-contrib": ("TRPO", "RecurrentPPO", "MaskablePPO")}
OFF_POLICY = "not (SAC or TD3 or DQN or DDPG or TQC or QRDQN or CrossQ or ARS or HER)"


def fetch(peer: str, folder: Path) -> Path:
    """
    :param peer: Name of the distribution
    :param folder: Where to unpack it
    :return: The source tree of the release that is installed
    """
    wanted = [f"{peer}=={version(peer)}", "--no-deps", "--no-binary", ":all:", "--dest", str(folder), "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "download", *wanted], check=True)
    (archive,) = folder.glob(f"{peer.replace('-', '_')}-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def run(tree: Path, classes: tuple[str, ...], *, ours: bool, jobs: int, more: list[str]) -> dict[str, str]:
    """
    :param tree: A peer's source tree
    :param classes: Names, one of which a test file has to contain
    :param ours: Whether this package's classes stand in for the peer's
    :param jobs: Processes
    :param more: Arguments for pytest
    :return: Name of each test -> "passed", "failed" or "skipped"
    """
    files = [str(path) for path in sorted((tree / "tests").glob("test_*.py")) if any(n in path.read_text() for n in classes)]
    report = tree / f"{'ours' if ours else 'theirs'}.xml"
    plugin = ["-p", "our_classes"] if ours else []
    command = [*plugin, "-n", str(jobs), "-q", "-k", OFF_POLICY, f"--junitxml={report}", "--color=no", *more, *files]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    with (tree / f"{report.stem}.log").open("w") as log:
        environment = {**os.environ, "PYTHONPATH": path}
        subprocess.run([sys.executable, "-m", "pytest", *command], cwd=tree, stdout=log, stderr=log, env=environment)
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        outcomes[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return outcomes


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--peer", choices=[*PEERS], action="append", help="one suite alone; both if left out")
    parser.add_argument("--folder", type=Path, help="keep sources, logs and reports here; a temporary folder if left out")
    parser.add_argument("pytest", nargs="*", help="more arguments for pytest, after --")
    arguments = parser.parse_args()
    console, only_ours = Console(), []
    table = Table("suite", "tests", "pass with theirs", "pass with ours", "fail with ours alone")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for peer in arguments.peer or PEERS:
            with console.status(f"{peer} {version(peer)}"):
                tree = fetch(peer, folder)
                theirs, ours = (
                    run(tree, PEERS[peer], ours=ours, jobs=arguments.jobs, more=arguments.pytest) for ours in (False, True)
                )
            worse = [name for name, outcome in theirs.items() if outcome == "passed" and ours.get(name) != "passed"]
            passed = [sum(outcome == "passed" for outcome in outcomes.values()) for outcomes in (theirs, ours)]
            table.add_row(f"{peer} {version(peer)}", str(len(theirs)), *map(str, passed), str(len(worse)))
            only_ours += worse
    console.print(table)
    for name in only_ours:
        console.print(f"fails with ours alone: {name}")
    sys.exit(bool(only_ours))


if __name__ == "__main__":
    main()
