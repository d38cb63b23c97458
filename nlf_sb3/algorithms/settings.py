"""Checks of the arguments that feedback adds to an algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nlf_sb3.action_names import ActionNames
from nlf_sb3.config import as_imitation, as_injection
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.schedules import TrainingPhases, as_schedule
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.teachers.experts import Expert
from nlf_sb3.vec_envs import check_demonstrations_pass, check_expert_observes
from nlf_sb3.whole_numbers import check_whole_number


class Settings:
    """
    Checks a model's arguments, and makes objects of strings that stand for them.

    :param model: The algorithm's model
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._checked: Demonstrations | None = None

    def check(self) -> None:
        """
        :raises ValueError: If an argument is out of its range
        :raises FeedbackError: If an expert or demonstrations don't go with the environment
        """
        model = self._model
        # SB3's load and its users set attributes, which may be strings that stand for objects.
        model.imitation, model.injection = as_imitation(model.imitation), as_injection(model.injection)
        if model.on_error not in ("raise", "skip"):
            raise ValueError(f"on_error: got {model.on_error!r}, expected 'raise' or 'skip'.")
        as_schedule(model.alpha)
        if not isinstance(model.auxiliary_losses, Sequence) or not all(map(callable, model.auxiliary_losses)):
            raise ValueError(
                f"auxiliary_losses: got {model.auxiliary_losses!r}, expected a list of losses such as "
                "[nlf_sb3.text.TextPrediction()]."
            )
        if model.interpreter is not None:
            _check_interpreter(model.interpreter, model.action_space)
        if model.max_expert_queries is not None:
            check_whole_number("max_expert_queries", model.max_expert_queries, 0)
        if not isinstance(model.phases, TrainingPhases | None):
            raise ValueError(f"phases: got {model.phases!r}, expected None or nlf_sb3.TrainingPhases(n_steps, batch_size).")
        self._check_expert()
        self._check_demonstrations()

    def check_before_learning(self) -> None:
        """
        :raises FeedbackError: If the expert or demonstrations can't teach in this environment
        """
        model = self._model
        if model.imitation.loss == "kl" and model.expert is None:
            raise FeedbackError(
                "imitation='kl' needs expert=, an expert with a distribution. Pass one, or use imitation='nll'."
            )
        if model.env is None:
            return
        if model.expert is not None:
            check_expert_observes(model.env)
        if model.demonstrations is not None and model.alpha != 1.0:
            check_demonstrations_pass(model.env)

    def _check_expert(self) -> None:
        model = self._model
        if model.expert is None:
            return
        model.expert = as_expert(model.expert)
        if model.env is not None:
            model.expert.check_spaces(innermost(model.env).observation_space, model.action_space)
        if model.imitation.loss == "kl" and _has_no_distribution(model.expert):
            raise FeedbackError(
                f"imitation='kl' needs an expert with a distribution, and {type(model.expert).__name__} has none "
                "(or acts with its mode). Use a stochastic expert, or imitation='nll'."
            )

    def _check_demonstrations(self) -> None:
        model = self._model
        if not isinstance(model.demonstrations, Demonstrations | None):
            raise FeedbackError(
                f"demonstrations: got {type(model.demonstrations).__name__}, expected Demonstrations. For a file, use "
                "Demonstrations.load(path); for arrays, Demonstrations(observations, actions)."
            )
        if model.demonstrations is None or model.demonstrations is self._checked or model.env is None:
            return
        inner = innermost(model.env)  # wrappers of the vectorised environment change the policy's observations
        model.demonstrations = self._checked = model.demonstrations.checked(inner.observation_space, inner.action_space)


def _check_interpreter(interpreter: Any, space: Any) -> None:
    if not hasattr(interpreter, "interpret") or not isinstance(getattr(interpreter, "names", None), ActionNames):
        raise ValueError(
            f"interpreter: got {interpreter!r}, expected one of nlf_sb3.text, such as RuleInterpreter(env.action_space)."
        )
    if interpreter.names.space != space:
        raise ValueError(
            f"interpreter: it reads remarks about actions of {interpreter.names.space}, and the environment's are of {space}. "
            "Make it with the environment's own action_space."
        )


def _has_no_distribution(expert: Expert) -> bool:
    return expert.label == "mode" or type(expert).distribution is Expert.distribution
