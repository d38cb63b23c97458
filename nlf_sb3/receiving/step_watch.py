"""Compare each step with the marks of this package's wrappers, while the original collects a rollout."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3.adapters.base import Adapter
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Feedback
from nlf_sb3.receiving.step_check import StepCheck, TakenStep
from nlf_sb3.receiving.wrapper_order import check_wrapper_order, other_actions


class StepWatch:
    """
    Refuses wrappers that turn an expert's actions, episodes or steps into others, as early as that shows.

    :param adapter: Of the model's algorithm
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._model: Any = adapter.model
        self._check: StepCheck | None = None
        self._callback: BaseCallback | None = None
        self._acted: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
        """The policy's actions since the last step, each beside a copy of it."""
        self._other_actions: str | None = None

    def check_wrappers(self) -> None:
        """
        :raises FeedbackError: If a wrapper's type or space shows that it is in the wrong place
        """
        model = self._model
        if model.env is not None:
            check_wrapper_order(
                model.env,
                is_told_actions=model.expert is not None or model.demonstrations is not None,
                pays_segments=model.injection.segments == "inject",
            )

    def begin(self, *, is_fresh: bool) -> None:
        """
        :param is_fresh: Whether the environments have just been reset
        """
        model = self._model
        self._other_actions = other_actions(model.env)
        self._check = StepCheck(
            model.env,
            self._adapter.as_executed,
            is_fresh=is_fresh,
            observations=model._last_obs,
            reads_text=model.interpreter is not None or len(model.auxiliary_losses) > 0,
            pays_segments=model.injection.segments == "inject",
        )

    @contextlib.contextmanager
    def watching(self, callback: BaseCallback) -> Iterator[None]:
        """
        Around a rollout.

        :param callback: SB3 gives it the variables of each step
        """
        self._callback, self._acted = callback, ()
        with self._keeping_actions():
            try:
                yield
            finally:
                self._callback = None

    def check(self, infos: list[dict[str, Any]]) -> None:
        """
        :param infos: Of the step just taken
        :raises FeedbackError: If a wrapper made another step of it. ``on_error="skip"`` can't help: every step is so.
        """
        step = self._step_of(infos)
        self._acted = ()
        if step is not None and self._check is not None:
            try:
                self._check(step)
            except FeedbackError as error:
                raise FeedbackError(f"step {self._model.num_timesteps}: {error}") from None

    @property
    def action_masks(self) -> np.ndarray | None:
        """Action masks of the step just taken, ``[n_envs, n_choices]``; None without masks."""
        return None if self._callback is None else self._callback.locals.get("action_masks")

    def check_label_space(self) -> None:
        """
        :raises FeedbackError: If labels that come with infos are of another space than the learner's actions
        """
        if self._other_actions is not None:
            raise FeedbackError(f"labels act in {self._other_actions}")

    def in_own_steps(self, env: int, feedback: Any) -> Any:
        """
        :param env: Index of an environment
        :param feedback: Its feedback
        :return: The same, with a ``steps_ago`` that counts the learner's steps: a wrapper's reset may have taken others
        """
        if self._check is None or not isinstance(feedback, Feedback) or not feedback.steps_ago:
            return feedback
        steps_ago = self._check.steps_ago(env, feedback.steps_ago)
        return feedback if steps_ago == feedback.steps_ago else replace(feedback, steps_ago=steps_ago)

    @contextlib.contextmanager
    def _keeping_actions(self) -> Iterator[None]:
        """
        While active, keep a copy of the policy's actions, if environments get the very arrays that the policy made.

        Callbacks, experts and environments may ask the policy too.
        """
        if not isinstance(self._model.action_space, (spaces.MultiDiscrete, spaces.MultiBinary)):
            yield
            return

        def keep(policy: Any, inputs: Any, outputs: Any) -> None:
            made = outputs[0].detach().cpu().numpy()
            self._acted += ((made, made.copy()),)

        hook = self._model.policy.register_forward_hook(keep)
        try:
            yield
        finally:
            hook.remove()

    def _step_of(self, infos: list[dict[str, Any]]) -> TakenStep | None:
        """The step that brought these infos, by the variables that SB3 gives to callbacks."""
        seen = {} if self._callback is None else self._callback.locals
        if seen.get("infos") is not infos:
            return None
        return TakenStep(self._as_acted(seen["actions"]), seen["rewards"], seen["dones"], infos, seen["new_obs"])

    def _as_acted(self, actions: np.ndarray) -> np.ndarray:
        """The actions of this step before an environment may have changed them in place."""
        kept = self._acted  # a GPU's actions share no memory with their copies: the first are those that acted
        if self._model.device.type == "cpu":
            kept = tuple(one for one in self._acted if np.may_share_memory(one[0], actions))
        return kept[0][1].reshape(actions.shape) if kept else actions
