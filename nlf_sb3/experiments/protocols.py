"""What the reproduction runs: protocols, arms, environments and models."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym

from nlf_sb3 import presets
from nlf_sb3.algorithms import REINFORCE
from nlf_sb3.teachers import PolicyExpert
from nlf_sb3.wrappers import FixedStart, TrajectoryInjection

Arm = Literal["reinforce", "joint", "injection", "control"]
ARMS: tuple[Arm, ...] = ("reinforce", "joint", "injection", "control")
# Gymnasium 0.29 has no v5. The two differ in the reward of the last, fallen step: v4 gives 1, v5 gives 0.
ENV_ID = "InvertedPendulum-v5" if "InvertedPendulum-v5" in gym.registry else "InvertedPendulum-v4"


@dataclass(frozen=True)
class Protocol:
    """
    One way of running the four arms.

    :param name: Its name in every output
    :param preset: Arguments of the algorithm, from :mod:`nlf_sb3.presets`
    :param fixed_start: Whether every episode of a seed starts from the same state
    :param episodes: Counted episodes of each arm. One of ``control`` is two of the agent's.
    :param window: Episodes in the trailing mean return
    :param joint_threshold: Return that the joint claim is about; None for what REINFORCE reaches at its end
    :param injection_threshold: The same of the injection claim
    :param overrides: Arguments that differ from the preset in one arm
    """

    name: str
    preset: Callable[[], dict[str, Any]]
    fixed_start: bool
    episodes: dict[Arm, int]
    window: int
    joint_threshold: float | None
    injection_threshold: float | None
    overrides: dict[Arm, dict[str, Any]]

    def scaled(self, factor: float) -> Protocol:
        """
        :param factor: What the numbers of episodes are multiplied by
        :return: A shorter protocol of the same name
        """
        episodes = {arm: max(self.window, round(count * factor)) for arm, count in self.episodes.items()}
        return Protocol(**{**vars(self), "episodes": episodes})

    def settings(self) -> dict[str, Any]:
        """Everything that decides a run's outcome beside its seed, as plain data."""
        judges = ("preset", "window", "joint_threshold", "injection_threshold")  # the preset's arguments are below
        plain = {key: value for key, value in asdict(self).items() if key not in judges}
        arguments = {key: str(value) for key, value in self.preset().items()}
        expert = hashlib.sha256(Path(expert_path()).read_bytes()).hexdigest()
        return {**plain, "env": ENV_ID, "arguments": arguments, "expert_sha256": expert}


PROTOCOLS = {
    "paper": Protocol(
        name="paper",
        preset=presets.paper,
        fixed_start=True,
        episodes={"reinforce": 3000, "joint": 3000, "injection": 600, "control": 600},
        window=50,
        joint_threshold=None,
        injection_threshold=20.0,
        overrides={},
    ),
    "feedback": Protocol(
        name="feedback",
        preset=lambda: presets.feedback("REINFORCE"),
        fixed_start=False,
        episodes={"reinforce": 300, "joint": 150, "injection": 150, "control": 150},
        window=20,
        # Half of the maximum: REINFORCE learns and falls again here, so that where it ends says nothing.
        joint_threshold=500.0,
        injection_threshold=500.0,
        # Injected rows join the agent's update, so that the control has as many updates with twice the episodes.
        overrides={"control": {"n_episodes": 8, "batch_size": 2}},
    ),
}


def expert_path() -> str:
    """Where the expert's weights lie that the package ships."""
    return str(files("nlf_sb3") / "assets" / "inverted_pendulum_expert.zip")


def make_env(protocol: Protocol, arm: Arm, seed: int) -> gym.Env:
    """
    :param protocol: The protocol
    :param arm: The arm
    :param seed: The run's seed
    :return: Its training environment
    """
    env: gym.Env = gym.make(ENV_ID)
    if protocol.fixed_start:
        env = FixedStart(env, start_seed=seed)
    if arm == "injection":
        env = TrajectoryInjection(env, PolicyExpert.load(expert_path(), seed=seed))
    return env


def make_model(protocol: Protocol, arm: Arm, seed: int) -> REINFORCE:
    """
    :param protocol: The protocol
    :param arm: The arm
    :param seed: The run's seed
    :return: The untrained model, with its environment
    """
    arguments = {**protocol.preset(), **protocol.overrides.get(arm, {})}
    expert = PolicyExpert.load(expert_path(), seed=seed) if arm == "joint" else None
    return REINFORCE(env=make_env(protocol, arm, seed), expert=expert, seed=seed, device="cpu", **arguments)
