"""From what stands on the command line to an environment, an expert and an algorithm's arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

import nlf_sb3
from nlf_sb3 import presets
from nlf_sb3.config import as_imitation
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.experiments.arguments import argument_names, check_name, parse_pair
from nlf_sb3.experiments.fields import with_fields
from nlf_sb3.experiments.train import Train
from nlf_sb3.experiments.train_method import METHODS_OF_THE_WRAPPER, method_of, parse_alpha
from nlf_sb3.teachers import Expert, LQRExpert, NearestStateExpert, PolicyExpert
from nlf_sb3.teachers.experts import single_row
from nlf_sb3.validation import check_actions
from nlf_sb3.wrappers import TrajectoryInjection

_OPTIONS_OF_THEIR_OWN = ("env", "alpha", "imitation", "imitation.loss", "expert", "demonstrations", "seed", "device")
_NOT_TO_SET = ("tensorboard_log", "verbose", "_init_setup_model")


@contextmanager
def told_as(what: str, *errors: type[Exception]) -> Iterator[None]:
    """
    What goes wrong with something that the user named becomes one line that names it.

    :param what: Start of the line
    :param errors: What may go wrong
    :raises ValueError: In their place
    """
    try:
        yield
    except errors as error:
        raise ValueError(f"{what}: {' '.join(str(error).split()) or type(error).__name__}") from error


def make_env(options: Train) -> gym.Env:
    """
    :param options: The command's
    :return: The environment as Gymnasium makes it
    :raises ValueError: If it can't be made
    """
    try:
        kwargs = json.loads(options.env_kwargs)
    except json.JSONDecodeError as error:
        raise ValueError(f"--env-kwargs: {options.env_kwargs!r} is no JSON ({error}).") from error
    if not isinstance(kwargs, dict):
        raise ValueError(f'--env-kwargs: got {options.env_kwargs!r}, expected a JSON object, {{"name": value}}.')
    with told_as(f"--env {options.env}", gym.error.Error, ImportError, TypeError, ValueError, AssertionError):
        return gym.make(options.env, **kwargs)


def make_training_env(options: Train, expert: Expert | None, monitor_files: list[str], gamma: float) -> VecEnv:
    """
    :param options: The command's
    :param expert: Who forks off or takes over, if the method has that
    :param monitor_files: A file for each environment's episodes
    :param gamma: Discount factor, for the scale of returns
    :return: The environments that the algorithm trains in
    """
    mode: Any = METHODS_OF_THE_WRAPPER.get(method_of(options))
    more: dict[str, Any] = {} if options.fork_probability is None else {"fork_probability": options.fork_probability}

    def make(file: str) -> gym.Env:
        env: gym.Env = Monitor(make_env(options), file)
        return env if mode is None else TrajectoryInjection(env, expert, mode=mode, **more)

    env: VecEnv = DummyVecEnv([lambda file=file: make(file) for file in monitor_files])  # type: ignore[misc]
    return VecNormalize(env, gamma=gamma) if options.normalize else env


def load_expert(options: Train, env: gym.Env) -> Expert | None:
    """
    :param options: The command's
    :param env: The environment that it is to act in
    :return: The expert, who has acted once to show that it can; None if there is none
    :raises ValueError: If it isn't there, or can't act in the environment
    """
    name = options.expert
    if options.expert_statistics is not None and (name is None or not name.endswith(".zip")):
        raise ValueError("--expert-statistics belongs to an --expert that is a model's .zip.")
    if name is None:
        return None
    expert = _find_expert(name, options, env)
    with told_as(f"--expert {name} can't act in {options.env}", Exception):  # whatever a foreign policy raises
        _check_spaces(expert, env)
        observation, _ = env.reset(seed=options.seed)
        check_actions(expert.act(single_row(observation)), env.action_space, 1, "its action")
    return expert


def _find_expert(name: str, options: Train, env: gym.Env) -> Expert:
    lqr = re.fullmatch(r"lqr(?::(\d*\.?\d+(?:e-?\d+)?))?", name)
    if lqr:
        return LQRExpert.from_env(env, std=float(lqr.group(1) or 0), seed=options.seed)
    path, statistics = Path(name), options.expert_statistics
    if name.endswith(".npz"):
        rows = Demonstrations.load(path)
        with told_as(f"--expert {name} can't act in {options.env}", ValueError):
            return NearestStateExpert(rows.checked(env.observation_space, env.action_space))
    if path.is_dir():
        path, beside = path / "model.zip", path / "vecnormalize.pkl"
        statistics = beside if beside.exists() else None
    elif statistics is None and (path.parent / "vecnormalize.pkl").exists():
        raise ValueError(
            f"--expert {name} lies beside VecNormalize statistics, vecnormalize.pkl. Pass its folder, {path.parent}, or "
            "name the statistics with --expert-statistics."
        )
    if not path.exists():
        raise FileNotFoundError(
            f"--expert: there is no {path}. Expected a model's .zip, the folder of a finished run, a .npz of demonstrations, "
            "or lqr."
        )
    with told_as(f"--expert {name} can't be loaded", ValueError, KeyError, ImportError, AttributeError):
        return PolicyExpert.load(path, vec_normalize=statistics, seed=options.seed)


def _check_spaces(expert: Expert, env: gym.Env) -> None:
    """A policy knows what it acts in; compared before it acts, since what NumPy says of shapes helps nobody."""
    if not isinstance(expert, PolicyExpert):
        return
    pairs = (
        ("observes", expert.policy.observation_space, env.observation_space),
        ("acts in", expert.policy.action_space, env.action_space),
    )
    for verb, own, theirs in pairs:
        shapes = (sorted(space.shape or ()) for space in (own, theirs))  # SB3 moves the channels of images
        if type(own) is not type(theirs) or next(shapes) != next(shapes):
            raise ValueError(f"it {verb} {own}, the environment has {theirs}. Use an expert that was made for it.")


def algorithm_class(name: str) -> type[Any]:
    """
    :param name: Name of the algorithm
    :return: The class of that name in :mod:`nlf_sb3`
    :raises ValueError: If this version has none
    """
    found = getattr(nlf_sb3, name, None)  # a missing extra raises its own error
    if found is None:
        raise ValueError(f"--algorithm: this version of nlf_sb3 has no {name}.")
    return found  # type: ignore[no-any-return]


def algorithm_arguments(options: Train, observation_space: spaces.Space) -> dict[str, Any]:
    """
    :param options: The command's
    :param observation_space: The environment's, which decides on the network
    :return: The algorithm's keyword arguments, without environment, expert and demonstrations
    :raises ValueError: For an argument that the algorithm doesn't have, or a preset that it isn't in
    """
    arguments = presets.feedback(options.algorithm) if options.preset == "feedback" else {}
    arguments["policy"] = _policy_for(options.algorithm, observation_space)
    arguments = with_fields(arguments | _parse_arguments(options.set, algorithm_class(options.algorithm)))
    imitation = as_imitation(arguments.get("imitation", "nll"))
    return {
        **arguments,
        **({} if options.alpha is None else {"alpha": parse_alpha(options.alpha)}),
        "imitation": replace(imitation, loss=options.imitation),
        "seed": options.seed,
        "device": options.device,
    }


def _policy_for(algorithm: str, observation_space: spaces.Space) -> str:
    kind = "Cnn" if is_image_space(observation_space) else "Mlp"
    kind = "MultiInput" if isinstance(observation_space, spaces.Dict) else kind
    return f"{kind}{'Lstm' if algorithm == 'RecurrentPPO' else ''}Policy"


def _parse_arguments(pairs: tuple[str, ...], algorithm: type[Any]) -> dict[str, Any]:
    known = argument_names(algorithm) - {*_OPTIONS_OF_THEIR_OWN, *_NOT_TO_SET}
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, value = parse_pair(pair)
        if key in arguments:
            raise ValueError(f"--set: got {pair!r}, expected KEY=VALUE, each key once.")
        if key in _OPTIONS_OF_THEIR_OWN:
            raise ValueError(f"--set {pair}: {key} has an option of its own. Use --{key.partition('.')[0]}.")
        check_name(key, known, what=f"--set {pair}: {algorithm.__name__}")
        arguments[key] = value
    return arguments
