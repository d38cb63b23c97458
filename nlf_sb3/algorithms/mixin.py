"""The overrides that feedback needs of an algorithm of Stable-Baselines3."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.algorithms.learner import FeedbackLearner
from nlf_sb3.algorithms.saving import STATE_KEY, plain_state, restore
from nlf_sb3.config import Imitation, Injection, as_imitation, as_injection
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.fast_dummy_vec_env import make_fast
from nlf_sb3.objectives.auxiliary import AuxiliaryLoss
from nlf_sb3.schedules import AlphaSchedule, TrainingPhases, own_copy
from nlf_sb3.teachers.experts import Expert
from nlf_sb3.text.corrections import Interpreter
from nlf_sb3.token_policies import check_has_no_texts

SelfFeedbackMixin = TypeVar("SelfFeedbackMixin", bound="FeedbackMixin")

ARGUMENTS = (
    "alpha",
    "expert",
    "demonstrations",
    "interpreter",
    "auxiliary_losses",
    "max_expert_queries",
    "on_error",
    "log_gradients",
    "imitation",
    "injection",
    "phases",
)
"""The arguments that feedback adds to an algorithm."""


class FeedbackMixin:
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

    adapter_class: type[Adapter] = Adapter
    """The properties of this algorithm that the parts need."""
    closed_form_imitation: bool = True
    """Whether the imitation loss of plain Gaussian and categorical policies has its gradient from
    :mod:`nlf_sb3.closed_forms`. False takes autograd, with the same numbers up to rounding. TRPO has labels in its batch
    instead."""

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        alpha: float | AlphaSchedule = 0.5,
        expert: Any = None,
        demonstrations: Demonstrations | None = None,
        interpreter: Interpreter | None = None,
        auxiliary_losses: Sequence[AuxiliaryLoss] = (),
        max_expert_queries: int | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        log_gradients: bool = False,
        imitation: Literal["nll", "kl"] | Imitation = "nll",
        injection: Literal["bounded", "plain", "separate"] | Injection = "bounded",
        phases: TrainingPhases | None = None,
        **kwargs: Any,
    ) -> None:
        self.alpha = own_copy(alpha)
        self.expert: Expert | None = expert
        self.demonstrations = demonstrations
        self.interpreter = interpreter
        self.auxiliary_losses = auxiliary_losses
        self.max_expert_queries = max_expert_queries
        self.on_error = on_error
        self.log_gradients = log_gradients
        self.imitation = copy.deepcopy(as_imitation(imitation))
        self.injection = as_injection(injection)
        self.phases = phases
        super().__init__(policy, env, *args, **kwargs)  # type: ignore[call-arg]

    @property
    def num_expert_queries(self) -> int:
        """Number of labels that this training has had, those of wrappers included."""
        return self.feedback.statistics.expert_queries

    @property
    def num_expert_steps(self) -> int:
        """Number of steps that an expert took in this training: of forks from the fork on, and in the agent's place."""
        return self.feedback.statistics.expert_steps

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As in SB3. A single environment goes into a :class:`~nlf_sb3.FastDummyVecEnv`."""
        check_has_no_texts(env)
        vec_env = BaseAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        if not isinstance(env, VecEnv):
            make_fast(vec_env)
        return vec_env

    def _setup_model(self) -> None:
        self.imitation, self.injection = as_imitation(self.imitation), as_injection(self.injection)
        self.feedback = FeedbackLearner(self, self.adapter_class(self))
        self.feedback.check_settings()
        super()._setup_model()  # type: ignore[misc]
        self.feedback.set_up()

    def set_random_seed(self, seed: int | None = None) -> None:
        """
        As in SB3. The generators of feedback and of ``expert`` are seeded too.

        :param seed: As in SB3
        """
        super().set_random_seed(seed)  # type: ignore[misc]
        self.feedback.seed(seed)

    def _setup_learn(
        self, total_timesteps: int, callback: Any = None, reset_num_timesteps: bool = True, *args: Any, **kwargs: Any
    ) -> Any:
        with self.feedback.beginning(total_timesteps, reset_num_timesteps):
            return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, *args, **kwargs)  # type: ignore[misc]

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, *args: Any, **kwargs: Any) -> bool:
        """
        As in the original. If a callback stops it, a model with feedback goes on from the environments' present state.

        :param env: As in the original
        :param callback: As in the original
        :return: As in the original
        """
        with self.feedback.collecting(callback):
            goes_on: bool = super().collect_rollouts(env, callback, *args, **kwargs)  # type: ignore[misc]
        if not goes_on:
            self.feedback.end_stopped_rollout(callback.locals)
        return goes_on

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        # SB3 calls it between env.step and rollout_buffer.add, so that the buffer's position is this step's row.
        super()._update_info_buffer(infos, dones)  # type: ignore[misc]
        self.feedback.receiver.receive(infos)

    def train(self) -> None:
        """As in the original, with the terms of the rollout's feedback."""
        with contextlib.closing(self.feedback.update()) as update:  # an error in the original ends it at once
            for _ in update:
                super().train()  # type: ignore[misc]

    def _update_learning_rate(self, optimizers: Any) -> None:
        """As in SB3, with the learning rate of the phase if it has one."""
        own, phase = self.lr_schedule, self.feedback.phases.learning_rate()  # type: ignore[has-type]
        self.lr_schedule = own if phase is None else phase
        super()._update_learning_rate(optimizers)  # type: ignore[misc]
        self.lr_schedule = own

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), *ARGUMENTS, "feedback"]  # type: ignore[misc]

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """
        As in SB3. Experts, interpreters, auxiliary losses, demonstrations and environments stay out. The file also loads in
        SB3's own class.

        :param path: As in SB3
        :param exclude: As in SB3
        :param include: As in SB3
        """
        self.__dict__[STATE_KEY] = plain_state(self)
        try:
            super().save(path, exclude, include)  # type: ignore[misc]
        finally:
            del self.__dict__[STATE_KEY]

    @classmethod
    def load(cls: type[SelfFeedbackMixin], path: Any, env: Any = None, *args: Any, **kwargs: Any) -> SelfFeedbackMixin:
        """
        As in SB3. Models that SB3 saved load too. Pass ``expert=``, ``interpreter=``, ``auxiliary_losses=`` and
        ``demonstrations=`` anew.

        :param path: As in SB3
        :param env: As in SB3
        :param kwargs: As in SB3: they override what was saved
        :return: The model
        """
        model: SelfFeedbackMixin = super().load(path, env, *args, **kwargs)  # type: ignore[misc]
        restore(model, model.__dict__.pop(STATE_KEY, None), given=kwargs)
        return model
