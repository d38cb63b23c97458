"""
Compare what this checkout trains with what another commit trains, bit for bit.

    python -m benchmarks.gate against COMMIT     train both on this machine, and compare
    python -m benchmarks.gate record FILE.json   train, and write down what came out
    python -m benchmarks.gate compare FILE.json  train, and compare with what was written down on a machine like this one
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NEW_KEYS = Path(__file__).with_name("keys.json")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("command", choices=("against", "record", "compare"))
    parser.add_argument("what", help="a commit, or a file")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    arguments = parser.parse_args()
    if arguments.command == "record":
        Path(arguments.what).write_text(json.dumps(recorded(arguments.only), indent=1))
        return
    if arguments.command == "against":
        expected = recorded_at(arguments.what, arguments.only)
    else:
        expected = json.loads(Path(arguments.what).read_text())
    sys.exit(report(expected, recorded(arguments.only)))


def recorded(only: str) -> dict[str, Any]:
    """
    :param only: A part of the names of the cases to run
    :return: The machine, and what each case gave
    """
    import torch as th
    from tqdm import tqdm

    from benchmarks.gate.cases import CASES
    from benchmarks.gate.record import machine, run_case

    th.set_num_threads(1)
    start = time.perf_counter()
    names = [name for name in CASES if only in name]
    results = {name: run_case(name) for name in tqdm(names, desc="cases", file=sys.stderr)}
    print(f"{len(names)} cases in {time.perf_counter() - start:.0f} seconds")
    return {"machine": machine(), "cases": results}


def recorded_at(commit: str, only: str) -> dict[str, Any]:
    """
    :param commit: A commit that has this gate
    :param only: A part of the names of the cases to run
    :return: What :func:`recorded` gives there
    """
    with tempfile.TemporaryDirectory() as folder:
        tree, file = Path(folder) / "tree", Path(folder) / "recorded.json"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(tree), commit], cwd=ROOT, check=True)
        try:
            environment = {**os.environ, "PYTHONPATH": str(tree)}
            command = [sys.executable, "-m", "benchmarks.gate", "record", str(file), "--only", only]
            subprocess.run(command, cwd=tree, env=environment, check=True)
            result: dict[str, Any] = json.loads(file.read_text())
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)
    return result


def report(expected: dict[str, Any], found: dict[str, Any]) -> int:
    """
    Print what differs.

    :param expected: What the other commit gave
    :param found: What this one gave
    :return: 0 if nothing differs
    """
    if expected["machine"] != found["machine"]:
        print(f"Recorded on {expected['machine']}, compared on {found['machine']}: bits may differ. Use 'against COMMIT'.")
    new_keys = json.loads(NEW_KEYS.read_text())
    n_different = 0
    for name in sorted({*expected["cases"], *found["cases"]}):
        before, now = expected["cases"].get(name), found["cases"].get(name)
        differences = ["only on one side"] if before is None or now is None else differences_of(before, now, new_keys)
        n_different += bool(differences)
        if differences:
            print(f"{name}: {'; '.join(differences)}")
    print(f"{len(found['cases']) - n_different} of {len(found['cases'])} cases are equal")
    return min(n_different, 1)


def differences_of(before: dict[str, Any], now: dict[str, Any], new_keys: dict[str, str]) -> list[str]:
    """
    :param before: A case of the other commit
    :param now: The same case of this one
    :param new_keys: What logged keys of the other commit are called in this one
    :return: What differs, in words
    """
    differences = [name for name in ("parameters", "optimiser") if before[name] != now[name]]
    renamed = [{new_keys.get(key, key): value for key, value in values.items()} for values in before["logged"]]
    if len(renamed) != len(now["logged"]):
        return [*differences, f"{len(renamed)} dumps became {len(now['logged'])}"]
    for number, (old, new) in enumerate(zip(renamed, now["logged"], strict=True)):
        keys = [key for key in sorted({*old, *new}) if json.dumps(old.get(key)) != json.dumps(new.get(key))]
        if keys:
            shown = ", ".join(f"{key} {old.get(key)} -> {new.get(key)}" for key in keys[:4])
            return [*differences, f"dump {number}: {shown}"]
    return differences


if __name__ == "__main__":
    main()
