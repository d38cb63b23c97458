"""What every algorithm here adds to its Stable-Baselines3 original: the joint objective and injection in train()."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th

from nlf_sb3.algorithms.imitation import ImitationTerm
from nlf_sb3.algorithms.injection import InjectionTerm, build_injected_rows
from nlf_sb3.algorithms.joint import attached_loss, gradient_norms
from nlf_sb3.algorithms.rows import InjectedRows
from nlf_sb3.algorithms.scheduling import FollowsSchedule
from nlf_sb3.algorithms.takeover import TakeoverWeights
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.closed_forms import Cotangents
from nlf_sb3.losses import policy_gradient_loss


@dataclass
class Update:
    """
    What a rollout's feedback adds to an update.

    :param n_rows: N, rows of the rollout
    :param alpha: Weight of the policy gradient: 1 where nothing is imitated
    :param imitation: The imitation term, weighted 1 - alpha; None if nothing is imitated
    :param injected: Rows of injected episodes; None if there are none
    :param weights: Weights of the rollout's own rows; None if the agent acted in all of them
    """

    n_rows: int
    alpha: float
    imitation: ImitationTerm | None
    injected: InjectedRows | None
    weights: TakeoverWeights | None

    def __bool__(self) -> bool:
        return self.imitation is not None or self.injected is not None or self.weights is not None


class FeedbackAlgorithm(FollowsSchedule):
    """
    Mix into an on-policy algorithm of SB3, in front of it. Arguments that are not listed here are the original's.

    A rollout without any label or injected episode, and labels at ``alpha=1``, train exactly as the original does.

    :param policy: As in SB3
    :param env: As in SB3; wrap it in :class:`~nlf_sb3.FeedbackWrapper` or
        :class:`~nlf_sb3.TrajectoryInjection`, or neither
    :param alpha: Weight of the policy gradient, 1 - alpha that of imitation, wherever a rollout holds
        labels: a number in [0, 1], a function of the progress remaining, or an
        :class:`~nlf_sb3.schedules.AdaptiveAlpha` (:mod:`nlf_sb3.schedules`), of which the model takes a copy.
        Entropy and value terms keep their own coefficients.
    :param expert: Labels every row of a rollout that has no label of its own, in one batched call.
        Anything that :func:`~nlf_sb3.teachers.as_expert` takes
    :param imitation: ``"nll"``: -log pi(a_E|s). ``"kl"``: the analytic KL(pi_E || pi), which needs an
        ``expert`` that has a distribution
    :param imitation_weights: What labels count beside their own weights: rules whose factors are multiplied
        (:mod:`nlf_sb3.weights`), of which the model takes a copy
    :param demonstrations: Rows for the imitation loss that the agent needn't visit. A rollout of N rows
        draws at most N of them.
    :param injection: How injected rows are weighted. ``"bounded"``: together as ``injection_coef``
        times the agent's rows, however many there are, and with bounded rows
        (:func:`~nlf_sb3.algorithms.injection.build_injected_rows`). ``"plain"``: each as one of the
        agent's. ``"separate"``: plain, in an optimiser step of its own after the agent's update.
    :param injection_coef: See ``injection``
    :param injection_vf_coef: Weight of the expert's rows in the value loss, in the place of ``vf_coef``: it multiplies
        the mean of their squared value errors (their sum, if ``loss_reduction="sum"``), whatever ``injection`` and
        ``injection_coef`` are. They are an injected episode's rows, or those of a rollout that the expert acted in
        (``mode="takeover"``). Their returns are the expert's, so that by default they stay out of the critic.
    :param mode_trains_std: Let labels that are the expert's mode train the standard deviation too
    :param on_error: ``"raise"``, or ``"skip"`` to count bad feedback (``feedback/skipped``) and go on
    :param log_gradients: Log both terms' gradient norms and their cosine, on the first minibatch of each
        update. It costs two more backward passes there.
    :raises FeedbackError: At the step that brought bad feedback
    """

    def train(self) -> None:
        alpha = self._next_alpha()
        if self._was_put_back():
            self._record_feedback(alpha)
            return
        weights = self._settle_takeovers()
        imitation = self._imitation_term()
        injected = self._injected_rows()
        self._warn_of_broken_promise()
        self._record_feedback(alpha if imitation is not None else None)
        if alpha == 1.0:
            imitation = None  # labels were asked for and counted, and train nothing
        n_rows = len(self.rollout_buffer.row_indices())
        update = Update(n_rows, 1.0 if imitation is None else alpha, imitation, injected, weights)
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
        attached = None if self.injection == "separate" else injection
        if update.imitation is None and attached is None and update.weights is None:
            self._train_original()
        else:
            self._train_with(update, attached)
        if injection is not None and self.injection == "separate":
            self._separate_update(injection, update.alpha, update.n_rows)

    def _train_with(self, update: Update, attached: InjectionTerm | None) -> None:
        imitation = update.imitation

        def extra_loss(batch: Minibatch) -> Cotangents:
            scale = self._loss_scale(len(batch))
            # The labels come first: evaluating other rows refills the policy's one distribution object.
            extra = [] if imitation is None else imitation(batch, (1.0 - update.alpha) * scale)
            if attached is not None:
                policy_loss, value_loss = attached(len(batch))
                injected = update.alpha * policy_loss + value_loss
                extra.append((injected, th.full_like(injected, scale)))
            return extra

        observer = self._gradient_observer(imitation, update.alpha)
        takes_batch = self.rollout_buffer.take_last_batch
        # Rows of takeovers are normalised already, by statistics that leave them out.
        normalised = {"normalize_advantage": False} if update.weights is not None and self.injection != "plain" else {}
        with (
            self._temporarily(**normalised),
            attached_loss(self.policy, takes_batch, extra_loss, update.alpha, observer, update.weights),
        ):
            self._train_original()
        if imitation is not None:
            self.logger.record("train/imitation_loss", float(np.mean(imitation.losses)))

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

    def _injected_rows(self) -> InjectedRows | None:
        if not self.rollout_buffer.segments:
            return None
        assert self.env is not None
        rows = build_injected_rows(
            self.policy,
            self.env,
            self.rollout_buffer.segments,
            make_rows=self._policy_rows,
            gamma=self.gamma,
            agents_advantages=self._advantage_scale(),
            use_critic=self._uses_critic(),
            bootstrap_at_time_limit=self._bootstraps_at_time_limit(),
            bounded=self.injection == "bounded",
        )
        self.logger.record("injection/advantage_mean", rows.advantages.mean().item())
        return rows

    def _injection_term(self, rows: InjectedRows, n_rows: int) -> InjectionTerm:
        return InjectionTerm(
            rows,
            self._policy_losses,
            n_rows=n_rows,
            coef=self.injection_coef if self.injection == "bounded" else None,
            # What the term gives is scaled by N where losses are sums; this one is a sum over its own K rows.
            vf_coef=self.injection_vf_coef * self._loss_scale(len(rows)) / self._loss_scale(n_rows),
            rng=self._feedback_rng,
        )

    def _separate_update(self, injection: InjectionTerm, scale: float, n_rows: int) -> None:
        """The paper's order: the injected episodes' own optimiser step, on the policy that the agent's has left."""
        self.policy.set_training_mode(True)
        policy_loss, value_loss = injection.loss_of_all()
        loss = self._loss_scale(n_rows) * (scale * policy_loss + value_loss)
        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if self.max_grad_norm is not None:
            th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()

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

    # What an algorithm says of its own policy loss:

    def _policy_losses(self, log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
        """The algorithm's policy loss, row by row, for injected rows: ``[k]`` each."""
        return policy_gradient_loss(log_prob, advantages)

    def _bootstraps_at_time_limit(self) -> bool:
        return True
