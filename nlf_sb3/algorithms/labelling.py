"""Ask the expert, and the demonstrations, for a rollout's labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.utils import obs_as_tensor

from nlf_sb3.algorithms.advantages import AdvantageScale
from nlf_sb3.algorithms.collecting import CollectsFeedback
from nlf_sb3.algorithms.imitation import ImitationTerm, raw_policy_actions, to_policy_actions
from nlf_sb3.algorithms.rows import DemonstrationRows, Evaluation, PolicyRows, observations_as_rows
from nlf_sb3.algorithms.vec_envs import as_environment_gave_them, check_expert_observes, to_policy_observations
from nlf_sb3.buffers.labels import MODE, NO_LABEL, SAMPLE
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.distributions import masked
from nlf_sb3.errors import ActionShapeError, FeedbackError
from nlf_sb3.masks import check_allowed
from nlf_sb3.segments import Observations
from nlf_sb3.teachers.experts import CallableExpert
from nlf_sb3.validation import check_actions
from nlf_sb3.weights import LabelFactors, LabelledRollout, label_factors


class LabelsRollouts(CollectsFeedback):
    """Turns a rollout's labels, the expert's answers and demonstrations into one imitation term."""

    closed_form_imitation: bool = True
    """Whether the imitation loss of plain Gaussian and categorical policies has its gradient from
    :mod:`nlf_sb3.closed_forms`; False takes autograd, with the same numbers up to rounding. TRPO has labels in its batch
    instead."""

    def _check_settings(self) -> None:
        if not isinstance(self.demonstrations, (Demonstrations, type(None))):
            raise FeedbackError(
                f"demonstrations: got {type(self.demonstrations).__name__}, expected Demonstrations. For a file, use "
                "Demonstrations.load(path); for arrays, Demonstrations(observations, actions)."
            )
        super()._check_settings()

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        if self.expert is not None and self.env is not None:
            check_expert_observes(self.env)
        return super()._setup_learn(*args, **kwargs)

    def _imitation_term(self) -> ImitationTerm | None:
        """Ask the expert for the rollout's labels; the term of all labelled rows, or None if there are none."""
        distribution = None
        self._check_labels()
        if self.expert is not None:
            if self.imitation == "kl":
                distribution = self._ask(self._expert_distribution)
            else:
                self._ask(self._label_rollout)
        factors = self._label_factors(distribution)
        term = ImitationTerm(
            self.policy,
            self.rollout_buffer,
            expert_distribution=distribution,
            factors=None if factors is None else factors.shared * factors.of_rows,
            demonstrations=self._demonstration_rows(1.0 if factors is None else factors.shared),
            mode_trains_std=self.mode_trains_std,
            closed_form=self.closed_form_imitation,
            rng=self._feedback_rng,
        )
        return term if term.n_labelled else None

    def _label_factors(self, expert_distribution: Distribution | None) -> LabelFactors | None:
        """Weigh the rollout's labels by ``imitation_weights``; the factors, or None where there is nothing to weigh."""
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        is_labelled = buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL
        is_answered = is_labelled | (expert_distribution is not None)
        if not self.imitation_weights or not (is_answered.any() or self.demonstrations is not None):
            return None
        labels = to_policy_actions(self.policy, buffer.take_rows(buffer.label_actions, rows))
        if expert_distribution is not None:
            modes = expert_distribution.mode().to(self.device).reshape(labels.shape).to(labels.dtype)
            own = th.as_tensor(is_labelled, device=self.device)
            labels = th.where(own.reshape(-1, *[1] * (labels.dim() - 1)), labels, modes)
        self.policy.set_training_mode(False)
        with th.no_grad():
            distribution = self._evaluate_rollout_rows(rows).distribution
        advantages = self._advantage_scale().as_used(th.as_tensor(buffer.take_rows(buffer.advantages, rows))).numpy()
        actions = raw_policy_actions(self.policy, buffer.take_rows(buffer.actions, rows))
        rollout = LabelledRollout(distribution, actions, labels, is_answered, advantages)
        factors = label_factors(self.imitation_weights, rollout)
        buffer.label_weights[rows % buffer.buffer_size, rows // buffer.buffer_size] *= factors.shared * factors.of_rows
        if is_answered.any():
            self.logger.record("feedback/label_weight_mean", float(factors.of_rows[is_answered].mean()) * factors.shared)
        return factors

    def _advantage_scale(self) -> AdvantageScale:
        """The scale of the agent's advantages in this rollout."""
        advantages = self.rollout_buffer.advantages
        std = float(advantages.std(ddof=1)) if advantages.size > 1 else 0.0
        return AdvantageScale(float(advantages.mean()), std, bool(getattr(self, "normalize_advantage", False)))

    def _check_labels(self) -> None:
        """Raise on labels of the rollout that this algorithm can't train on, or pass over them."""

    def _rollout_masks(self, rows: np.ndarray) -> np.ndarray | None:
        """Action masks of rows of the rollout, ``[n, n_choices]``, for an algorithm that has them."""
        return None

    def _policy_rows(
        self, observations: Any, actions: th.Tensor, starts: np.ndarray | None, masks: np.ndarray | None
    ) -> PolicyRows:
        """
        Rows that are not the rollout's own, for this algorithm's policy.

        :param observations: In the policy's scale, ``[K, *obs_shape]`` or a dict of such
        :param actions: In the policy's scale, ``[K, action_dim]``, or ``[K]`` of integers
        :param starts: Whether a row is its episode's first, ``[K]``; None if the rows have no order
        :param masks: Action masks, ``[K, n_choices]``, or None
        :return: The rows
        """
        return PolicyRows(self.policy, observations, actions)

    def _evaluate_rollout_rows(self, rows: np.ndarray) -> Evaluation:
        """What the policy says of rows of the rollout, before the buffer hands any out."""
        buffer = self.rollout_buffer
        observations: Any = obs_as_tensor(buffer.take_rows(buffer.observations, rows), self.device)
        actions = raw_policy_actions(self.policy, buffer.take_rows(buffer.actions, rows))
        return PolicyRows(self.policy, observations, actions, self._rollout_masks(rows)).evaluate_all()

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask the expert; what it raises becomes a FeedbackError, or is counted and passed over."""
        try:
            return question()
        except Exception as error:  # whatever a user's expert raises
            message = str(error) if isinstance(error, FeedbackError) else f"it raised {type(error).__name__}: {error}"
            may_be_of_one_row = isinstance(error, ActionShapeError) or not isinstance(error, FeedbackError)
            if may_be_of_one_row and isinstance(self.expert, CallableExpert) and self.expert.batched:
                message += " (It got observations [n, ...]; CallableExpert(f, batched=False) gives it one at a time.)"
            if self.on_error == "raise":
                raise FeedbackError(f"expert {type(self.expert).__name__}, step {self.num_timesteps}: {message}") from error
            self._statistics.skipped += 1
            return None

    def _expert_observations(self, rows: np.ndarray) -> Observations:
        assert self.env is not None
        buffer = self.rollout_buffer
        raw = buffer.raw_observations
        observations = buffer.take_rows(buffer.observations if raw is None else raw, rows)
        return as_environment_gave_them(self.env, observations, before_statistics=raw is not None)  # type: ignore[no-any-return]

    def _expert_distribution(self) -> Distribution:
        assert self.expert is not None
        rows = self.rollout_buffer.row_indices()
        distribution = self.expert.distribution(self._expert_observations(rows))
        if distribution is None:
            raise FeedbackError("imitation='kl' needs its distribution, and it has none. Use imitation='nll'.")
        self.num_expert_queries += len(rows)
        masks = self._rollout_masks(rows)
        return distribution if masks is None else masked(distribution, masks)

    def _label_rollout(self) -> None:
        """Fill the rollout's rows that have no label with the expert's, in one call."""
        assert self.expert is not None
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) == NO_LABEL]
        if not len(rows):
            return
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size

        def row_name(row: int) -> str:
            return f"the action for environment {envs[row]}, rollout step {steps[row]},"

        observations, masks = self._expert_observations(rows), self._rollout_masks(rows)
        answer = self.expert.act(observations) if masks is None else self.expert.act_within(observations, masks)
        actions = check_actions(answer, self.action_space, len(rows), row_name=row_name)
        if masks is not None:
            check_allowed(actions, masks, self.action_space, row_name=row_name)
        buffer.label_actions[steps, envs] = actions
        buffer.label_kinds[steps, envs] = SAMPLE if self.expert.label == "sample" else MODE
        buffer.label_weights[steps, envs] = 1.0
        self.num_expert_queries += len(rows)

    def _demonstration_rows(self, factor: float) -> DemonstrationRows | None:
        if self.demonstrations is None:
            return None
        assert self.env is not None
        demonstrations = self.demonstrations
        n_rows = min(len(demonstrations), len(self.rollout_buffer.row_indices()))
        chosen = self._feedback_rng.choice(len(demonstrations), n_rows, replace=False)
        observations = demonstrations.observations
        picked = {k: v[chosen] for k, v in observations.items()} if isinstance(observations, dict) else observations[chosen]
        tensor = observations_as_rows(self.policy, to_policy_observations(self.env, picked))
        actions = check_actions(demonstrations.actions[chosen], self.action_space, n_rows, "demonstrations")
        masks = demonstrations.action_masks
        masks = None if masks is None else masks[chosen]
        assert demonstrations.weights is not None
        return DemonstrationRows(
            rows=self._policy_rows(tensor, to_policy_actions(self.policy, actions), None, masks),
            weights=factor * th.as_tensor(demonstrations.weights[chosen], dtype=th.float32, device=self.device),
            is_mode=demonstrations.label == "mode",
        )
