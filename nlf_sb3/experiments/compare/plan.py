"""From what stands on the command line to runs, or one line on what can't be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym

from nlf_sb3.experiments.arguments import check_name, parse_pair
from nlf_sb3.experiments.compare.arms import ARMS
from nlf_sb3.experiments.compare.command import Compare
from nlf_sb3.experiments.compare.experts import make_expert
from nlf_sb3.experiments.compare.run import NO_EXPERT, ComparisonRun, label_of
from nlf_sb3.experiments.compare.thresholds import Threshold, find_threshold
from nlf_sb3.experiments.reproduce import seed_list
from nlf_sb3.experiments.train_setup import told_as
from nlf_sb3.teachers.experts import single_row
from nlf_sb3.validation import check_actions


@dataclass(frozen=True)
class Plan:
    """
    What is to be run.

    :param runs: All runs, seeds outermost
    :param thresholds: Return to reach in each environment, where it is known before
    :param baseline: What the arm that the others are compared with is called, with its expert
    """

    runs: list[ComparisonRun]
    thresholds: dict[str, Threshold]
    baseline: str


def make_plan(options: Compare) -> Plan:
    """
    :param options: The command's
    :return: What is to be run
    :raises ValueError: With one line on what can't be, before anything is run
    """
    seeds = seed_list(options.seeds)
    for name in ("timesteps", "eval_episodes", "first_evaluation"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')}: got {getattr(options, name)}, expected at least 1.")
    if not options.envs:
        raise ValueError("--envs: got none, expected at least one, such as CartPole-v1.")
    envs, experts = list(dict.fromkeys(options.envs)), list(dict.fromkeys(options.expert))
    arms = _checked_arms(options)
    arguments = _arguments(options.set, arms)
    _check_envs(envs, experts)
    thresholds = _thresholds(options, envs, experts)
    teams = [(arm, expert) for arm in arms for expert in (experts if ARMS[arm].needs_expert else [NO_EXPERT])]
    runs = [
        ComparisonRun(
            env_id=env_id,
            arm=arm,
            expert=expert,
            seed=seed,
            timesteps=options.timesteps,
            n_eval_episodes=options.eval_episodes,
            first_evaluation=options.first_evaluation,
            stop_at_return=thresholds[env_id].value if options.stop_at_threshold else None,
            arguments=arguments[arm],
        )
        # Seeds outermost: what an interrupted comparison holds is whole for its first seeds.
        for seed in seeds
        for env_id in envs
        for arm, expert in teams
    ]
    return Plan(runs, thresholds, next(label_of(arm, expert) for arm, expert in teams if arm == options.baseline))


def _checked_arms(options: Compare) -> list[str]:
    arms = list(dict.fromkeys(options.arms))
    for arm in arms:
        if arm not in ARMS:
            close = difflib.get_close_matches(arm, ARMS, n=1)
            mend = f"Did you mean {close[0]}?" if close else f"There are {', '.join(ARMS)}."
            raise ValueError(f"--arms: there is no arm {arm}. {mend}")
        if ARMS[arm].needs_expert and not options.expert:
            raise ValueError(
                f"--arms {arm}: it learns from an expert, and there is none. Pass --expert, such as --expert lqr."
            )
    if options.baseline not in arms:
        raise ValueError(f"--baseline: {options.baseline} is none of --arms ({', '.join(arms)}). Name one of them, or add it.")
    return arms


def _arguments(pairs: Iterable[str], arms: list[str]) -> dict[str, dict[str, Any]]:
    arguments: dict[str, dict[str, Any]] = {arm: {} for arm in arms}
    for pair in pairs:
        arm, dot, rest = pair.partition(".")
        if not dot or "=" in arm or "=" not in rest:
            raise ValueError(f"--set: got {pair!r}, expected ARM.KEY=VALUE, such as joint.n_steps=256.")
        if arm not in arguments:
            raise ValueError(f"--set {pair}: {arm} is none of --arms ({', '.join(arms)}).")
        key, value = parse_pair(rest, given=pair)
        known = ARMS[arm].arguments
        if known is not None:
            check_name(key, known, what=f"--set {pair}: {arm}")
        if key in arguments[arm]:
            raise ValueError(f"--set {pair}: {arm}.{key} is there twice.")
        arguments[arm][key] = value
    return arguments


def _check_envs(envs: list[str], experts: list[str]) -> None:
    """Make every environment, and have every expert act once in it, to show that it can."""
    for env_id in envs:
        with told_as(f"--envs {env_id}", gym.error.Error, ImportError, TypeError, ValueError, AssertionError):
            env = gym.make(env_id)
        observation, _ = env.reset(seed=0)
        for name in experts:
            with told_as(f"--expert {name} can't act in {env_id}", Exception):  # whatever a foreign policy raises
                expert = make_expert(env_id, name, 0)
                check_actions(expert.act(single_row(observation)), env.action_space, 1, "its action")
        env.close()


def _thresholds(options: Compare, envs: list[str], experts: list[str]) -> dict[str, Threshold]:
    expert = experts[0] if experts else None
    found = {env_id: find_threshold(options.threshold, env_id, expert, options.eval_episodes) for env_id in envs}
    known = {env_id: threshold for env_id, threshold in found.items() if threshold is not None}
    if options.stop_at_threshold and not known:
        raise ValueError("--stop-at-threshold: the threshold has to be known before. Pass --threshold, or an --expert.")
    return known
