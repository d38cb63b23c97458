"""Refuse environments whose wrappers make others of an expert's actions, episodes or steps, as early as that shows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.algorithms.progress import TellsProgress
from nlf_sb3.algorithms.step_check import StepCheck, TakenStep
from nlf_sb3.algorithms.wrapper_order import check_wrapper_order, other_actions
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import Feedback


class ChecksSteps(TellsProgress):
    """Checks wrappers when the model is made and before it learns, and each step against our wrappers' marks."""

    _step_check: StepCheck | None = None
    _callback_of_rollout: BaseCallback | None = None
    _acted: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    """What the policy put out since the last step, each beside a copy of it."""
    _other_actions: str | None = None

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.env is not None:
            check_wrapper_order(
                self.env,
                is_told_actions=self.expert is not None or self.demonstrations is not None,
                pays_segments=self.expert_segments == "inject",
            )

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        before = self._last_obs
        result = super()._setup_learn(*args, **kwargs)
        assert self.env is not None
        self._other_actions = other_actions(self.env)
        self._step_check = StepCheck(
            self.env,
            self._as_executed,
            is_fresh=self._last_obs is not before,
            observations=self._last_obs,
            reads_text=self.interpreter is not None or len(self.auxiliary_losses) > 0,
            pays_segments=self.expert_segments == "inject",
        )
        return result

    def collect_rollouts(self, env: VecEnv, callback: BaseCallback, *args: Any, **kwargs: Any) -> bool:
        """
        As in the original.

        :param env: As in the original
        :param callback: As in the original
        :return: As in the original
        """
        self._callback_of_rollout, self._acted = callback, ()
        with self._keeping_actions():
            try:
                return super().collect_rollouts(env, callback, *args, **kwargs)
            finally:
                self._callback_of_rollout = None

    @contextlib.contextmanager
    def _keeping_actions(self) -> Iterator[None]:
        """
        While active, keep a copy of the policy's actions, if environments get the very arrays that the policy made.

        Callbacks, experts and environments may ask the policy too.
        """
        if not isinstance(self.action_space, (spaces.MultiDiscrete, spaces.MultiBinary)):
            yield
            return

        def keep(policy: Any, inputs: Any, outputs: Any) -> None:
            made = outputs[0].detach().cpu().numpy()
            self._acted += ((made, made.copy()),)

        hook = self.policy.register_forward_hook(keep)
        try:
            yield
        finally:
            hook.remove()

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        super()._update_info_buffer(infos, dones)
        step = self._step_of(infos)
        self._acted = ()
        if step is not None and self._step_check is not None:
            try:
                self._step_check(step)
            except FeedbackError as error:  # on_error="skip" can't help: every step is of this kind
                raise FeedbackError(f"step {self.num_timesteps}: {error}") from None

    def _step_of(self, infos: list[dict[str, Any]]) -> TakenStep | None:
        """The step that brought these infos, by the variables that SB3 gives to callbacks."""
        seen = {} if self._callback_of_rollout is None else self._callback_of_rollout.locals
        if seen.get("infos") is not infos:
            return None
        actions = self._as_acted(seen["actions"])
        return TakenStep(actions, seen["rewards"], seen["dones"], infos, seen["new_obs"])

    def _as_acted(self, actions: np.ndarray) -> np.ndarray:
        """The actions of this step before an environment may have changed them in place."""
        kept = self._acted  # a GPU's actions share no memory with what was kept: the first are those that acted
        if self.device.type == "cpu":
            kept = tuple(one for one in self._acted if np.may_share_memory(one[0], actions))
        return kept[0][1].reshape(actions.shape) if kept else actions

    def _as_executed(self, actions: np.ndarray) -> np.ndarray:
        """Proposed actions, ``[n, action_dim]``, as the environment gets them: rescaled or clipped."""
        space = self.action_space
        if actions.shape[1:] != space.shape:
            actions = actions.reshape(len(actions), *(space.shape or ()))
        if not isinstance(space, spaces.Box):
            return actions
        if self.policy.squash_output:
            return self.policy.unscale_action(actions)
        return np.minimum(np.maximum(actions, space.low), space.high)  # type: ignore[no-any-return]

    def _check_label_space(self) -> None:
        """Raise where labels that come with infos are of another space than the learner's."""
        if self._other_actions is not None:
            raise FeedbackError(f"labels act in {self._other_actions}")

    def _in_own_steps(self, env: int, feedback: Any) -> Any:
        """Feedback whose ``steps_ago`` counts the learner's steps: a wrapper's reset may have taken others."""
        if self._step_check is None or not isinstance(feedback, Feedback) or not feedback.steps_ago:
            return feedback
        steps_ago = self._step_check.steps_ago(env, feedback.steps_ago)
        return feedback if steps_ago == feedback.steps_ago else replace(feedback, steps_ago=steps_ago)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_step_check", "_callback_of_rollout", "_acted", "_other_actions"]
