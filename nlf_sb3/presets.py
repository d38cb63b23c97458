"""Named sets of arguments: the paper's protocol, and arguments that learn fast from feedback."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch as th

from nlf_sb3.config import Imitation, LabelReplay
from nlf_sb3.schedules import AlphaSchedule, LinearSchedule, MaxSchedule, PerformanceSchedule, TrainingPhases, Trial

_ALONE = 0.25
"""Share of training after which PPO goes on without labels."""
_ALONE_FROM_THE_START = TrainingPhases(n_steps=256, batch_size=32, begin=_ALONE, learning_rate=5e-4)
"""Without labels, rollouts of a few dozen steps fail in some seeds, and rollouts of 1,024 steps learn slowly."""


def paper(algorithm: str = "REINFORCE") -> dict[str, Any]:
    """
    The protocol of the claims of 1.5x and 2x.

    An MLP of 16 and 32 tanh units with a state-dependent softplus standard deviation and PyTorch's
    own initialisation; AdamW; one episode an update; raw returns, summed; no baseline, no clipping;
    returns end at the time limit; alpha 0.5; injected episodes in a separate optimiser step.

    :param algorithm: ``"REINFORCE"``
    :return: Keyword arguments, ``policy`` among them
    :raises ValueError: For any other algorithm
    """
    if algorithm != "REINFORCE":
        raise ValueError(f"The paper's protocol is REINFORCE's, not {algorithm}'s. Use presets.feedback({algorithm!r}).")
    return {
        "policy": "SoftplusGaussianPolicy",
        "learning_rate": 1e-4,
        "n_episodes": 1,
        "gamma": 0.99,
        "normalize_returns": False,
        "baseline": False,
        "time_limit": "horizon",
        "loss_reduction": "sum",
        "max_grad_norm": None,
        "alpha": 0.5,
        "imitation": "nll",
        "injection": "separate",
        "policy_kwargs": {
            "net_arch": [16, 32],
            "ortho_init": False,
            "optimizer_class": th.optim.AdamW,
        },
    }


def feedback(algorithm: str = "PPO", expert_return: float | None = None) -> dict[str, Any]:
    """
    Arguments that learn fast from feedback, and go on without it once the teacher has no more to teach.

    PPO and MaskablePPO have short rollouts and small minibatches. Their learning rate falls from 3e-3 to a third in the first
    tenth of training, and then to 0. PPO starts with a small standard deviation. Labels are imitated again and again
    (:class:`~nlf_sb3.LabelReplay`). Imitation is on trial (:class:`~nlf_sb3.schedules.Trial`). It has nine tenths of the
    objective at first, and less as the agent comes near the expert's return
    (:class:`~nlf_sb3.schedules.PerformanceSchedule`). It ends after a quarter of the training. From there rollouts are longer
    and the learning rate is smaller (:class:`~nlf_sb3.TrainingPhases`), so that the policy keeps what was imitated. Where
    nothing was imitated, or the training is short, rollouts become less long.

    The other algorithms have normalised returns or advantages, larger steps than by default, and alpha 0.5. Figures are in
    the README.

    :param algorithm: Name of an algorithm of this package
    :param expert_return: The expert's mean undiscounted return, if it is known and above 0; PPO and MaskablePPO use it. One of
        0 or less is left out, with a warning: how near the agent is to it can't be told without the worst return. Use
        ``alpha=PerformanceSchedule(expert_return, worst_return=...)`` there
    :return: Keyword arguments, ``policy`` among them
    :raises ValueError: For any other algorithm
    """
    shared: dict[str, Any] = {"policy": "MlpPolicy", "alpha": 0.5, "imitation": "nll", "injection": "bounded"}
    ppo = {
        "learning_rate": _falling_from(3e-3),
        "n_steps": 48,
        "batch_size": 16,
        "n_epochs": 10,
        "alpha": Trial(_alpha_of_labels(expert_return)),
        "imitation": Imitation(replay=LabelReplay(100_000, per_step=4.0)),
        "phases": TrainingPhases(
            n_steps=1024, batch_size=64, begin=_ALONE, learning_rate=3e-4, otherwise=_ALONE_FROM_THE_START
        ),
    }
    own: dict[str, dict[str, Any]] = {
        "REINFORCE": {"learning_rate": 5e-3, "n_episodes": 4, "batch_size": 1, "normalize_returns": True},
        "A2C": {"learning_rate": 3e-3, "n_steps": 32, "normalize_advantage": True, "use_rms_prop": False},
        "PPO": {**ppo, "policy_kwargs": {"log_std_init": -1.5}},
        "MaskablePPO": ppo,
        "TRPO": {"learning_rate": 3e-3, "n_steps": 128, "target_kl": 0.05},
        "RecurrentPPO": {"policy": "MlpLstmPolicy", "learning_rate": 1e-3, "n_steps": 128, "batch_size": 64, "n_epochs": 10},
    }
    if algorithm not in own:
        raise ValueError(f"algorithm: got {algorithm!r}, expected one of {', '.join(own)}.")
    if expert_return is not None and expert_return <= 0 and "phases" in own[algorithm]:
        warnings.warn(
            f"expert_return: got {expert_return}, and it is left out: without the worst return it can't be told how near the "
            "agent is to a return of 0 or less. Alpha goes by the progress of training alone. To hand over by return, use "
            f'{{**presets.feedback({algorithm!r}), "alpha": Trial(PerformanceSchedule({expert_return}, worst_return=...))}}, '
            "both of nlf_sb3.schedules.",
            stacklevel=2,
        )
    return {**shared, **own[algorithm]}


def injection(algorithm: str = "PPO") -> dict[str, Any]:
    """
    Arguments that learn fast from injected episodes, with ``TrajectoryInjection(env, expert, max_segment_steps=200)``.

    PPO and MaskablePPO have the numbers of :func:`feedback`, but a learning rate that falls from 1e-3 in a line, and nothing
    that only labels need. An expert's whole episode of a thousand steps teaches little more than its first 200. After these
    the value network estimates the rest. REINFORCE without a baseline has none, and needs whole episodes.

    The other algorithms have the arguments of :func:`feedback`.

    :param algorithm: Name of an algorithm of this package
    :return: Keyword arguments, ``policy`` among them
    :raises ValueError: For any other algorithm
    """
    arguments = feedback(algorithm)
    if algorithm in ("PPO", "MaskablePPO"):
        arguments.update(learning_rate=_in_a_line_from(1e-3), alpha=0.5, imitation="nll", phases=None)
    return arguments


def _alpha_of_labels(expert_return: float | None) -> AlphaSchedule:
    soon = LinearSchedule(0.1, 1.0, end_fraction=_ALONE)
    if expert_return is None or expert_return <= 0:
        return soon
    return MaxSchedule([PerformanceSchedule(expert_return, start=0.1, begin_at=0.5, end_at=0.95), soon])


def _in_a_line_from(largest: float) -> Callable[[float], float]:
    """A learning rate that falls to nothing in a line."""

    # Nested, as below.
    def learning_rate(progress_remaining: float) -> float:
        return largest * progress_remaining

    return learning_rate


def _falling_from(largest: float) -> Callable[[float], float]:
    """A learning rate that falls to a third in the first tenth of training, and to nothing in a line to its end."""

    # Nested, so that it is saved by value: a model has to load where nlf_sb3 isn't installed.
    def learning_rate(progress_remaining: float) -> float:
        done = 1.0 - progress_remaining
        rate: float = largest * 3.0 ** (-min(done / 0.1, 1.0))
        return rate if done < 0.1 else rate * max(progress_remaining, 0.0) / 0.9

    return learning_rate
