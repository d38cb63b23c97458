"""Have an SB3-style learner evaluated between two of its steps, and stop it at the end of its budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from stable_baselines3.common.callbacks import BaseCallback

from nlf_sb3.experiments.compare.evaluation import Predict
from nlf_sb3.teachers import PolicyExpert

if TYPE_CHECKING:
    from nlf_sb3.experiments.compare.recorder import Recorder


class Watch(BaseCallback):
    """
    Asks the recorder at each step whether an evaluation is due, and has one made at the end.

    :param recorder: Makes the evaluations
    :param agent_steps: Steps that the agent took before this learner began
    :param expert_steps: Steps that an expert took before
    :param expert_labels: Labels that an expert gave before
    :param gradient_steps: Optimiser steps before
    """

    def __init__(
        self, recorder: Recorder, agent_steps: int, expert_steps: int, expert_labels: int, gradient_steps: int
    ) -> None:
        super().__init__()
        self._recorder = recorder
        self._before = (agent_steps, expert_steps, expert_labels)
        self._gradient_steps = gradient_steps
        self._returns: list[float] = []

    def _on_training_start(self) -> None:
        self._hook = self.model.policy.optimizer.register_step_post_hook(self._count_gradient_step)

    def _count_gradient_step(self, *_: Any) -> None:
        self._gradient_steps += 1

    def _on_step(self) -> bool:
        steps = self._before[0] + self.num_timesteps
        if steps > self._recorder.timesteps:
            return False  # this step is thrown away: the budget is spent, and no update takes it in
        self._returns += [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
        if self._recorder.is_due(steps):
            self._evaluate()
        return not self._recorder.reached

    def _on_training_end(self) -> None:
        self._hook.remove()
        if not self._recorder.reached:
            self._evaluate()

    def _evaluate(self) -> None:
        model: Any = self.model
        was_training = model.policy.training
        agent_steps, expert_steps, expert_labels = self._before
        self._recorder.evaluate(
            _predict_of(model),
            agent_steps=min(agent_steps + model.num_timesteps, self._recorder.timesteps),
            expert_steps=expert_steps + getattr(model, "num_expert_steps", 0),
            expert_labels=expert_labels + getattr(model, "num_expert_queries", 0),
            gradient_steps=self._gradient_steps,
            train_return=sum(self._returns) / len(self._returns) if self._returns else math.nan,
        )
        self._returns.clear()
        model.policy.set_training_mode(was_training)


def _predict_of(model: Any) -> Predict:
    """The learner's own ``predict`` for raw observations, on its VecNormalize statistics; through NumPy where that can be."""
    if not model.use_sde:
        actor = PolicyExpert(model, deterministic=True)
        return lambda observations, deterministic: (actor.act(observations), None)
    # An expert draws gSDE's exploration anew at each answer, and the learner's rollout needs its own.
    statistics = model.get_vec_normalize_env()
    normalised = (lambda observations: observations) if statistics is None else statistics.normalize_obs
    return lambda observations, deterministic: model.policy.predict(normalised(observations), deterministic=deterministic)
