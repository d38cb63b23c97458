"""After a passed session, leave the versions it ran with where the README's table is made from (docs/versions.py)."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = ["stable-baselines3", "sb3-contrib", "gymnasium", "numpy", "torch", "mujoco", "imitation"]


def versions() -> dict[str, str]:
    """Name of each package that matters -> its version, without the build's suffix."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"python": python} | {package: version(package).split("+")[0] for package in PACKAGES}


def record(path: Path, passed: bool) -> None:
    """
    :param path: The file, which a session that failed removes
    :param passed: Whether every test passed
    """
    path.unlink(missing_ok=True)
    if passed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(versions(), indent=2) + "\n")
