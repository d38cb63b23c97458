"""The imitation term of a rollout: the loss of labelled rows and demonstrations in each minibatch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3.action_scales import scale_to_policy
from nlf_sb3.buffers.labels import MODE, NO_LABEL, FeedbackBufferMixin
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.closed_forms import Cotangents, has_closed_form, negative_log_prob_gradients
from nlf_sb3.distributions import kl_divergence, log_prob_of_labels, log_relative_density, select_rows
from nlf_sb3.errors import FeedbackError
from nlf_sb3.losses import imitation_row_weights, leaving_factors
from nlf_sb3.objectives.policy_rows import MinibatchDealer, PolicyRows


class ActionLoss(Protocol):
    """
    An imitation loss of labels, for :class:`~nlf_sb3.Imitation`.

    It maps the policy's distribution in k states, the expert's actions there in the policy's scale (``[k, action_dim]``, or
    ``[k]`` of integers) and whether each is the expert's mode (``[k]``) to k losses with a graph.
    """

    def __call__(self, distribution: Any, actions: th.Tensor, is_mode: th.Tensor) -> th.Tensor: ...


def log_likelihood_loss(distribution: Any, actions: th.Tensor, is_mode: th.Tensor) -> th.Tensor:
    """
    ``loss="nll"``: -log pi(a_E | s).

    :param distribution: The policy's, k rows
    :param actions: The expert's, ``[k, action_dim]``, or ``[k]`` of integers
    :param is_mode: Whether they are the expert's mode, ``[k]``
    :return: ``[k]``
    """
    return -log_prob_of_labels(distribution, actions, is_mode)


class _Labels(NamedTuple):
    """
    The labels of a rollout's rows, in the policy's scale and in the order of ``buffer.row_indices()``.

    :param actions: ``[N, action_dim]``, or ``[N]`` integers; anything where there is no label
    :param weights: ``[N]``, 0 where there is no label, below 0 where the action is to become less likely
    :param kinds: NO_LABEL, SAMPLE or MODE, ``[N]``
    """

    actions: np.ndarray
    weights: np.ndarray
    kinds: np.ndarray


class ImitationTerm:
    """
    L_IL of one rollout, minibatch by minibatch (:func:`nlf_sb3.losses.minibatch_imitation_loss`).

    A row with a label is imitated by its log-likelihood, other rows by the analytic KL where
    the expert's distribution is given.

    :param policy: The policy in training
    :param buffer: The rollout
    :param expert_distribution: The expert's distribution on rows of the rollout; None for labels alone
    :param expert_rows: Flat indices of these rows, ``[n]``; None for all N, in the order of ``buffer.row_indices()``
    :param factors: Weights of the rows that have only the expert's distribution, ``[N]``; None for 1
    :param shown: Rows that the agent didn't visit; None for none
    :param shown_weights: Their weights, ``[K]``
    :param shown_is_mode: Whether their actions are the expert's mode, ``[K]``
    :param mode_trains_std: Whether labels that are a mode train the standard deviation too, and those of choices are sharp
    :param closed_form: Whether gradients come from :mod:`nlf_sb3.closed_forms` where it knows the policy's distribution,
        or always from autograd
    :param rng: Shuffles the demonstrations
    :param loss: Takes the place of -log pi(a_E | s); None for that
    """

    def __init__(
        self,
        policy: ActorCriticPolicy,
        buffer: FeedbackBufferMixin,
        *,
        expert_distribution: Distribution | None,
        factors: np.ndarray | None = None,
        shown: PolicyRows | None,
        shown_weights: th.Tensor | None,
        shown_is_mode: np.ndarray | None,
        mode_trains_std: bool,
        closed_form: bool,
        rng: np.random.Generator,
        loss: ActionLoss | None = None,
        expert_rows: np.ndarray | None = None,
    ) -> None:
        self._policy = policy
        self._device = policy.device
        self._expert_distribution = expert_distribution
        self.shown, self.shown_weights, self.shown_is_mode = shown, shown_weights, shown_is_mode
        self._mode_trains_std = mode_trains_std
        self._closed_form = closed_form and loss is None
        self._loss = log_likelihood_loss if loss is None else loss
        rows = buffer.row_indices()
        self.n_rows = len(rows)
        self._position = np.empty(buffer.buffer_size * buffer.n_envs, dtype=np.int64)
        self._position[rows] = np.arange(self.n_rows)
        self._factors = factors
        self._labels = _labels_of(policy, buffer, rows)
        is_labelled = np.zeros(self.n_rows, dtype=bool) if self._labels is None else self._labels.kinds != NO_LABEL
        if expert_distribution is not None:
            asked = rows if expert_rows is None else expert_rows
            self._asked = np.full(self.n_rows, -1)  # each row's place in the expert's distribution, -1 for none
            self._asked[self._position[asked]] = np.arange(len(asked))
            is_labelled |= self._asked >= 0
        self.n_labelled = int(np.count_nonzero(is_labelled))
        if shown is not None:
            self.n_labelled += len(shown)
            self._dealer = MinibatchDealer(shown, self.n_rows, rng)
        self.losses: list[float] = []
        self.last_cotangents: Cotangents = []

    def __call__(self, batch: Minibatch, scale: float = 1.0) -> Cotangents:
        """
        :param batch: The minibatch whose forward pass the policy has just made, B rows
        :param scale: Factor of the loss
        :return: The derivatives of that factor times the minibatch's estimate of L_IL
        """
        # The labels come first: demonstrations refill the policy's one distribution object.
        parts = [*self._labelled_rows(batch, scale), *self._shown_rows(len(batch), scale)]
        self.losses.append(sum(part.loss for part in parts))
        if not math.isfinite(self.losses[-1]):
            raise FeedbackError(
                f"label: its log-probability under {type(self._policy).__name__} is no finite number. Have the expert act "
                "where the policy can: within the action space's bounds, and within what the policy's distribution covers."
            )
        self.last_cotangents = [pair for part in parts for pair in part.cotangents]
        return list(self.last_cotangents)

    def _labelled_rows(self, batch: Minibatch, scale: float) -> Iterator[_Part]:
        distribution = self._policy.action_dist if batch.distribution is None else batch.distribution
        if batch.positions is not None:
            distribution = select_rows(distribution, batch.positions)
        positions = self._position[batch.rows]
        labels = self._labels
        kinds = np.full(len(batch), NO_LABEL) if labels is None else labels.kinds[positions]
        if labels is not None and kinds.any():
            yield self._own_labels(distribution, labels, kinds, positions, scale)
        if self._expert_distribution is None or kinds.all():
            return
        asked = self._asked[positions]
        others = np.flatnonzero((kinds == NO_LABEL) & (asked >= 0))
        if len(others):
            expert = select_rows(self._expert_distribution, asked[others], self._device)
            divergences = kl_divergence(expert, _rows_of(distribution, others, len(batch)))
            chosen = 1.0 if self._factors is None else self._to_device(self._factors[positions[others]])
            weights = self._row_weights(th.ones_like(divergences) * chosen, len(batch))
            yield _Part(float((weights * divergences.detach()).sum()), [(divergences, scale * weights)])

    def _own_labels(self, distribution: Any, labels: _Labels, kinds: np.ndarray, positions: np.ndarray, scale: float) -> _Part:
        n_batch_rows = len(kinds)
        if not kinds.all():
            labelled = np.flatnonzero(kinds)
            distribution = _rows_of(distribution, labelled, n_batch_rows)
            kinds, positions = kinds[labelled], positions[labelled]
        actions, weights = labels.actions[positions], self._row_weights(labels.weights[positions], n_batch_rows)
        return self._of_actions(distribution, actions, weights, kinds == MODE, scale)

    def _shown_rows(self, n_batch_rows: int, scale: float) -> Iterator[_Part]:
        if self.shown is None:
            return
        assert self.shown_weights is not None
        assert self.shown_is_mode is not None
        chosen = self._dealer.next(n_batch_rows)
        if not len(chosen):
            return
        evaluation = self.shown.evaluate(chosen)
        is_mode = self.shown_is_mode[chosen]
        weights = self._row_weights(self.shown_weights[chosen], n_batch_rows)
        actions = self.shown.actions[chosen]
        yield self._of_actions(evaluation.distribution, actions, weights, is_mode, scale)

    def _row_weights(self, weights: Any, n_batch_rows: int) -> Any:
        return imitation_row_weights(weights, self.n_rows, n_batch_rows, self.n_labelled)

    def _knows(self, distribution: Any) -> bool:
        return self._closed_form and has_closed_form(distribution)

    def _of_actions(self, distribution: Any, actions: Any, weights: Any, is_mode: np.ndarray, scale: float) -> _Part:
        if self._mode_trains_std:
            is_mode = np.zeros_like(is_mode)
        if (weights < 0).any():
            weights = self._bounded_where_left(distribution, actions, weights)
        if self._knows(distribution):
            actions, weights = self._for_closed_form(actions), self._for_closed_form(weights)
            trains_std: Any = not is_mode.any()
            if not trains_std and not is_mode.all():
                trains_std = self._for_closed_form(~is_mode)
            divergences, cotangents = negative_log_prob_gradients(distribution, actions, scale * weights, trains_std)
            return _Part(float((weights * divergences).sum()), cotangents)
        actions, weights, modes = map(self._to_device, (actions, weights, is_mode))
        divergences = self._loss(distribution, actions, modes)
        return _Part(float((weights * divergences.detach()).sum()), [(divergences, scale * weights)])

    def _bounded_where_left(self, distribution: Any, actions: Any, weights: Any) -> Any:
        """Weights below 0 times :func:`~nlf_sb3.losses.leaving_factors`."""
        with th.no_grad():
            try:
                relative = log_relative_density(distribution, distribution.log_prob(self._to_device(actions)))
            except FeedbackError as error:
                raise FeedbackError(f"{type(self._policy).__name__}: {error}") from error
            factors = leaving_factors(relative)
        if isinstance(weights, np.ndarray):
            return np.where(weights < 0, weights * factors.cpu().numpy(), weights)
        return th.where(weights < 0, weights * factors, weights)

    def _for_closed_form(self, rows: Any) -> Any:
        return np.asarray(rows) if self._device.type == "cpu" else self._to_device(rows)

    def _to_device(self, rows: Any) -> th.Tensor:
        return th.as_tensor(rows, device=self._device)


class _Part(NamedTuple):
    """The loss of the labelled rows of one source, and its derivatives times the factor asked for."""

    loss: float
    cotangents: Cotangents


def _labels_of(policy: ActorCriticPolicy, buffer: FeedbackBufferMixin, rows: np.ndarray) -> _Labels | None:
    kinds = buffer.take_rows(buffer.label_kinds, rows)
    if not kinds.any():
        return None
    weights = np.where(kinds == NO_LABEL, np.float32(0), buffer.take_rows(buffer.label_weights, rows))
    return _Labels(scale_to_policy(policy, buffer.take_rows(buffer.label_actions, rows)), weights, kinds)


def _rows_of(distribution: Any, rows: np.ndarray, n_rows: int) -> Any:
    return distribution if len(rows) == n_rows else select_rows(distribution, rows)
