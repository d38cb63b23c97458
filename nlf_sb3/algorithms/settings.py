"""The arguments that feedback adds to an algorithm: checked, saved and loaded with the model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.action_names import ActionNames
from nlf_sb3.algorithms.auxiliary import AuxiliaryLoss
from nlf_sb3.algorithms.injection_weights import MAX_IMPORTANCE_WEIGHT, WEIGHT_KINDS, ExpertWeights, expert_weights
from nlf_sb3.algorithms.token_policies import check_has_no_texts, check_tokens
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.lean_vec_env import make_lean
from nlf_sb3.plain_state import from_plain, to_plain
from nlf_sb3.schedules import AlphaSchedule, LongerRollouts, as_schedule, own_copy, schedule_from_state, schedule_to_state
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.teachers.experts import Expert
from nlf_sb3.text.corrections import Interpreter
from nlf_sb3.weights import ImitationWeights
from nlf_sb3.whole_numbers import check_whole_number

SelfFeedbackSettings = TypeVar("SelfFeedbackSettings", bound="FeedbackSettings")

STATE_KEY = "nlf_sb3"
"""Entry of a saved model that holds what SB3 doesn't know, as plain data."""

_CHOICES = {
    "imitation": ("nll", "kl"),
    "injection": ("bounded", "plain", "separate"),
    "expert_segments": ("inject", "imitate"),
    "injection_weights": WEIGHT_KINDS,
    "injection_prefix": ("twice", "once"),
    "on_error": ("raise", "skip"),
}
_SAVED = (
    "imitation",
    "expert_segments",
    "injection",
    "injection_coef",
    "injection_vf_coef",
    "injection_weights",
    "injection_max_weight",
    "injection_prefix",
    "max_expert_queries",
    "label_memory",
    "label_replay",
    "mode_trains_std",
    "on_error",
    "log_gradients",
)
_AS_PLAIN_STATE = ("imitation_weights", "longer_rollouts", "_longer_now")
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

    trains_tokens = True
    """Whether policies of tokens (:class:`~nlf_sb3.language.CausalLMPolicy`) can be trained."""
    _own_demonstrations: Demonstrations | None = None
    """A checked copy of those given."""

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        alpha: float | AlphaSchedule = 0.5,
        expert: Any = None,
        imitation: Literal["nll", "kl"] = "nll",
        imitation_weights: Sequence[ImitationWeights] = (),
        interpreter: Interpreter | None = None,
        auxiliary_losses: Sequence[AuxiliaryLoss] = (),
        demonstrations: Demonstrations | None = None,
        expert_segments: Literal["inject", "imitate"] = "inject",
        injection: Literal["bounded", "plain", "separate"] = "bounded",
        injection_coef: float = 1.0,
        injection_vf_coef: float = 0.0,
        injection_weights: Literal["auto", "none", "importance", "shaping", "shaping_negative"] = "auto",
        injection_max_weight: float = MAX_IMPORTANCE_WEIGHT,
        injection_prefix: Literal["twice", "once"] = "twice",
        max_expert_queries: int | None = None,
        label_memory: int = 0,
        label_replay: float = 1.0,
        longer_rollouts: LongerRollouts | None = None,
        mode_trains_std: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        log_gradients: bool = False,
        **kwargs: Any,
    ) -> None:
        self.alpha = own_copy(alpha)
        self.expert: Expert | None = expert
        self.imitation = imitation
        self.imitation_weights = copy.deepcopy(imitation_weights)
        self.interpreter = interpreter
        self.auxiliary_losses = auxiliary_losses
        self.demonstrations = demonstrations
        self.expert_segments = expert_segments
        self.injection = injection
        self.injection_coef = injection_coef
        self.injection_vf_coef = injection_vf_coef
        self.injection_weights = injection_weights
        self.injection_max_weight = injection_max_weight
        self.injection_prefix = injection_prefix
        self.max_expert_queries = max_expert_queries
        self.label_memory = label_memory
        self.label_replay = label_replay
        self.longer_rollouts = longer_rollouts
        self._first_size: tuple[int, int | None] | None = None
        self._longer_now: LongerRollouts | None = None
        self.mode_trains_std = mode_trains_std
        self.on_error = on_error
        self.log_gradients = log_gradients
        self.num_expert_queries = 0
        self.num_expert_steps = 0
        self._n_rollouts_trained = 0
        self._n_imitated = 0
        self._episode_returns: list[float] = []
        self._before_imitation: Any = None
        # Mean and standard deviation of the agent's advantages, in the last rollout with takeovers that had them.
        self._agents_statistics: tuple[float, float] | None = None
        super().__init__(policy, env, *args, **kwargs)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As in SB3; a single environment goes into a :class:`~nlf_sb3.LeanVecEnv`."""
        check_has_no_texts(env)
        vec_env = OnPolicyAlgorithm._wrap_env(env, verbose, monitor_wrapper)
        if not isinstance(env, VecEnv):
            make_lean(vec_env)
        return vec_env

    def _setup_model(self) -> None:
        self._check_settings()
        super()._setup_model()

    def _check_settings(self) -> None:
        """Raise on settings that don't fit together, before any step is taken."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected one of {', '.join(map(repr, choices))}.")
        check_tokens(self)
        as_schedule(self.alpha)
        _check_rules("imitation_weights", self.imitation_weights, "nlf_sb3.weights.TrustGate()")
        _check_rules("auxiliary_losses", self.auxiliary_losses, "nlf_sb3.text.TextPrediction()")
        if self.interpreter is not None:
            _check_interpreter(self.interpreter, self.action_space)
        check_whole_number("label_memory", self.label_memory, 0)
        if self.label_memory and self.imitation == "kl":
            raise ValueError(
                f"label_memory: got {self.label_memory!r}; it keeps actions, and imitation='kl' asks for distributions. Use "
                "imitation='nll', or leave it at 0."
            )
        for name in ("injection_coef", "injection_vf_coef", "label_replay"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected a finite number of at least 0.")
        if not 0.0 < self.injection_max_weight < np.inf:
            raise ValueError(f"injection_max_weight: got {self.injection_max_weight!r}, expected a finite number above 0.")
        if self.max_expert_queries is not None:
            check_whole_number("max_expert_queries", self.max_expert_queries, 0)
        self._check_expert()
        if self.demonstrations is not self._own_demonstrations and self.demonstrations is not None and self.env is not None:
            inner = innermost(self.env)  # wrappers of the vectorised environment change the policy's observations
            self.demonstrations = self.demonstrations.checked(inner.observation_space, inner.action_space)
            self._own_demonstrations = self.demonstrations

    def _check_expert(self) -> None:
        """Make an expert of what was given, and raise if it can't teach here."""
        if self.expert is None:
            return
        self.expert = as_expert(self.expert)
        if self.env is not None:
            self.expert.check_spaces(innermost(self.env).observation_space, self.action_space)
        if self.imitation == "kl" and _has_no_distribution(self.expert):
            raise FeedbackError(
                f"imitation='kl' needs an expert with a distribution, and {type(self.expert).__name__} has none "
                "(or acts with its mode). Use a stochastic expert, or imitation='nll'."
            )

    def _expert_weights(self) -> ExpertWeights:
        """What the arguments say of the expert's rows."""
        return expert_weights(self.injection_weights, self.injection_max_weight, is_bounded=self.injection == "bounded")

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
        model.alpha, model.imitation_weights = own_copy(model.alpha), copy.deepcopy(model.imitation_weights)
        model._check_settings()
        return model


def _check_rules(name: str, given: Any, example: str) -> None:
    if not isinstance(given, Sequence) or not all(map(callable, given)):
        raise ValueError(f"{name}: got {given!r}, expected a list of rules such as [{example}].")


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
