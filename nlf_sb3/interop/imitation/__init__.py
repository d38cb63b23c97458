"""
Work with the ``imitation`` library: its data, files, policies and trainers, and behaviour cloning through its ``BC``.

What needs ``imitation`` imports it when it is called: ``pip install "nlf-sb3[imitation]"``.
"""

from nlf_sb3.interop.imitation.cloning import clone
from nlf_sb3.interop.imitation.files import load_trajectories, save_trajectories
from nlf_sb3.interop.imitation.from_imitation import to_demonstrations, to_segments
from nlf_sb3.interop.imitation.policies import load_policy, load_trainer
from nlf_sb3.interop.imitation.to_imitation import to_trajectories, to_transitions
from nlf_sb3.interop.imitation.warm_starts import warm_start

__all__ = [
    "clone",
    "load_policy",
    "load_trainer",
    "load_trajectories",
    "save_trajectories",
    "to_demonstrations",
    "to_segments",
    "to_trajectories",
    "to_transitions",
    "warm_start",
]
