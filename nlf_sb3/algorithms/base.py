"""The joint objective and injection in ``train()``: a mixin for algorithms of Stable-Baselines3."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th

from nlf_sb3.objectives.auxiliary import AuxiliaryTerm
from nlf_sb3.objectives.expert_ratios import ExpertRatios
from nlf_sb3.objectives.imitation import ImitationTerm
from nlf_sb3.objectives.injection import TrainsOnInjected
from nlf_sb3.objectives.injected_rows import InjectionTerm
from nlf_sb3.objectives.attach import attached_loss, gradient_norms
from nlf_sb3.objectives.policy_check import check_policy
from nlf_sb3.algorithms.rollout_sizes import SizesRollouts
from nlf_sb3.objectives.policy_rows import InjectedRows
from nlf_sb3.objectives.interventions import TakeoverWeights
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.closed_forms import Cotangents


@dataclass
class Update:
    """
    What a rollout's feedback adds to an update.

    :param n_rows: N, rows of the rollout
    :param alpha: Weight of the policy gradient: 1 where nothing is imitated
    :param imitation: The imitation term, weighted 1 - alpha; None if nothing is imitated
    :param injected: Rows of injected episodes; None if there are none
    :param weights: Weights of the rollout's own rows; None if the agent acted in all of them
    :param has_auxiliary: Whether there are auxiliary losses
    """

    n_rows: int
    alpha: float
    imitation: ImitationTerm | None
    injected: InjectedRows | None
    weights: TakeoverWeights | None

    has_auxiliary: bool = False

    def __bool__(self) -> bool:
        return self.has_auxiliary or self.imitation is not None or self.injected is not None or self.weights is not None


class FeedbackAlgorithm(SizesRollouts, TrainsOnInjected):
    """
    A mixin for an on-policy algorithm of SB3. It comes first among the base classes.

    A rollout without labels and injected episodes trains exactly as the original does. With ``alpha=1`` labels change nothing
    either. Arguments that are not listed here are the original's.

    :param policy: As in SB3
    :param env: As in SB3. Wrap it in :class:`~nlf_sb3.FeedbackWrapper` or :class:`~nlf_sb3.TrajectoryInjection` for
        feedback that comes with steps.
    :param alpha: Weight of the policy gradient in a rollout that holds labels; imitation has the weight 1 - alpha. It is a
        number in [0, 1], a function of the progress remaining, or an :class:`~nlf_sb3.schedules.AdaptiveAlpha`
        (:mod:`nlf_sb3.schedules`), of which the model takes a copy. Entropy and value terms keep their own coefficients.
    :param expert: Labels each row of a rollout that has no label yet, in one batched call. Anything that
        :func:`~nlf_sb3.teachers.as_expert` takes.
    :param demonstrations: Recorded rows for the imitation loss. A rollout of N rows draws at most N of them.
    :param interpreter: Makes labels of remarks (:mod:`nlf_sb3.text`), for steps that have none. A label's weight is the
        confidence of the reading. It is negative if the action is to become less likely.
    :param auxiliary_losses: More losses, each with a coefficient that doesn't depend on alpha
        (:class:`~nlf_sb3.text.TextPrediction`)
    :param max_expert_queries: Most labels that a training may use, those of wrappers included. ``expert`` is not asked for
        more. A rollout that exceeds them has labels on rows drawn evenly. None for no limit
    :param on_error: ``"raise"``, or ``"skip"`` to count bad feedback (``feedback/skipped``) and go on
    :param log_gradients: Log the norms of both terms' gradients and their cosine, on the first minibatch of each update. It
        costs two more backward passes.
    :param imitation: How labels are imitated: ``"nll"``, ``"kl"`` or an :class:`~nlf_sb3.Imitation`, of which the model takes
        a copy
    :param injection: How an expert's steps train the policy: ``"bounded"``, ``"plain"``, ``"separate"`` or an
        :class:`~nlf_sb3.Injection`
    :param phases: Sizes of rollouts and minibatches, and learning rate, once imitation is over
        (:class:`~nlf_sb3.TrainingPhases`). For algorithms that count a rollout's steps. None for no change
    :raises FeedbackError: At the step that brought bad feedback
    """

    imitates_get_distribution = False
    """Whether labels train ``policy.get_distribution`` in the place of the distribution of ``policy.evaluate_actions``."""

    def _setup_model(self) -> None:
        super()._setup_model()
        check_policy(self)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        self._check_settings()  # an expert or a wrapped environment may have come since
        check_policy(self)
        return super()._setup_learn(*args, **kwargs)

    def train(self) -> None:
        alpha = self._next_alpha()
        if self._was_put_back():
            self._record_feedback(alpha)
        else:
            self._learn_from_rollout(alpha)
        self._size_rollouts(alpha)

    def _learn_from_rollout(self, alpha: float) -> None:
        weights = self._settle_takeovers()
        imitation = self._imitation_term(alpha, is_settled=weights is not None and self.injection.weighting != "plain")
        if imitation is not None:
            self._before_imitating()
        injected = self._injected_rows()
        self._warn_of_lost_feedback()
        teaches = self.expert is not None or self.demonstrations is not None or imitation is not None
        self._record_feedback(alpha if teaches else None)
        n_rows = len(self.rollout_buffer.row_indices())
        has_auxiliary = len(self.auxiliary_losses) > 0
        update = Update(n_rows, 1.0 if imitation is None else alpha, imitation, injected, weights, has_auxiliary)
        if update:
            self._update(update)
        else:
            self._train_original()

    def _train_original(self) -> None:
        """SB3's own ``train()``."""
        super().train()

    def _update(self, update: Update) -> None:
        """One ``train()`` of the original, with what the feedback adds."""
        injection = None if update.injected is None else self._injection_term(update.injected, update.n_rows)
        attached = None if self.injection.separate_step else injection
        if update.imitation is None and attached is None and update.weights is None and not update.has_auxiliary:
            self._train_original()
        else:
            self._train_with(update, attached)
        if injection is not None and self.injection.separate_step:
            self._separate_update(injection, update.alpha, update.n_rows)

    def _train_with(self, update: Update, attached: InjectionTerm | None) -> None:
        imitation = update.imitation
        auxiliary = AuxiliaryTerm(self, self.auxiliary_losses)

        def extra_loss(batch: Minibatch) -> Cotangents:
            scale = self._loss_scale(len(batch))
            extra = auxiliary(batch, scale)
            # The labels come first: evaluating other rows refills the policy's one distribution object.
            extra += [] if imitation is None else imitation(batch, (1.0 - update.alpha) * scale)
            if attached is not None:
                policy_loss, value_loss = attached(len(batch))
                injected = update.alpha * policy_loss + value_loss
                extra.append((injected, th.full_like(injected, scale)))
            return extra

        observer = self._gradient_observer(imitation, update.alpha)
        takes_batch = self.rollout_buffer.take_last_batch
        # Rows of takeovers are normalised already, by statistics that leave them out.
        normalised = (
            {"normalize_advantage": False} if update.weights is not None and self.injection.weighting != "plain" else {}
        )
        ratios = None if update.weights is None else self._expert_ratios(update.weights)
        with (
            self._temporarily(**normalised),
            attached_loss(self.policy, takes_batch, extra_loss, update.alpha, observer, update.weights, ratios),
        ):
            self._train_original()
        if imitation is not None:
            self.logger.record("train/imitation_loss", float(np.mean(imitation.losses)))
        auxiliary.record(self.logger)

    def _expert_ratios(self, weights: TakeoverWeights) -> ExpertRatios | None:
        """What bounds the ratios of an expert's rows in the rollout; None for an algorithm without ratios."""
        return None

    @contextlib.contextmanager
    def _temporarily(self, **settings: Any) -> Iterator[None]:
        """While active, settings that the original has hold other values."""
        before = {name: getattr(self, name) for name in settings if hasattr(self, name)}
        for name in before:
            setattr(self, name, settings[name])
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    def _gradient_observer(self, imitation: ImitationTerm | None, alpha: float) -> Any:
        if not self.log_gradients or imitation is None:
            return None
        parameters = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]

        def observe(log_prob: th.Tensor, grad: th.Tensor) -> None:
            policy_norm, imitation_norm, cosine = gradient_norms(log_prob, grad, imitation.last_cotangents, parameters)
            self.logger.record("train/policy_gradient_norm", policy_norm)
            self.logger.record("train/imitation_gradient_norm", imitation_norm / (1.0 - alpha))
            self.logger.record("train/gradient_cosine", cosine)

        return observe
