"""Make one imitation term of a rollout's labels, the expert's answers and demonstrations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution

from nlf_sb3.algorithms.advantages import AdvantageScale
from nlf_sb3.algorithms.imitation import ImitationTerm, raw_policy_actions, to_policy_actions
from nlf_sb3.algorithms.injected_episodes import experts_steps
from nlf_sb3.algorithms.interpreting import ReadsRemarks
from nlf_sb3.algorithms.label_memory import LabelMemory, ShownRows, with_equal_masks
from nlf_sb3.algorithms.rows import DemonstrationRows, Evaluation, PolicyRows, observations_as_rows
from nlf_sb3.algorithms.vec_envs import to_policy_observations
from nlf_sb3.buffers.labels import MODE, NO_LABEL
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.label_weights import LabelFactors, LabelledRollout, label_factors
from nlf_sb3.observations import as_arrays, draw_rows, index_observations, join_observations, observations_on
from nlf_sb3.validation import check_actions


class LabelsRollouts(ReadsRemarks):
    """Turns a rollout's labels, words, the expert's answers and demonstrations into one imitation term."""

    closed_form_imitation: bool = True
    """Whether the imitation loss of plain Gaussian and categorical policies has its gradient from
    :mod:`nlf_sb3.closed_forms`; False takes autograd, with the same numbers up to rounding. TRPO has labels in its batch
    instead."""
    _advantages_are_normalised = False
    """Whether the buffer's advantages are what the policy loss takes, in every rollout."""

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        result = super()._setup_learn(*args, **kwargs)
        if self.num_timesteps == 0 or not hasattr(self, "_memory"):
            self._memory = LabelMemory(0 if self.imitation.replay is None else self.imitation.replay.capacity)
        return result

    def _check_settings(self) -> None:
        if not isinstance(self.demonstrations, (Demonstrations, type(None))):
            raise FeedbackError(
                f"demonstrations: got {type(self.demonstrations).__name__}, expected Demonstrations. For a file, use "
                "Demonstrations.load(path); for arrays, Demonstrations(observations, actions)."
            )
        super()._check_settings()

    def _imitation_term(self, alpha: float, is_settled: bool = False) -> ImitationTerm | None:
        """Ask the expert for labels; the term of all labelled rows, or None if nothing is imitated."""
        distribution = asked = None
        self._check_labels()
        if alpha == 1.0:
            return None  # labels that came by themselves are counted; nobody is asked for more
        self._read_remarks()
        if self.expert is not None and self._queries_left() > 0:
            if self.imitation.loss == "kl":
                distribution, asked = self._expert_distribution() or (None, None)
            else:
                self._label_rollout()
        remembered = self._remembered()
        imitated = self._imitated_segments()
        shows = remembered is not None or self.demonstrations is not None or imitated is not None
        factors = self._label_factors(distribution, asked, shows, is_settled or self._advantages_are_normalised)
        if factors is None:
            self._remember()
        if imitated is not None and self.imitation.replay is not None:
            self._memory.add(imitated)
        term = ImitationTerm(
            self.policy,
            self.rollout_buffer,
            expert_distribution=distribution,
            expert_rows=asked,
            factors=None if factors is None else factors.shared * factors.of_rows,
            demonstrations=self._shown_rows([remembered, imitated], 1.0 if factors is None else factors.shared),
            mode_trains_std=self.imitation.mode_trains_std,
            closed_form=self.closed_form_imitation,
            rng=self._feedback_rng,
        )
        return term if term.n_labelled else None

    def _label_factors(
        self, expert_distribution: Distribution | None, asked: np.ndarray | None, shows: bool, is_settled: bool
    ) -> LabelFactors | None:
        """
        Weigh the rollout's labels by the rules of ``imitation``. Returns the factors, or None without labels or rules.

        :param expert_distribution: The expert's distribution on some rows, in their order, if it was asked for one
        :param asked: Flat indices of these rows, ``[n]``
        :param shows: Whether rows that the rollout doesn't hold are imitated too
        :param is_settled: Whether the buffer's advantages are already what the policy loss takes
        """
        if not self.imitation.weights:
            return None
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        is_labelled = buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL
        is_asked = np.zeros_like(is_labelled) if asked is None else np.isin(rows, asked)
        is_answered = is_labelled | is_asked
        if not is_answered.any() and not shows:
            return None
        labels = to_policy_actions(self.policy, buffer.take_rows(buffer.label_actions, rows))
        if expert_distribution is not None:
            modes = labels.clone()
            answers = expert_distribution.mode().to(self.device)
            modes[is_asked] = answers.reshape(len(answers), *labels.shape[1:]).to(labels.dtype)
            own = th.as_tensor(is_labelled, device=self.device)
            labels = th.where(own.reshape(-1, *[1] * (labels.dim() - 1)), labels, modes)
        self.policy.set_training_mode(False)
        with th.no_grad():
            distribution = self._evaluate_rollout_rows(rows).distribution
        advantages = buffer.take_rows(buffer.advantages, rows)
        if not is_settled:
            advantages = self._advantage_scale().as_used(th.as_tensor(advantages)).numpy()
        actions = raw_policy_actions(self.policy, buffer.take_rows(buffer.actions, rows))
        rollout = LabelledRollout(distribution, actions, labels, is_answered, advantages)
        factors = label_factors(self.imitation.weights, rollout)
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size
        buffer.label_weights[steps, envs] *= factors.of_rows
        self._remember()  # what rules say of all rows they will say anew of remembered ones
        buffer.label_weights[steps, envs] *= factors.shared
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
        observations: Any = observations_on(buffer.take_rows(buffer.observations, rows), self.device)
        actions = raw_policy_actions(self.policy, buffer.take_rows(buffer.actions, rows))
        return PolicyRows(self.policy, observations, actions, self._rollout_masks(rows)).evaluate_all()

    def _shown_rows(self, others: list[ShownRows | None], factor: float) -> DemonstrationRows | None:
        """Demonstrations and other rows, as rows of this rollout's imitation, their weights times a factor."""
        shown = with_equal_masks([rows for rows in (self._demonstrations(), *others) if rows is not None])
        if not shown:
            return None
        observations: Any = join_observations([observations_on(rows.observations, self.device) for rows in shown])
        actions = th.cat([to_policy_actions(self.policy, rows.actions) for rows in shown])
        masks = [rows.action_masks for rows in shown if rows.action_masks is not None]
        weights = np.concatenate([rows.weights for rows in shown])
        return DemonstrationRows(
            rows=self._policy_rows(observations, actions, None, np.concatenate(masks) if masks else None),
            weights=factor * th.as_tensor(weights, dtype=th.float32, device=self.device),
            is_mode=np.concatenate([rows.is_mode for rows in shown]),
        )

    def _demonstrations(self) -> ShownRows | None:
        """At most as many demonstrations as the rollout has rows."""
        if self.demonstrations is None:
            return None
        assert self.env is not None
        demonstrations = self.demonstrations
        n_rows = min(len(demonstrations), len(self.rollout_buffer.row_indices()))
        chosen = draw_rows(demonstrations.observations, len(demonstrations), n_rows, self._feedback_rng)
        picked = index_observations(demonstrations.observations, chosen)
        masks = demonstrations.action_masks
        assert demonstrations.weights is not None
        return ShownRows(
            as_arrays(observations_as_rows(self.policy, to_policy_observations(self.env, picked))),
            check_actions(demonstrations.actions[chosen], self.action_space, n_rows, "demonstrations"),
            demonstrations.weights[chosen],
            np.full(n_rows, demonstrations.label == "mode"),
            None if masks is None else masks[chosen],
        )

    def _imitated_segments(self) -> ShownRows | None:
        """The expert's own steps in the rollout's episodes of its, if they are to be imitated."""
        segments = [segment for segment, _ in self.rollout_buffer.segments if segment.fork_step < len(segment)]
        if self.injection.segments != "imitate" or not segments:
            return None
        assert self.env is not None
        return experts_steps(self.policy, self.env, segments)

    def _remembered(self) -> ShownRows | None:
        """Labels of earlier rollouts, drawn for this one; None if there are none."""
        replay = self.imitation.replay
        if replay is None:
            return None
        return self._memory.draw(round(replay.per_step * len(self.rollout_buffer.row_indices())), self._feedback_rng)

    def _remember(self) -> None:
        """Keep this rollout's labels for later rollouts."""
        if self.imitation.replay is None:
            return
        buffer, rows = self.rollout_buffer, self.rollout_buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL]
        rows = rows[buffer.take_rows(buffer.label_weights, rows) >= 0]  # what was blamed is left for now, not for good
        if len(rows):
            self._memory.add(
                ShownRows(
                    buffer.take_rows(buffer.observations, rows),
                    buffer.take_rows(buffer.label_actions, rows),
                    buffer.take_rows(buffer.label_weights, rows),
                    buffer.take_rows(buffer.label_kinds, rows) == MODE,
                    self._rollout_masks(rows),
                )
            )
