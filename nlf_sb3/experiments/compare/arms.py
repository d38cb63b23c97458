"""The arms that can be compared, by name: who learns, and from what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nlf_sb3 import presets
from nlf_sb3.algorithms import A2C, PPO, REINFORCE
from nlf_sb3.experiments.arguments import argument_names
from nlf_sb3.experiments.compare.arm import Arm
from nlf_sb3.experiments.compare.baselines import BASELINES
from nlf_sb3.experiments.compare.task import Task
from nlf_sb3.experiments.compare.text_arms import TEXT_ARMS
from nlf_sb3.experiments.fields import with_fields
from nlf_sb3.wrappers import TrajectoryInjection

_NOT_TO_SET = {"env", "expert", "demonstrations", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model"}
_OF_THE_WRAPPER = {"fork_probability", "max_segment_steps"}


def _learn(algorithm: type[Any], arguments: dict[str, Any], env: Any, expert: Any, task: Task) -> None:
    model = algorithm(env=env, expert=expert, seed=task.seed, device="cpu", **with_fields(arguments))
    model.learn(task.timesteps, callback=task.recorder.callback())
    model.get_env().close()


def _algorithm(
    name: str,
    description: str,
    algorithm: type[Any],
    arguments: Callable[[Task], dict[str, Any]],
    *,
    needs_expert: bool = False,
) -> Arm:
    """An algorithm of this package; an expert, if there is one, labels its rollouts."""

    def train(task: Task) -> None:
        _learn(algorithm, {**arguments(task), **task.arguments}, task.make_env(), task.expert, task)

    return Arm(name, description, train, needs_expert, frozenset(argument_names(algorithm) - _NOT_TO_SET))


def _inject(task: Task) -> None:
    given = {key: value for key, value in task.arguments.items() if key in _OF_THE_WRAPPER}
    of_the_wrapper = {"max_segment_steps": 200, **given}
    own = {key: value for key, value in task.arguments.items() if key not in _OF_THE_WRAPPER}
    env = TrajectoryInjection(task.make_env(), task.expert, mode="fork", **of_the_wrapper)
    _learn(PPO, {**presets.injection("PPO"), **own}, env, None, task)


def _defaults(task: Task) -> dict[str, Any]:
    return {"policy": "MlpPolicy"}


_ARMS = [
    _algorithm("reinforce", "REINFORCE as this library has it by default, without feedback.", REINFORCE, _defaults),
    _algorithm("a2c", "A2C with Stable-Baselines3's own numbers, without feedback.", A2C, _defaults),
    _algorithm("ppo", "PPO with Stable-Baselines3's own numbers, without feedback.", PPO, _defaults),
    _algorithm(
        "ppo-preset",
        "PPO with the numbers of presets.feedback, without feedback: what joint gains from its numbers alone.",
        PPO,
        lambda task: presets.feedback("PPO"),
    ),
    _algorithm(
        "paper",
        "REINFORCE with the numbers of presets.paper, without feedback. For continuous actions.",
        REINFORCE,
        lambda task: presets.paper(),
    ),
    _algorithm(
        "joint",
        "PPO with presets.feedback and the joint objective: the expert labels every step, until alpha is 1.",
        PPO,
        lambda task: presets.feedback("PPO", task.expert_return),
        needs_expert=True,
    ),
    _algorithm(
        "joint-reinforce",
        "REINFORCE with presets.feedback and the joint objective.",
        REINFORCE,
        lambda task: presets.feedback("REINFORCE"),
        needs_expert=True,
    ),
    _algorithm(
        "joint-a2c",
        "A2C with presets.feedback and the joint objective.",
        A2C,
        lambda task: presets.feedback("A2C"),
        needs_expert=True,
    ),
    Arm(
        "injection",
        "PPO with presets.injection; the expert forks off the agent's episodes and plays them for 200 steps.",
        _inject,
        needs_expert=True,
        arguments=frozenset(argument_names(PPO) - _NOT_TO_SET | _OF_THE_WRAPPER),
        samples_expert=True,  # its mode would visit hardly any states but the best
    ),
]
ARMS: dict[str, Arm] = {arm.name: arm for arm in _ARMS} | TEXT_ARMS | BASELINES
