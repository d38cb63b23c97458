"""The arguments that feedback adds to an algorithm: checked, saved and loaded with the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.action_names import ActionNames
from nlf_sb3.algorithms.auxiliary import AuxiliaryLoss
from nlf_sb3.algorithms.injection_weights import ExpertWeights, expert_weights
from nlf_sb3.config import Imitation, Injection, as_imitation, as_injection
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.fast_dummy_vec_env import make_fast
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.plain_state import from_plain, to_plain
from nlf_sb3.schedules import AlphaSchedule, TrainingPhases, as_schedule, own_copy, schedule_from_state, schedule_to_state
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.teachers.experts import Expert
from nlf_sb3.text.corrections import Interpreter
from nlf_sb3.whole_numbers import check_whole_number

SelfFeedbackSettings = TypeVar("SelfFeedbackSettings", bound="FeedbackSettings")

STATE_KEY = "nlf_sb3"
"""Entry of a saved model that holds what SB3 doesn't know, as plain data."""

_SAVED = ("max_expert_queries", "on_error", "log_gradients")
_AS_PLAIN_STATE = ("imitation", "injection", "phases", "_phase")
"""Dataclasses, which are saved by the values of their fields."""
_PROGRESS = (
    "num_expert_queries",
    "num_expert_steps",
    "_agents_statistics",
    "_n_rollouts_trained",
    "_n_imitated",
    "_first_size",
)


class FeedbackSettings(OnPolicyAlgorithm):
    """
    The arguments of :class:`~nlf_sb3.algorithms.base.FeedbackAlgorithm`.
    """

    _own_demonstrations: Demonstrations | None = None
    """A checked copy of those given."""

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
        self.imitation: Imitation = copy.deepcopy(as_imitation(imitation))
        self.injection: Injection = as_injection(injection)
        self.phases = phases
        self._first_size: tuple[int, int | None] | None = None
        self._phase: TrainingPhases | None = None
        self.num_expert_queries = 0
        self.num_expert_steps = 0
        self._n_rollouts_trained = 0
        self._n_imitated = 0
        self._episode_returns: list[float] = []
        self._before_imitation: Any = None
        # Mean and standard deviation of the agent's advantages, from the last rollout with interventions that had any.
        self._agents_statistics: tuple[float, float] | None = None
        super().__init__(policy, env, *args, **kwargs)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As in SB3; a single environment goes into a :class:`~nlf_sb3.FastDummyVecEnv`."""
        vec_env = OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        if not isinstance(env, VecEnv):
            make_fast(vec_env)
        return vec_env

    def _setup_model(self) -> None:
        self._check_settings()
        super()._setup_model()

    def _check_settings(self) -> None:
        """Raise on settings that don't fit together, before any step is taken."""
        # SB3's load and its users set attributes, which may be strings that stand for objects.
        self.imitation, self.injection = as_imitation(self.imitation), as_injection(self.injection)
        if self.on_error not in ("raise", "skip"):
            raise ValueError(f"on_error: got {self.on_error!r}, expected 'raise' or 'skip'.")
        as_schedule(self.alpha)
        self._check_auxiliary_losses()
        if self.interpreter is not None:
            _check_interpreter(self.interpreter, self.action_space)
        if self.max_expert_queries is not None:
            check_whole_number("max_expert_queries", self.max_expert_queries, 0)
        self._check_expert()
        if self.demonstrations is not self._own_demonstrations and self.demonstrations is not None and self.env is not None:
            inner = innermost(self.env)  # wrappers of the vectorised environment change the policy's observations
            self.demonstrations = self.demonstrations.checked(inner.observation_space, inner.action_space)
            self._own_demonstrations = self.demonstrations

    def _check_auxiliary_losses(self) -> None:
        losses = self.auxiliary_losses
        if not isinstance(losses, Sequence) or not all(map(callable, losses)):
            raise ValueError(
                f"auxiliary_losses: got {losses!r}, expected a list of losses such as [nlf_sb3.text.TextPrediction()]."
            )

    def _check_expert(self) -> None:
        """Make an expert of what was given, and raise if it can't teach here."""
        if self.expert is None:
            return
        self.expert = as_expert(self.expert)
        if self.env is not None:
            self.expert.check_spaces(innermost(self.env).observation_space, self.action_space)
        if self.imitation.loss == "kl" and _has_no_distribution(self.expert):
            raise FeedbackError(
                f"imitation='kl' needs an expert with a distribution, and {type(self.expert).__name__} has none "
                "(or acts with its mode). Use a stochastic expert, or imitation='nll'."
            )

    def _expert_weights(self) -> ExpertWeights:
        """The weights of the expert's rows."""
        return expert_weights(
            self.injection.row_weight, self.injection.max_row_weight, is_bounded=self.injection.weighting == "bounded"
        )

    def _excluded_save_params(self) -> list[str]:
        own = ["alpha", "expert", "interpreter", "auxiliary_losses", "demonstrations", *_AS_PLAIN_STATE, *_SAVED, *_PROGRESS]
        own += ["_own_demonstrations", "_episode_returns", "_before_imitation", "_memory"]
        return [*super()._excluded_save_params(), *own]

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """
        As in SB3. Experts, interpreters, auxiliary losses, demonstrations and environments stay out; the file also loads in
        SB3's own class.

        :param path: As in SB3
        :param exclude: As in SB3
        :param include: As in SB3
        """
        state = {name: getattr(self, name) for name in (*_SAVED, *_PROGRESS)}
        plain = {name: to_plain(getattr(self, name)) for name in _AS_PLAIN_STATE}
        self.__dict__[STATE_KEY] = {"alpha": schedule_to_state(as_schedule(self.alpha)), **plain, **state}
        try:
            super().save(path, exclude, include)
        finally:
            del self.__dict__[STATE_KEY]

    @classmethod
    def load(cls: type[SelfFeedbackSettings], path: Any, env: Any = None, *args: Any, **kwargs: Any) -> SelfFeedbackSettings:
        """
        As in SB3; models that SB3 saved load too. Pass ``expert=``, ``interpreter=``, ``auxiliary_losses=`` and
        ``demonstrations=`` anew.

        :param path: As in SB3
        :param env: As in SB3
        :param kwargs: As in SB3: they override what was saved
        :return: The model
        """
        model = super().load(path, env, *args, **kwargs)
        state = model.__dict__.pop(STATE_KEY, None)
        if state is not None:
            for name in (*_SAVED, *_PROGRESS):
                if name in state and name not in kwargs:
                    setattr(model, name, state[name])
            if "alpha" not in kwargs:
                model.alpha = schedule_from_state(state["alpha"])
            for name in _AS_PLAIN_STATE:
                if name in state and name not in kwargs:
                    setattr(model, name, from_plain(state[name]))
        model.alpha, model.imitation = own_copy(model.alpha), copy.deepcopy(model.imitation)
        model._check_settings()
        return model


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
