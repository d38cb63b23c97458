"""The environments' wrappers of this package, and the feedback that they promise."""

from __future__ import annotations

from typing import Any

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import ask_wrappers
from nlf_sb3.objectives.interventions import Interventions
from nlf_sb3.shifted_spaces import check_counts_from_zero
from nlf_sb3.vec_envs import check_vec_wrappers
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection


class ExpertPresence:
    """
    Knows where labels and an expert's steps are to be expected.

    :param adapter: Of the model's algorithm
    :param interventions: Trains on the steps that an expert takes in the agent's environment
    """

    def __init__(self, adapter: Adapter, interventions: Interventions) -> None:
        self._adapter = adapter
        self._model: Any = adapter.model
        self._interventions = interventions

    def injection_modes(self) -> set[str]:
        """
        :return: The modes of the environments' TrajectoryInjection, if they have any
        """
        return set(ask_wrappers(self._model.env, TrajectoryInjection, "nlf_sb3_injection_mode").values())

    def promises_labels(self) -> bool:
        """
        :return: Whether an expert is among the teachers of a FeedbackWrapper
        """
        env = self._model.env
        return env is not None and any(ask_wrappers(env, FeedbackWrapper, "nlf_sb3_labels_actions").values())

    def check_spaces(self) -> None:
        """
        :raises FeedbackError: If feedback will name choices in a space that the policy counts from another number
        """
        for name in ("action_space", "observation_space"):
            try:
                check_counts_from_zero(getattr(self._model, name), name)
            except FeedbackError:
                if self._means_choices():
                    raise

    def prepare(self) -> None:
        """
        Make the rollout buffer ready for an expert's steps.

        :raises FeedbackError: If the arguments don't go with the environments' injection
        """
        model = self._model
        modes = self.injection_modes()
        if "fork" in modes:
            check_vec_wrappers(model.env)
            model.rollout_buffer.keep_episode_actions()
        here = sorted(modes - {"fork"})
        if not here:
            return
        self._interventions.check_settings(here[0])
        if "fork" not in modes and not model.injection.count_prefix:
            raise FeedbackError(
                f"injection.count_prefix: got {model.injection.count_prefix!r}, which leaves out a forked episode's copy of "
                f"the agent's steps. With mode={here[0]!r} there is no copy. Leave count_prefix at its default."
            )
        self._adapter.warn_of_interventions(modes)

    def _means_choices(self) -> bool:
        """Whether feedback is promised that names actions of the environment, or observations."""
        model = self._model
        if any(given is not None for given in (model.expert, model.demonstrations, model.interpreter)):
            return True
        return self.promises_labels() or (model.env is not None and bool(self.injection_modes()))
