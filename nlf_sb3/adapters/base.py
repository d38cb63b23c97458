"""An on-policy algorithm whose rollouts have a number of steps, and whose updates pass through ``policy.evaluate_actions``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces

from nlf_sb3.action_scales import policy_tensor
from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.closed_forms import Cotangents
from nlf_sb3.losses import policy_gradient_loss
from nlf_sb3.objectives.advantages import AdvantageScale
from nlf_sb3.objectives.attach import attached_loss, gradient_norms
from nlf_sb3.objectives.auxiliary import AuxiliaryTerm
from nlf_sb3.objectives.expert_ratios import ExpertRatios
from nlf_sb3.objectives.interventions import InterventionWeights
from nlf_sb3.objectives.policy_rows import Evaluation, PolicyRows
from nlf_sb3.objectives.terms import RolloutTerms
from nlf_sb3.observations import observations_on
from nlf_sb3.returns import advantages_until_takeover
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.token_policies import check_tokens


class Adapter:
    """
    The properties of an algorithm that the parts need. Each family of algorithms overrides its own.

    :param model: The algorithm's model
    """

    imitates_get_distribution = False
    """Whether labels train ``policy.get_distribution`` in the place of the distribution of ``policy.evaluate_actions``."""
    trains_tokens = True
    """Whether policies of tokens (:class:`~nlf_sb3.language.CausalLMPolicy`) can be trained."""
    advantages_are_normalised = False
    """Whether the buffer's advantages are normalised already, in every rollout."""

    def __init__(self, model: Any) -> None:
        self.model = model

    # --- limits of the algorithm ----------------------------------------------------------------------

    def check_settings(self) -> None:
        """
        :raises ValueError: If the algorithm can't do what the arguments ask for
        :raises FeedbackError: If it can't train this kind of policy
        """
        check_tokens(self.model, trains_tokens=self.trains_tokens)

    def check_action_scale(self) -> None:
        """
        :raises ValueError: If an expert's actions would mean others than those of the policy
        """

    def check_segment(self, segment: ExpertSegment) -> None:
        """
        :param segment: An injected episode
        :raises FeedbackError: If the algorithm can't train on it
        """
        self.check_action_scale()

    def pass_over_labels(self) -> int:
        """
        Leave out labels of the rollout that the algorithm can't train on.

        :return: Their number
        :raises FeedbackError: In their place, with ``on_error="raise"``
        """
        return 0

    def check_executed(self, rows: np.ndarray) -> None:
        """
        :param rows: Flat indices of rows in which an expert acted
        :raises FeedbackError: If the policy could not have taken such an action
        """

    def warn_of_interventions(self, modes: set[str]) -> None:
        """
        :param modes: Modes of injection in which an expert acts in the agent's environment
        """

    def prepare_buffer(self) -> None:
        """Set up the model's fresh rollout buffer."""

    # --- its rows ---------------------------------------------------------------------------------------

    def rollout_masks(self, rows: np.ndarray) -> np.ndarray | None:
        """
        :param rows: Flat indices, ``[n]``
        :return: Their action masks, ``[n, n_choices]``; None without masks
        """
        return None

    def policy_rows(
        self, observations: Any, actions: th.Tensor, starts: np.ndarray | None, masks: np.ndarray | None
    ) -> PolicyRows:
        """
        Rows beside those of the rollout, for this algorithm's policy.

        :param observations: In the policy's scale, ``[K, *obs_shape]`` or a dict of such
        :param actions: In the policy's scale, ``[K, action_dim]``, or ``[K]`` of integers
        :param starts: Whether a row is its episode's first, ``[K]``; None if the rows have no order
        :param masks: Action masks, ``[K, n_choices]``, or None
        :return: The rows
        """
        return PolicyRows(self.model.policy, observations, actions)

    def evaluate_rollout_rows(self, rows: np.ndarray) -> Evaluation:
        """
        :param rows: Flat indices of rows of the rollout, ``[n]``
        :return: The policy's answers on them. The buffer need not have handed any out.
        """
        model, buffer = self.model, self.model.rollout_buffer
        observations: Any = observations_on(buffer.take_rows(buffer.observations, rows), model.device)
        actions = policy_tensor(model.policy, buffer.take_rows(buffer.actions, rows))
        return PolicyRows(model.policy, observations, actions, self.rollout_masks(rows)).evaluate_all()

    def as_executed(self, actions: np.ndarray) -> np.ndarray:
        """
        :param actions: Actions of the policy, ``[n, action_dim]``
        :return: The same as the environment gets them, rescaled or clipped, ``[n, *action_shape]``
        """
        space, policy = self.model.action_space, self.model.policy
        if actions.shape[1:] != space.shape:
            actions = actions.reshape(len(actions), *(space.shape or ()))
        if not isinstance(space, spaces.Box):
            return actions
        if policy.squash_output:
            return policy.unscale_action(actions)  # type: ignore[no-any-return]
        return np.minimum(np.maximum(actions, space.low), space.high)  # type: ignore[no-any-return]

    # --- its loss ---------------------------------------------------------------------------------------

    @property
    def uses_value_net(self) -> bool:
        """Whether there is a value function."""
        return True

    @property
    def bootstraps_at_time_limit(self) -> bool:
        """Whether the value function stands for the rest of an episode at a time limit."""
        return True

    @property
    def normalises_later(self) -> bool:
        """Whether the algorithm normalises advantages in each minibatch."""
        return bool(getattr(self.model, "normalize_advantage", False))

    def loss_scale(self, n_rows: int) -> float:
        """
        :param n_rows: Rows of a minibatch
        :return: 1 if the policy loss is a mean over them, their number if it is a sum
        """
        return 1.0

    def policy_losses(self, log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
        """
        :param log_prob: log pi(a | s), ``[k]``
        :param old_log_prob: log pi_old(a | s), ``[k]``
        :param advantages: ``[k]``
        :return: The algorithm's policy loss of each row, ``[k]``
        """
        return policy_gradient_loss(log_prob, advantages)

    def expert_ratios(self, weights: InterventionWeights) -> ExpertRatios | None:
        """
        :param weights: Weights of the rollout's rows
        :return: Bounds of the ratios of the expert's rows; None for an algorithm without ratios
        """
        return None

    def advantage_scale(self) -> AdvantageScale:
        """
        :return: The scale of the agent's advantages in this rollout
        """
        advantages = self.model.rollout_buffer.advantages
        std = float(advantages.std(ddof=1)) if advantages.size > 1 else 0.0
        return AdvantageScale(float(advantages.mean()), std, self.normalises_later)

    def end_advantages_at_interventions(self) -> None:
        """End the agent's advantages where an expert begins to act, with the value of that state."""
        buffer = self.model.rollout_buffer
        decay = buffer.gamma * buffer.gae_lambda
        buffer.advantages = advantages_until_takeover(buffer.advantages, buffer.executed, buffer.episode_starts, decay)
        buffer.returns = buffer.advantages + buffer.values

    # --- its methods ------------------------------------------------------------------------------------

    def catch_up(self, step: dict[str, Any]) -> None:
        """
        Go on from the environments' present state, after a step that was not kept.

        :param step: Local variables of the original's ``collect_rollouts`` after that step
        """
        self.model._last_obs, self.model._last_episode_starts = step["new_obs"], step["dones"]

    @contextlib.contextmanager
    def attached(self, terms: RolloutTerms) -> Iterator[None]:
        """
        While active, the original's ``train`` minimises its loss together with these terms.

        :param terms: The terms
        """
        model = self.model
        auxiliary = AuxiliaryTerm(model, terms.auxiliary)

        def extra_loss(batch: Minibatch) -> Cotangents:
            scale = self.loss_scale(len(batch))
            extra = auxiliary(batch, scale)
            # The labels come first: evaluating other rows refills the policy's one distribution object.
            extra += [] if terms.imitation is None else terms.imitation(batch, (1.0 - terms.alpha) * scale)
            if terms.injection is not None:
                policy_loss, value_loss = terms.injection(len(batch))
                injected = terms.alpha * policy_loss + value_loss
                extra.append((injected, th.full_like(injected, scale)))
            return extra

        weights = terms.interventions
        with (
            self.settled(terms),
            attached_loss(
                model.policy,
                model.rollout_buffer.take_last_batch,
                extra_loss,
                terms.alpha,
                self._gradient_observer(terms),
                weights,
                None if weights is None else self.expert_ratios(weights),
            ),
        ):
            yield
        if terms.imitation is not None:
            model.logger.record("train/imitation_loss", float(np.mean(terms.imitation.losses)))
        auxiliary.record(model.logger)

    @contextlib.contextmanager
    def settled(self, terms: RolloutTerms) -> Iterator[None]:
        """
        While active, the algorithm leaves advantages alone that are normalised already.

        :param terms: The terms of the update
        """
        is_settled = terms.interventions is not None and self.model.injection.weighting != "plain"
        with temporarily(self.model, **({"normalize_advantage": False} if is_settled else {})):
            yield

    def _gradient_observer(self, terms: RolloutTerms) -> Any:
        model, imitation = self.model, terms.imitation
        if not model.log_gradients or imitation is None:
            return None
        parameters = [parameter for parameter in model.policy.parameters() if parameter.requires_grad]

        def observe(log_prob: th.Tensor, grad: th.Tensor) -> None:
            policy_norm, imitation_norm, cosine = gradient_norms(log_prob, grad, imitation.last_cotangents, parameters)
            model.logger.record("train/policy_gradient_norm", policy_norm)
            model.logger.record("train/imitation_gradient_norm", imitation_norm / (1.0 - terms.alpha))
            model.logger.record("train/gradient_cosine", cosine)

        return observe


@contextlib.contextmanager
def temporarily(model: Any, **settings: Any) -> Iterator[None]:
    """
    While active, settings that a model has hold other values.

    :param model: The model
    :param settings: The values; settings that the model doesn't have are left out
    """
    before = {name: getattr(model, name) for name in settings if hasattr(model, name)}
    for name in before:
        setattr(model, name, settings[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(model, name, value)
