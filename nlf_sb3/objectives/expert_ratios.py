"""Probability ratios of an expert's rows inside the agent's rollout: bounded, as those of injected rows are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch as th

from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.errors import FeedbackError

PolicyLosses = Callable[[th.Tensor, th.Tensor, th.Tensor], th.Tensor]
"""Maps log-probabilities, old log-probabilities and advantages, each ``[k]``, to losses ``[k]``."""
LEAST_LOG_PROB = -1e16
"""Below this float32 tells no ratio of two probabilities, and products of two gradients leave its range."""


class _AtRatioOne(th.autograd.Function):
    """
    Puts old log-probabilities in the place of an expert's rows. Backward, these rows get the gradient that the losses have.

    At a ratio of 1 SB3 sends back minus the advantage over the number of rows, so that these losses need nothing else.
    """

    @staticmethod
    def forward(
        ctx: Any, log_prob: th.Tensor, old_log_prob: th.Tensor, rows: th.Tensor, policy_losses: PolicyLosses
    ) -> th.Tensor:
        ctx.save_for_backward(log_prob[rows], old_log_prob, rows)
        ctx.policy_losses = policy_losses
        return log_prob.index_copy(0, rows, old_log_prob)

    @staticmethod
    def backward(ctx: Any, grad: th.Tensor) -> tuple[th.Tensor | None, ...]:  # type: ignore[override]
        log_prob, old_log_prob, rows = ctx.saved_tensors
        with th.enable_grad():
            log_prob = log_prob.detach().requires_grad_()
            losses = ctx.policy_losses(log_prob, old_log_prob, -grad[rows])
            (of_experts,) = th.autograd.grad(losses.sum(), log_prob)
        return grad.index_copy(0, rows, of_experts), None, None, None


class ExpertRatios(NamedTuple):
    """
    The expert's rows in a rollout, for an algorithm that trains on probability ratios.

    Its own loss sees them at a ratio of 1: exp would overflow at actions that the policy becomes much likelier to take, and
    its estimate of the KL divergence, which may end an update, is one of the agent's own actions.

    :param is_experts: Whether an expert acted, by flat index, ``[n_steps * n_envs]``
    :param old_log_prob: log pi_old(a | s) of these rows, anything in others, ``[n_steps * n_envs]``
    :param policy_losses: The algorithm's loss with bounded ratios, row by row
    """

    is_experts: np.ndarray
    old_log_prob: th.Tensor
    policy_losses: PolicyLosses

    def bounded(self, log_prob: th.Tensor, batch: Minibatch) -> th.Tensor:
        """
        :param log_prob: log pi(a | s) as the policy puts them out, ``[n]``
        :param batch: The minibatch, B rows
        :return: The log-probabilities that the algorithm's own loss gets, ``[n]``
        """
        places = self.places(batch)
        if not len(places):
            return log_prob
        rows = th.as_tensor(places, device=log_prob.device)
        old_log_prob = self.old_log_prob[batch.rows[self.is_experts[batch.rows]]]
        return _AtRatioOne.apply(log_prob, old_log_prob, rows, self.policy_losses)  # type: ignore[no-untyped-call,no-any-return]

    def places(self, batch: Minibatch) -> np.ndarray:
        """
        :param batch: The minibatch
        :return: Where its rows of an expert's stand in the policy's output
        """
        places = np.flatnonzero(self.is_experts[batch.rows])
        return places if batch.positions is None else batch.positions[places]


def check_likelihoods(log_prob: th.Tensor, actions: Any, what: Callable[[int], str]) -> None:
    """
    :param log_prob: log pi(a | s) of an expert's actions, ``[n]``
    :param actions: The actions, ``[n, ...]``
    :param what: Names a row, given its place
    :raises FeedbackError: If one of them is no number, or below :data:`LEAST_LOG_PROB`
    """
    is_usable = th.isfinite(log_prob) & (log_prob > LEAST_LOG_PROB)
    if is_usable.all():
        return
    row = int(th.nonzero(~is_usable)[0])
    raise FeedbackError(
        f"{what(row)}: got {np.asarray(actions[row].tolist())}, whose log-probability under the policy is "
        f"{log_prob[row].item():.4g}; expected a finite one above {LEAST_LOG_PROB:.0e}. Have the expert act where the policy "
        "can: within the bounds of the action space, and within what the policy's distribution covers."
    )
