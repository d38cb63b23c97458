"""Rows in which an expert acted in the agent's environment: their log-probabilities, advantages and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch as th

from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.densities import in_policy_density
from nlf_sb3.distributions import log_relative_density
from nlf_sb3.errors import FeedbackError
from nlf_sb3.objectives.advantages import AdvantageScale
from nlf_sb3.objectives.expert_ratios import check_likelihoods
from nlf_sb3.objectives.row_weights import ExpertWeights, expert_weights_of, record_row_weights

if TYPE_CHECKING:
    from nlf_sb3.adapters.base import Adapter


@dataclass
class InterventionWeights:
    """
    The weight of each row of a rollout, by flat index, ``[n_steps * n_envs]`` each.

    :param executed: Whether an expert acted
    :param policy: Factors of the policy loss
    :param value: Factors of the value loss
    :param among: The same for an update that takes only some of the rows, given their flat indices, ``[n]``
    :param old_log_prob: log pi_old(a | s) of executed actions; any number in the agent's rows
    """

    executed: np.ndarray
    policy: th.Tensor
    value: th.Tensor
    among: Callable[[np.ndarray], InterventionWeights]
    old_log_prob: th.Tensor | None = None

    def __call__(self, batch: Minibatch) -> tuple[th.Tensor, th.Tensor]:
        """
        :param batch: A minibatch of B rows
        :return: Factors of its rows' policy loss and value loss, ``[B]`` each
        """
        return self.policy[batch.rows], self.value[batch.rows]


class Interventions:
    """
    Trains on executed actions as if the policy had proposed them.

    Their old log-probability is the policy's. The agent's rows before an intervention end there, with the value of that state.
    Those after it are on-policy to the end, and their rewards are part of the returns of the expert's rows. Executed rows stay
    out of the value loss, unless ``Injection.vf_coef`` lets them in. They are weighted as injected rows are.

    :param adapter: Of the model's algorithm
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._model = adapter.model
        self._agents_statistics: tuple[float, float] | None = None
        """Mean and standard deviation of the agent's advantages, in the last such rollout that had some."""

    def state_dict(self) -> dict[str, Any]:
        """
        :return: The state, as plain data
        """
        return {"agents_statistics": self._agents_statistics}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        :param state: As :meth:`state_dict` returned it
        """
        self._agents_statistics = state["agents_statistics"]

    def check_settings(self, mode: str) -> None:
        """
        :param mode: The mode of injection in which an expert acts here
        :raises FeedbackError: If injected episodes are to have an optimiser step of their own
        :raises ValueError: If other arguments don't go with an expert's steps as rows of the rollout
        """
        model, injection = self._model, self._model.injection
        if injection.separate_step:
            raise FeedbackError(
                f"injection.separate_step: got {injection.separate_step!r}, which is for forked episodes. With mode={mode!r} "
                "the expert's steps are rows of the rollout. Use injection='bounded' or 'plain'."
            )
        if injection.vf_coef and not (model.vf_coef and self._adapter.uses_value_net):
            raise ValueError(
                f"injection.vf_coef: got {injection.vf_coef!r} where the value loss has no weight (vf_coef=0, or REINFORCE "
                f"without baseline=True). With mode={mode!r} the expert's rows are rows of that loss. Give the algorithm's "
                "vf_coef a positive value, or leave injection.vf_coef at 0."
            )
        normalises_later = injection.weighting == "plain" and self._adapter.normalises_later
        if normalises_later and self._weigh().kind == "shaping_negative":
            raise ValueError(
                "injection.row_weight: got 'shaping_negative', which depends on the sign of an advantage. With "
                "weighting='plain' and normalize_advantage=True only a minibatch decides on the sign. Use "
                "row_weight='shaping', weighting='bounded' or normalize_advantage=False."
            )

    def settle(self) -> InterventionWeights | None:
        """
        Complete the rows in which an expert acted.

        :return: The weights of all rows; None if the agent acted in all of them
        """
        buffer, device = self._model.rollout_buffer, self._model.device
        rows = buffer.row_indices()
        executed = buffer.take_rows(buffer.executed, rows)
        if not executed.any():
            return None
        experts = rows[executed]
        self.check_settings("takeover")  # again, for wrappers that could not be asked beforehand
        self._adapter.check_executed(experts)
        relative = self._settle_log_probs(experts)
        self._adapter.end_advantages_at_interventions()
        self._bring_onto_agents_scale(rows, executed)
        advantages = th.as_tensor(buffer.take_rows(buffer.advantages, experts), device=device)
        by_index = np.zeros(buffer.buffer_size * buffer.n_envs, dtype=bool)
        by_index[experts] = True
        shapes = th.ones(len(by_index), device=device)
        shapes[experts] = self._weights_of_executed(experts, advantages, relative)
        old_log_prob = th.zeros_like(shapes)
        old_log_prob[experts] = th.as_tensor(buffer.take_rows(buffer.log_probs, experts), device=device)
        return replace(self._weights(rows, by_index, shapes), old_log_prob=old_log_prob)

    def _weigh(self) -> ExpertWeights:
        return expert_weights_of(self._model)

    def _weights_of_executed(self, rows: np.ndarray, advantages: th.Tensor, relative: th.Tensor) -> th.Tensor:
        """Weights of the expert's rows against its mismatch with the policy, ``[n]``."""
        model, buffer, weigh = self._model, self._model.rollout_buffer, self._weigh()
        log_prob = th.as_tensor(buffer.take_rows(buffer.log_probs, rows), device=model.device)
        experts = None
        if weigh.needs_expert:
            experts = in_policy_density(model.policy, buffer.take_rows(buffer.expert_log_probs, rows))
        all_of_them = th.ones_like(advantages, dtype=th.bool)
        weights = weigh(advantages, all_of_them, log_prob=log_prob, expert_log_prob=experts, log_relative=relative)
        record_row_weights(model, weights)
        return weights

    def _settle_log_probs(self, rows: np.ndarray) -> th.Tensor:
        """Give executed rows the policy's log-probabilities. Returns log-densities relative to its mode, if needed."""
        model, buffer = self._model, self._model.rollout_buffer
        model.policy.set_training_mode(False)
        with th.no_grad():
            evaluation = self._adapter.evaluate_rollout_rows(rows)
            check_likelihoods(evaluation.log_prob, buffer.take_rows(buffer.actions, rows), self._row_name(rows))
            relative = th.zeros_like(evaluation.log_prob)
            if self._weigh().needs_mode:
                relative = log_relative_density(evaluation.distribution, evaluation.log_prob)
        buffer.log_probs[rows % buffer.buffer_size, rows // buffer.buffer_size] = evaluation.log_prob.cpu().numpy()
        return relative

    def _row_name(self, rows: np.ndarray) -> Callable[[int], str]:
        n_steps = self._model.rollout_buffer.buffer_size
        return lambda row: f"executed action of environment {rows[row] // n_steps}, rollout step {rows[row] % n_steps}"

    def _bring_onto_agents_scale(self, rows: np.ndarray, executed: np.ndarray) -> None:
        """Bound the executed rows' advantages, and normalise all by the agent's mean and standard deviation."""
        if self._model.injection.weighting == "plain":
            return
        buffer = self._model.rollout_buffer
        advantages = buffer.take_rows(buffer.advantages, rows)
        scale = self.scale(advantages[~executed], advantages[executed])
        on_scale = th.as_tensor(advantages)
        on_scale[executed] = scale.bounded(on_scale[executed])
        buffer.advantages[rows % buffer.buffer_size, rows // buffer.buffer_size] = scale.as_used(on_scale).numpy()

    def scale(self, own: np.ndarray, experts: np.ndarray) -> AdvantageScale:
        """
        The agent's scale: of this rollout, else of the last one that had some, else that of the executed rows.

        :param own: Advantages of the agent's rows, ``[n]``
        :param experts: Advantages of the executed rows, ``[m]``
        :return: The scale
        """
        if len(own) > 1:
            self._agents_statistics = _mean_and_std(own)
        mean, std = self._agents_statistics or _mean_and_std(experts)
        return AdvantageScale(mean, std, self._adapter.normalises_later)

    def _weights(self, rows: np.ndarray, is_executed: np.ndarray, shapes: th.Tensor) -> InterventionWeights:
        """
        Weights of an update's rows.

        :param rows: Flat indices of the rows that the update takes, ``[N]``
        :param is_executed: Whether an expert acted, by flat index, ``[n_steps * n_envs]``
        :param shapes: Factors that bound the executed rows' policy loss, by flat index, ``[n_steps * n_envs]``
        """
        injection, loss_scale = self._model.injection, self._adapter.loss_scale
        experts, own = rows[is_executed[rows]], rows[~is_executed[rows]]

        def share(total: float, n: int) -> float:
            """Factor of each of n rows, in a loss over all N, that gives them the weight ``total`` together."""
            return total * len(rows) / (loss_scale(len(rows)) * n)

        policy, value = shapes.clone(), th.ones_like(shapes)
        if len(own):
            value[own] = share(loss_scale(len(own)), len(own))
        if len(experts):
            vf_factor = injection.vf_coef / self._model.vf_coef if injection.vf_coef else 0.0
            value[experts] = vf_factor * share(loss_scale(len(experts)), len(experts))
        if injection.weighting == "bounded":
            agents_total = loss_scale(max(len(own), 1))  # of one row, where the agent has none
            if len(own):
                policy[own] = share(agents_total, len(own))
            if len(experts):
                policy[experts] *= share(injection.coef * agents_total, len(experts))
        return InterventionWeights(is_executed, policy, value, lambda taken: self._weights(taken, is_executed, shapes))


def _mean_and_std(advantages: np.ndarray) -> tuple[float, float]:
    return float(advantages.mean()), float(advantages.std(ddof=1)) if len(advantages) > 1 else 0.0
