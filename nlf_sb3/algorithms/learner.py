"""One update from feedback, from top to bottom, and the parts that it is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.algorithms.phases import PhaseControl
from nlf_sb3.algorithms.progress import ProgressTeller
from nlf_sb3.algorithms.schedule import AlphaControl
from nlf_sb3.algorithms.settings import Settings
from nlf_sb3.buffers.labels import keep_feedback
from nlf_sb3.labelling.pipeline import LabellingPipeline
from nlf_sb3.objectives.injection import InjectedUpdate
from nlf_sb3.objectives.interventions import Interventions
from nlf_sb3.objectives.policy_check import check_policy
from nlf_sb3.objectives.terms import RolloutTerms
from nlf_sb3.receiving.late_labels import LateLabels
from nlf_sb3.receiving.presence import ExpertPresence
from nlf_sb3.receiving.receiver import Receiver
from nlf_sb3.receiving.statistics import FeedbackStatistics
from nlf_sb3.receiving.step_watch import StepWatch
from nlf_sb3.seeding import derived_generator, derived_seed


class FeedbackLearner:
    """
    Learns from feedback beside an algorithm of SB3.

    :param model: The algorithm's model
    :param adapter: Of its family
    """

    def __init__(self, model: Any, adapter: Adapter) -> None:
        self._model = model
        self.adapter = adapter
        self.statistics = FeedbackStatistics()
        self.schedule = AlphaControl(model)
        self.phases = PhaseControl(model, self.schedule)
        self.interventions = Interventions(adapter)
        self.injection = InjectedUpdate(adapter)
        self.labelling = LabellingPipeline(adapter, self.statistics)
        self.presence = ExpertPresence(adapter, self.interventions)
        self.steps = StepWatch(adapter)
        late = LateLabels(adapter, self.labelling.replay)
        self.receiver = Receiver(adapter, self.statistics, self.schedule.add_return, self.steps, self.presence, late)
        self._settings = Settings(model)
        self._progress = ProgressTeller(model)
        self._rng = np.random.default_rng()

    # --- before training --------------------------------------------------------------------------------

    def check_settings(self) -> None:
        """
        :raises ValueError: If arguments don't go together
        :raises FeedbackError: If an expert, demonstrations or a wrapper don't go with the environment
        """
        self._settings.check()
        self.adapter.check_settings()
        self.steps.check_wrappers()
        self.presence.check_spaces()

    def set_up(self) -> None:
        """Make the model's fresh rollout buffer keep feedback."""
        keep_feedback(self._model.rollout_buffer)
        self.adapter.prepare_buffer()
        self.phases.check_buffer()
        check_policy(self._model)

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Of the model
        """
        self._rng = derived_generator(seed, "feedback")
        if self._model.expert is not None and seed is not None:
            self._model.expert.seed(derived_seed(seed, "expert"))

    @contextlib.contextmanager
    def beginning(self, total_timesteps: int, reset_num_timesteps: bool) -> Iterator[None]:
        """
        Around the original's ``_setup_learn``.

        :param total_timesteps: As in ``learn``
        :param reset_num_timesteps: As in ``learn``
        """
        model = self._model
        self.check_settings()
        self._settings.check_before_learning()
        if model.expert is not None:
            self.adapter.check_action_scale()
        self._progress.begin(total_timesteps, reset_num_timesteps)
        before = model._last_obs
        is_reset = reset_num_timesteps or before is None
        yield
        if model.num_timesteps == 0:
            self.statistics.begin()
            self.schedule.begin()
        self.labelling.begin(is_new=model.num_timesteps == 0)
        self.schedule.forget_returns()
        self.steps.begin(is_fresh=model._last_obs is not before)
        self.presence.prepare()
        self.receiver.begin(is_reset=is_reset)
        check_policy(model, model._last_obs)  # an expert or a wrapped environment may have come since the model was made
        if model.num_timesteps == 0:
            self.phases.begin()

    # --- rollouts ------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def collecting(self, callback: BaseCallback) -> Iterator[None]:
        """
        Around the original's ``collect_rollouts``.

        :param callback: Of the training
        """
        self._progress.tell(self._model.num_timesteps, self._model._total_timesteps)
        with self.steps.watching(callback):
            yield

    def end_stopped_rollout(self, step: dict[str, Any]) -> None:
        """
        Go on from the environments' present state after a callback stopped a rollout, if there is feedback.

        The original goes on from the observation before, which no teacher, and no expert who acts, has before them.

        :param step: Local variables of the original's ``collect_rollouts``
        """
        if self.receiver.is_taught:
            self.adapter.catch_up(step)
            self.receiver.keep_raw_observations()

    # --- an update -----------------------------------------------------------------------------------------

    def update(self) -> Generator[None, None, None]:
        """
        One update. It yields where the original's ``train`` runs: once, or never if the policy was restored.
        """
        alpha = self.schedule.next()
        if self.schedule.restore_if_failed():
            self.receiver.log(alpha)
        else:
            yield from self._learn(alpha)
        self.phases.next(alpha)

    def _learn(self, alpha: float) -> Generator[None, None, None]:
        model = self._model
        weights = self.interventions.settle()
        is_settled = weights is not None and model.injection.weighting != "plain"
        imitation = self.labelling.term(alpha, self._rng, is_settled=is_settled)
        if imitation is not None:
            self.schedule.snapshot_policy()
        injected = self.injection.rows()
        self.receiver.warn_of_unused_feedback()
        is_taught = model.expert is not None or model.demonstrations is not None or imitation is not None
        self.receiver.log(alpha if is_taught else None)

        n_rows = len(model.rollout_buffer.row_indices())
        policy_weight = 1.0 if imitation is None else alpha
        injection = None if injected is None else self.injection.term(injected, n_rows, self._rng)
        joint = None if model.injection.separate_step else injection
        terms = RolloutTerms(n_rows, policy_weight, imitation, injected, joint, weights, model.auxiliary_losses)
        with self.adapter.attached(terms) if terms else contextlib.nullcontext():  # without terms: untouched SB3
            yield
        if injection is not None and joint is None:
            self.injection.separate_step(injection, policy_weight, n_rows)

    # --- saving --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """
        :return: The state of all parts, as plain data
        """
        return {
            "statistics": self.statistics.state_dict(),
            "schedule": self.schedule.state_dict(),
            "phases": self.phases.state_dict(),
            "interventions": self.interventions.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """
        :param state: As :meth:`state_dict` returned it
        """
        self.statistics.load_state_dict(state["statistics"])
        self.schedule.load_state_dict(state["schedule"])
        self.phases.load_state_dict(state["phases"])
        self.interventions.load_state_dict(state["interventions"])
