"""What every algorithm here adds to its Stable-Baselines3 original: the joint objective and injection in train()."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch as th

from nlf_sb3.algorithms.auxiliary import AuxiliaryTerm
from nlf_sb3.algorithms.expert_ratios import ExpertRatios
from nlf_sb3.algorithms.imitation import ImitationTerm
from nlf_sb3.algorithms.injecting import TrainsOnInjected
from nlf_sb3.algorithms.injection import InjectionTerm
from nlf_sb3.algorithms.joint import attached_loss, gradient_norms
from nlf_sb3.algorithms.policy_check import check_policy
from nlf_sb3.algorithms.rollout_sizes import SizesRollouts
from nlf_sb3.algorithms.rows import InjectedRows
from nlf_sb3.algorithms.takeover import TakeoverWeights
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
    :param interpreter: Reads what people say (:mod:`nlf_sb3.text`): a step's words become a label where it has none, of the
        weight of the reading's confidence, or of a negative one where the action is to become less likely
    :param auxiliary_losses: Losses beside the objective, each with its own coefficient, which alpha doesn't touch
        (:class:`~nlf_sb3.text.TextPrediction`)
    :param demonstrations: Rows for the imitation loss that the agent needn't visit. A rollout of N rows
        draws at most N of them.
    :param expert_segments: What is made of the expert's episodes that come with steps
        (:class:`~nlf_sb3.TrajectoryInjection`'s forks, expected responses of :class:`~nlf_sb3.language.TokenLevel`).
        ``"inject"``: both its part and the shared one train by policy gradient, as injected rows. ``"imitate"``: the expert's
        own steps are demonstrations of the rollout that brought them, of weight 1 each, and nothing is injected;
        ``label_memory`` remembers them too
    :param injection: How injected rows are weighted. ``"bounded"``: together as ``injection_coef``
        times the agent's rows, however many there are, and with bounded rows
        (:func:`~nlf_sb3.algorithms.injection.build_injected_rows`). ``"plain"``: each as one of the
        agent's. ``"separate"``: plain, in an optimiser step of its own after the agent's update.
    :param injection_coef: See ``injection``
    :param injection_vf_coef: Weight of the expert's rows in the value loss, in the place of ``vf_coef``: it multiplies
        the mean of their squared value errors (their sum, if ``loss_reduction="sum"``), whatever ``injection`` and
        ``injection_coef`` are. They are an injected episode's rows, or those of a rollout that the expert acted in
        (``mode="takeover"`` and ``"guide"``). Their returns are the expert's, so that by default they stay out of the critic.
    :param injection_weights: What each of the expert's rows counts, whatever ``injection`` is. ``"none"``: 1, the paper's.
        ``"importance"``: min(c, pi / pi_E), which needs the expert's own log-probabilities. ``"shaping"``: p / (p + 0.1),
        p the density relative to the policy's mode. ``"shaping_negative"``: that where the advantage is negative, 1
        elsewhere. ``"auto"``: ``"shaping_negative"`` if ``injection="bounded"``, else ``"none"``
        (:class:`~nlf_sb3.algorithms.injection_weights.ExpertWeights`)
    :param injection_max_weight: c of ``"importance"``
    :param injection_prefix: ``"twice"``: the steps that a forked episode shares count as rows of the agent's and again as
        rows of the episode, credited with what the expert made of them. ``"once"``: as rows of the agent's alone
    :param max_expert_queries: How many labels may be had in one training, those of wrappers included: ``expert`` is not asked
        for more. A rollout that the rest doesn't suffice for has it on rows drawn evenly. None for no limit
    :param label_memory: How many labels of earlier rollouts are kept and imitated again, beside the rollout's own, as DAgger
        aggregates them; the oldest make room. They stay in the scale that the policy saw them in, and are not saved with the
        model. 0 for none
    :param label_replay: Labels drawn from the memory for each row of a rollout
    :param longer_rollouts: Size of rollouts and minibatches, and learning rate, once imitation is over
        (:class:`~nlf_sb3.schedules.LongerRollouts`): labels teach in short rollouts, the policy gradient in longer ones. For
        algorithms that count a rollout's steps. None for the same size throughout
    :param mode_trains_std: Let labels that are the expert's mode train the standard deviation too, and don't smooth those of
        choices (:func:`~nlf_sb3.distributions.log_prob_of_mode`)
    :param on_error: ``"raise"``, or ``"skip"`` to count bad feedback (``feedback/skipped``) and go on
    :param log_gradients: Log both terms' gradient norms and their cosine, on the first minibatch of each
        update. It costs two more backward passes there.
    :raises FeedbackError: At the step that brought bad feedback
    """

    imitates_get_distribution = False
    """Whether labels train ``policy.get_distribution``, and not what ``policy.evaluate_actions`` uses."""

    def _setup_model(self) -> None:
        super()._setup_model()
        check_policy(self)

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._setup_learn(*args, **kwargs)
        check_policy(self, self._last_obs)  # an expert or a wrapped environment may have come since
        return result

    def train(self) -> None:
        alpha = self._next_alpha()
        if self._was_put_back():
            self._record_feedback(alpha)
        else:
            self._learn_from_rollout(alpha)
        self._size_rollouts(alpha)

    def _learn_from_rollout(self, alpha: float) -> None:
        weights = self._settle_takeovers()
        imitation = self._imitation_term(alpha, is_settled=weights is not None and self.injection != "plain")
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
        attached = None if self.injection == "separate" else injection
        if update.imitation is None and attached is None and update.weights is None and not update.has_auxiliary:
            self._train_original()
        else:
            self._train_with(update, attached)
        if injection is not None and self.injection == "separate":
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
        normalised = {"normalize_advantage": False} if update.weights is not None and self.injection != "plain" else {}
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
