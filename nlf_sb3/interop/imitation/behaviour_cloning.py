"""imitation's BC on any actor-critic policy, with masks and a bounded spread."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.interop.imitation.batches import DemonstrationBatches
from nlf_sb3.interop.imitation.policies import silent_logger
from nlf_sb3.segments import Observations

if TYPE_CHECKING:
    from imitation.util.logger import HierarchicalLogger

DEFAULT_BATCHES = 2_000
"""Optimiser steps of BC where neither ``n_epochs`` nor ``n_batches`` is given."""


@dataclass(frozen=True)
class BCSettings:
    """
    How long and how BC trains.

    :param n_epochs: Passes through the rows; None for ``n_batches``
    :param n_batches: Optimiser steps; None for ``n_epochs``, or :data:`DEFAULT_BATCHES` where both are None
    :param batch_size: Rows in an optimiser step, at most all of them
    :param learning_rate: Adam's
    :param ent_weight: Weight of the entropy bonus
    :param l2_weight: Weight of half the parameters' squared norm
    :param min_std: See :func:`spread_floor`
    :param progress_bar: Show one
    :param custom_logger: Where imitation logs to; nowhere by default
    :raises ValueError: If both or neither of a number of epochs and of batches would count, or ``min_std`` isn't positive
    """

    n_epochs: int | None = None
    n_batches: int | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    ent_weight: float = 1e-3
    l2_weight: float = 0.0
    min_std: float | None = None
    progress_bar: bool = False
    custom_logger: HierarchicalLogger | None = None

    def __post_init__(self) -> None:
        if self.n_epochs is not None and self.n_batches is not None:
            raise ValueError(f"got n_epochs={self.n_epochs} and n_batches={self.n_batches}, expected one of them. Drop one.")
        for name in ("n_epochs", "n_batches", "batch_size", "min_std"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: got {value}, expected a number above 0.")

    def duration(self) -> dict[str, int]:
        """The arguments of ``BC.train`` that say how long."""
        if self.n_epochs is not None:
            return {"n_epochs": self.n_epochs}
        return {"n_batches": DEFAULT_BATCHES if self.n_batches is None else self.n_batches}


def train_by_bc(
    policy: ActorCriticPolicy,
    observations: Observations,
    demonstrations: Demonstrations,
    settings: BCSettings,
    rng: np.random.Generator,
) -> None:
    """
    Train a policy, in place, through imitation's ``BC``. Global random generators stay as they are.

    :param policy: The policy
    :param observations: The rows' observations in the policy's scale, ``[K, *obs_shape]`` or a dict of such
    :param demonstrations: Everything else of the rows
    :param settings: How
    :param rng: Shuffles the rows
    :raises FeedbackError: If masks come with a policy that takes none
    :raises ValueError: If a lower bound of a spread is asked for that the policy has no parameter of
    :raises MissingExtraError: Without imitation
    """
    bc = require("imitation.algorithms.bc", "imitation", "behaviour cloning")
    keep_spread = spread_floor(policy, settings.min_std)
    batches = DemonstrationBatches(observations, demonstrations, policy, settings.batch_size, rng)
    trainer = bc.BC(
        observation_space=policy.observation_space,
        action_space=policy.action_space,
        rng=rng,
        policy=policy,
        demonstrations=batches,
        batch_size=batches.batch_size,
        optimizer_kwargs={"lr": settings.learning_rate},
        ent_weight=settings.ent_weight,
        l2_weight=settings.l2_weight,
        device=policy.device,
        custom_logger=settings.custom_logger or silent_logger(),
    )
    policy.set_training_mode(True)
    with warnings.catch_warnings(), _masked_by(policy, batches, demonstrations.action_masks is not None):
        # imitation unwraps its own dictionaries of tensors, and logs tensors of its own loss.
        for message in ("trying to unwrap object of type", "Converting a tensor with requires_grad=True"):
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
        trainer.train(**settings.duration(), on_batch_end=keep_spread, progress_bar=settings.progress_bar)
    policy.set_training_mode(False)
    policy.optimizer.zero_grad(set_to_none=True)


def spread_floor(policy: ActorCriticPolicy, min_std: float | None) -> Callable[[], None]:
    """
    Something that keeps a Gaussian policy's standard deviation from falling below a bound.

    Maximum likelihood on actions without spread lowers it without end. A dimension that starts below the bound may stay
    where it is, and falls no further. With gSDE the bound is one of the parameter that the spread is made of.

    :param policy: The policy
    :param min_std: The bound, in units of the policy's actions; None for none. Other distributions have no such bound.
    :return: Called after each optimiser step
    :raises ValueError: For a Gaussian policy whose standard deviation is no parameter
    """
    if min_std is None or not isinstance(policy.action_space, spaces.Box):
        return lambda: None
    log_std: Any = getattr(policy, "log_std", None)
    if log_std is None:
        raise ValueError(
            f"min_std: got {min_std}, but {type(policy).__name__} computes its standard deviation from the state, where it "
            "has no lower bound. Pass min_std=None."
        )
    floor = log_std.detach().clamp(max=float(np.log(min_std))).clone()

    def keep() -> None:
        with th.no_grad():
            log_std.clamp_(min=floor)

    return keep


@contextlib.contextmanager
def _masked_by(policy: Any, batches: DemonstrationBatches, has_masks: bool) -> Iterator[None]:
    """While active, ``policy.evaluate_actions`` gets the masks of the batch handed out last: BC knows of none."""
    if not has_masks:
        yield
        return
    if not hasattr(policy.action_dist, "apply_masking"):
        raise FeedbackError(
            f"demonstrations: {type(policy).__name__} takes no action masks. Train a MaskablePPO, or leave the masks out: "
            "dataclasses.replace(demonstrations, action_masks=None)."
        )
    original = policy.evaluate_actions
    policy.evaluate_actions = lambda obs, actions: original(obs, actions, action_masks=batches.masks)
    try:
        yield
    finally:
        del policy.evaluate_actions
