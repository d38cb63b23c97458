"""
The README's table of versions, from what the tests ran with.

``make test`` and the like leave ``results/versions/NAME.json``. ``write`` puts them into ``docs/versions.json`` and
the table; ``check NAME...`` compares them and the pins in ``constraints/`` with it, and says what differs, as CI does.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints"
RAN = ROOT / "results" / "versions"
RECORD = ROOT / "docs" / "versions.json"
README = ROOT / "README.md"
IN_CI = ("newest", "oldest")
COLUMNS = {
    "stable-baselines3": "Stable-Baselines3",
    "sb3-contrib": "sb3-contrib",
    "gymnasium": "Gymnasium",
    "numpy": "NumPy",
    "torch": "torch",
    "mujoco": "MuJoCo",
    "imitation": "imitation",
    "python": "Python",
}
_MARKED = re.compile(r"(?<=<!-- versions -->\n).*?(?=<!-- /versions -->)", re.DOTALL)

Sets = dict[str, dict[str, str]]


def table(sets: Sets) -> str:
    """
    :param sets: Name of each set -> name of each package -> its version
    :return: The table in Markdown, sets that CI runs first
    """
    names = sorted(sets, key=lambda name: (name not in IN_CI, name))
    rows = [["set", *COLUMNS.values(), "run by"], ["---"] * (len(COLUMNS) + 2)]
    for name in names:
        rows.append([f"`{name}`", *(sets[name][column] for column in COLUMNS), "CI" if name in IN_CI else "hand"])
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def with_table(readme: str, sets: Sets) -> str:
    """
    :param readme: Its text
    :param sets: As in :func:`table`
    :return: The text with the table between its marks
    :raises ValueError: If it has no marks
    """
    if not _MARKED.search(readme):
        raise ValueError("README.md: found no <!-- versions --> and <!-- /versions -->, between which the table goes.")
    return _MARKED.sub(lambda _: table(sets), readme)


def _ran() -> Sets:
    return {path.stem: json.loads(path.read_text()) for path in sorted(RAN.glob("*.json"))}


def write() -> None:
    """Renew the record and the README with the sets that have run here; the others stay as recorded."""
    sets = {**(json.loads(RECORD.read_text()) if RECORD.exists() else {}), **_ran()}
    RECORD.write_text(json.dumps(sets, indent=2, sort_keys=True) + "\n")
    README.write_text(with_table(README.read_text(), sets))


def pins(name: str) -> dict[str, str]:
    """
    :param name: A set's
    :return: Name of each package that it pins -> its version
    """
    lines = (CONSTRAINTS / f"{name}.txt").read_text().lower().replace("_", "-").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def check(names: list[str]) -> list[str]:
    """
    :param names: Sets that have to have run here
    :return: What differs between them, the pins and the record
    """
    ran, recorded = _ran(), json.loads(RECORD.read_text())
    differences = [
        f"{path.stem}: pins {package}=={pin}, the table says {recorded.get(path.stem, {}).get(package)}"
        for path in sorted(CONSTRAINTS.glob("*.txt"))
        for package, pin in pins(path.stem).items()
        if package in COLUMNS and pin != recorded.get(path.stem, {}).get(package)
    ]
    differences += [f"{name}: its tests have not passed here (make test-{name})" for name in names if name not in ran]
    for name in set(names) & set(ran):
        differences += [
            f"{name}: ran with {package} {ran[name][package]}, the table says {recorded.get(name, {}).get(package)}"
            for package in COLUMNS
            if ran[name][package] != recorded.get(name, {}).get(package)
        ]
    return differences


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "check"])
    parser.add_argument("names", nargs="*", help="for check: sets that have to have run here")
    arguments = parser.parse_args()
    if arguments.what == "write":
        write()
    elif differences := check(arguments.names):
        sys.exit("\n".join([*differences, "Mend with: make test-sets versions"]))


if __name__ == "__main__":
    main()
