"""A pytest plugin that puts this package's classes in the place of those of Stable-Baselines3 and sb3-contrib."""

from __future__ import annotations

import sb3_contrib
import stable_baselines3

import nlf_sb3

REPLACED = {stable_baselines3: ["A2C", "PPO"], sb3_contrib: ["TRPO", "RecurrentPPO", "MaskablePPO"]}

for package, names in REPLACED.items():
    for name in names:
        theirs, ours = getattr(package, name), getattr(nlf_sb3, name)
        setattr(package, name, ours)
        subpackage = theirs.__module__.rpartition(".")[0]
        setattr(__import__(subpackage, fromlist=[name]), name, ours)


def pytest_report_header() -> str:
    return f"with {', '.join(f'nlf_sb3.{name}' for names in REPLACED.values() for name in names)}"
