"""Rows in which somebody else acted in the agent's own environment: their log-probabilities, advantages and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch as th

from nlf_sb3.algorithms.advantages import AdvantageScale
from nlf_sb3.algorithms.expert_ratios import check_likelihoods
from nlf_sb3.algorithms.labelling import LabelsRollouts
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.densities import in_policy_density
from nlf_sb3.distributions import log_relative_density
from nlf_sb3.returns import advantages_until_takeover


@dataclass
class TakeoverWeights:
    """
    What each row of a rollout counts, by flat index, ``[n_steps * n_envs]`` each.

    :param executed: Whether somebody else acted
    :param policy: Factors of the policy loss
    :param value: Factors of the value loss
    :param among: The same for an update that takes only some of the rows, given their flat indices, ``[n]``
    :param old_log_prob: log pi_old(a | s) of what was executed, by flat index too, anything in the agent's rows
    """

    executed: np.ndarray
    policy: th.Tensor
    value: th.Tensor
    among: Callable[[np.ndarray], TakeoverWeights]
    old_log_prob: th.Tensor | None = None

    def __call__(self, batch: Minibatch) -> tuple[th.Tensor, th.Tensor]:
        """
        :param batch: A minibatch of B rows
        :return: Factors of its rows' policy loss and value loss, ``[B]`` each
        """
        return self.policy[batch.rows], self.value[batch.rows]


class SettlesTakeovers(LabelsRollouts):
    """
    Trains on executed actions as if the policy had proposed them.

    Their old log-probability is the policy's own. The agent's rows before a takeover end there and bootstrap from V; those
    after it are on-policy to the end, and what they return is part of what the expert's own rows return.
    Executed rows stay out of the critic, unless ``injection.vf_coef`` lets them in, and are weighted as injected rows are
    (``injection.weighting``), by the agent's own statistics.
    """

    def _check_takeovers(self, mode: str) -> None:
        super()._check_takeovers(mode)
        if self.injection.vf_coef and not (self.vf_coef and self._uses_critic()):
            raise ValueError(
                f"injection.vf_coef: got {self.injection.vf_coef!r} where the value loss has no weight (vf_coef=0, or "
                "REINFORCE without baseline=True). With mode='takeover' or 'guide' the expert's rows are rows of that loss. "
                "Give vf_coef a positive value, or leave injection.vf_coef at 0."
            )
        self._check_signs()

    def _check_signs(self) -> None:
        """Raise where weights go by an advantage's sign that only a minibatch will give it."""
        normalises_later = self.injection.weighting == "plain" and bool(getattr(self, "normalize_advantage", False))
        if normalises_later and self._expert_weights().kind == "shaping_negative":
            raise ValueError(
                "injection.row_weight: got 'shaping_negative', which depends on the sign of an advantage. With "
                "weighting='plain' and normalize_advantage=True only a minibatch decides on the sign. Use "
                "row_weight='shaping', weighting='bounded' or normalize_advantage=False."
            )

    def _settle_takeovers(self) -> TakeoverWeights | None:
        """Complete the rows in which somebody else acted. Returns all rows' weights, or None if there is none."""
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        executed = buffer.take_rows(buffer.executed, rows)
        if not executed.any():
            return None
        experts = rows[executed]
        self._check_takeovers("takeover")  # again, for wrappers that couldn't be asked beforehand
        self._check_executed(experts)
        relative = self._settle_log_probs(experts)
        self._end_advantages_at_takeovers()
        self._bring_onto_agents_scale(rows, executed)
        advantages = th.as_tensor(buffer.take_rows(buffer.advantages, experts), device=self.device)
        by_index = np.zeros(buffer.buffer_size * buffer.n_envs, dtype=bool)
        by_index[experts] = True
        shapes = th.ones(len(by_index), device=self.device)
        shapes[experts] = self._weights_of_executed(experts, advantages, relative)
        old_log_prob = th.zeros_like(shapes)
        old_log_prob[experts] = th.as_tensor(buffer.take_rows(buffer.log_probs, experts), device=self.device)
        return replace(self._takeover_weights(rows, by_index, shapes), old_log_prob=old_log_prob)

    def _weights_of_executed(self, rows: np.ndarray, advantages: th.Tensor, relative: th.Tensor) -> th.Tensor:
        """What the expert's rows count against its mismatch with the policy, ``[n]``."""
        buffer, weigh = self.rollout_buffer, self._expert_weights()
        log_prob = th.as_tensor(buffer.take_rows(buffer.log_probs, rows), device=self.device)
        experts = None
        if weigh.needs_expert:
            experts = in_policy_density(self.policy, buffer.take_rows(buffer.expert_log_probs, rows))
        all_of_them = th.ones_like(advantages, dtype=th.bool)
        weights = weigh(advantages, all_of_them, log_prob=log_prob, expert_log_prob=experts, log_relative=relative)
        self._record_weights(weights)
        return weights

    def _record_weights(self, weights: th.Tensor) -> None:
        """Log what injected rows count, if somebody chose their weights: unlikely actions may count next to nothing."""
        if self.injection.row_weight not in ("auto", "none"):
            self.logger.record("injection/weight_mean", weights.mean().item())

    def _check_executed(self, rows: np.ndarray) -> None:
        """Raise if an action that was executed in one of these rows is none that the policy could have taken."""

    def _settle_log_probs(self, rows: np.ndarray) -> th.Tensor:
        """Give executed rows the policy's log-probabilities; returns log-densities relative to its mode, if any are needed."""
        buffer = self.rollout_buffer
        self.policy.set_training_mode(False)
        with th.no_grad():
            evaluation = self._evaluate_rollout_rows(rows)
            check_likelihoods(evaluation.log_prob, buffer.take_rows(buffer.actions, rows), self._executed_name(rows))
            relative = th.zeros_like(evaluation.log_prob)
            if self._expert_weights().needs_mode:
                relative = log_relative_density(evaluation.distribution, evaluation.log_prob)
        buffer.log_probs[rows % buffer.buffer_size, rows // buffer.buffer_size] = evaluation.log_prob.cpu().numpy()
        return relative

    def _executed_name(self, rows: np.ndarray) -> Callable[[int], str]:
        n_steps = self.rollout_buffer.buffer_size
        return lambda row: f"executed action of environment {rows[row] // n_steps}, rollout step {rows[row] % n_steps}"

    def _end_advantages_at_takeovers(self) -> None:
        buffer = self.rollout_buffer
        decay = buffer.gamma * buffer.gae_lambda
        buffer.advantages = advantages_until_takeover(buffer.advantages, buffer.executed, buffer.episode_starts, decay)
        buffer.returns = buffer.advantages + buffer.values

    def _bring_onto_agents_scale(self, rows: np.ndarray, executed: np.ndarray) -> None:
        """Bound the executed rows' advantages, and normalise all by the agent's mean and standard deviation."""
        if self.injection.weighting == "plain":
            return
        buffer = self.rollout_buffer
        advantages = buffer.take_rows(buffer.advantages, rows)
        scale = self._takeover_scale(advantages[~executed], advantages[executed])
        on_scale = th.as_tensor(advantages)
        on_scale[executed] = scale.bounded(on_scale[executed])
        buffer.advantages[rows % buffer.buffer_size, rows // buffer.buffer_size] = scale.as_used(on_scale).numpy()

    def _takeover_scale(self, own: np.ndarray, experts: np.ndarray) -> AdvantageScale:
        """The agent's scale: of this rollout, else of the last that had one, else the executed rows' own."""
        if len(own) > 1:
            self._agents_statistics = _mean_and_std(own)
        mean, std = self._agents_statistics or _mean_and_std(experts)
        return AdvantageScale(mean, std, bool(getattr(self, "normalize_advantage", False)))

    def _takeover_weights(self, rows: np.ndarray, is_executed: np.ndarray, shapes: th.Tensor) -> TakeoverWeights:
        """
        Weights of an update's rows.

        :param rows: Flat indices of the rows that the update takes, ``[N]``
        :param is_executed: Whether somebody else acted, by flat index, ``[n_steps * n_envs]``
        :param shapes: Factors that bound the executed rows' policy loss, by flat index, ``[n_steps * n_envs]``
        """
        experts, own = rows[is_executed[rows]], rows[~is_executed[rows]]

        def share(total: float, n: int) -> float:
            """Factor of each of n rows, in a loss over all N, that makes them count as much as ``total`` says."""
            return total * len(rows) / (self._loss_scale(len(rows)) * n)

        policy, value = shapes.clone(), th.ones_like(shapes)
        if len(own):
            value[own] = share(self._loss_scale(len(own)), len(own))
        if len(experts):
            vf_factor = self.injection.vf_coef / self.vf_coef if self.injection.vf_coef else 0.0
            value[experts] = vf_factor * share(self._loss_scale(len(experts)), len(experts))
        if self.injection.weighting == "bounded":
            agents_total = self._loss_scale(max(len(own), 1))  # of one row, where the agent has none
            if len(own):
                policy[own] = share(agents_total, len(own))
            if len(experts):
                policy[experts] *= share(self.injection.coef * agents_total, len(experts))
        return TakeoverWeights(is_executed, policy, value, lambda taken: self._takeover_weights(taken, is_executed, shapes))

    def _uses_critic(self) -> bool:
        return True

    def _loss_scale(self, n_rows: int) -> float:
        """1 where the algorithm's policy loss is a mean over a minibatch's rows, their number where it is a sum."""
        return 1.0


def _mean_and_std(advantages: np.ndarray) -> tuple[float, float]:
    return float(advantages.mean()), float(advantages.std(ddof=1)) if len(advantages) > 1 else 0.0
