"""The arms that other people's methods are: what this package's own are compared with."""

from __future__ import annotations

from functools import partial

from nlf_sb3.experiments.compare.arm import Arm
from nlf_sb3.experiments.compare.cloning import TUNED_ROUNDS, Rounds, train_bc, train_dagger
from nlf_sb3.experiments.compare.demonstrated_ppo import train_bc_ppo, train_dapg
from nlf_sb3.experiments.compare.jsrl import train_jsrl

_ARMS = (
    Arm("bc", "Behavioural cloning from more and more labels, by imitation.", train_bc, needs_expert=True),
    Arm("dagger", "DAgger with imitation's defaults.", partial(train_dagger, rounds=Rounds()), needs_expert=True),
    Arm(
        "dagger-tuned",
        "DAgger in shorter rounds, in which the expert acts once and the agent trains for longer.",
        partial(train_dagger, rounds=TUNED_ROUNDS),
        needs_expert=True,
    ),
    Arm("bc-ppo", "PPO from a policy that was cloned first.", train_bc_ppo, needs_expert=True),
    Arm("dapg", "DAPG: cloned first, then PPO with demonstrations whose weight decays.", train_dapg, needs_expert=True),
    Arm("jsrl", "Jump-Start RL: the expert acts first, for ever fewer steps of an episode.", train_jsrl, needs_expert=True),
)
BASELINES: dict[str, Arm] = {arm.name: arm for arm in _ARMS}
