"""Objects for the arguments ``imitation`` and ``injection``: how labels are imitated, and how an expert's steps train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from nlf_sb3.field_checks import check_choice, check_flag, check_number
from nlf_sb3.plain_state import saved_as_plain_state
from nlf_sb3.whole_numbers import check_whole_number

if TYPE_CHECKING:
    from nlf_sb3.label_weights import ImitationWeights
    from nlf_sb3.objectives.imitation import ActionLoss

Loss = Literal["nll", "kl"]
Weighting = Literal["bounded", "plain"]
RowWeight = Literal["auto", "none", "importance", "shaping", "shaping_negative"]
Segments = Literal["inject", "imitate"]

MAX_IMPORTANCE_WEIGHT = 1.0
"""Default bound of importance weights. With it no row of the expert's has a larger weight than a row of the agent's."""


@saved_as_plain_state
@dataclass(frozen=True)
class LabelReplay:
    """
    Labels of earlier rollouts that are imitated again (DAgger; Ross et al., 2011, https://arxiv.org/abs/1011.0686).

    Observations stay as the policy saw them, normalised or not. The labels are not saved with the model.

    >>> LabelReplay(100_000, per_step=4.0)
    LabelReplay(capacity=100000, per_step=4.0, late_steps=2048)

    :param capacity: Number of labels that are kept. New labels replace the oldest ones.
    :param per_step: Number of labels that are drawn for each row of a rollout
    :param late_steps: Number of latest steps of each environment whose labels may arrive after their rollout. Such labels are
        replayed.
    :raises ValueError: If a field is out of its range
    """

    capacity: int
    per_step: float = 1.0
    late_steps: int = 2_048

    def __post_init__(self) -> None:
        check_whole_number("LabelReplay.capacity", self.capacity, 1)
        check_number(self, "per_step")
        check_whole_number("LabelReplay.late_steps", self.late_steps, 0)


@saved_as_plain_state
@dataclass(frozen=True)
class Imitation:
    """
    How labels, an expert's answers and demonstrations are imitated.

    A string is short for an object: ``imitation="kl"`` means ``imitation=Imitation("kl")``.

    >>> from nlf_sb3.label_weights import TrustGate
    >>> imitation = Imitation(weights=[TrustGate()], replay=LabelReplay(100_000, per_step=4.0))
    >>> imitation.loss
    'nll'

    :param loss: ``"nll"`` for -log pi(a_E|s), ``"kl"`` for the analytic KL(pi_E || pi), or a function
        (:class:`~nlf_sb3.objectives.imitation.ActionLoss`). ``"kl"`` needs an ``expert`` that has a distribution.
    :param weights: Rules for the weights of labels (:mod:`nlf_sb3.label_weights`). Their factors are multiplied with each
        other and with the labels' own weights. The model takes a copy of them.
    :param replay: Labels of earlier rollouts that are imitated again; None for none
    :param mode_trains_std: Whether labels that are the expert's mode train the standard deviation too. Those of discrete
        actions are then not smoothed (:func:`~nlf_sb3.distributions.log_prob_of_mode`).
    :raises ValueError: If the value of a field is not one of those above, or two fields contradict each other
    """

    loss: Loss | ActionLoss = "nll"
    weights: Sequence[ImitationWeights] = ()
    replay: LabelReplay | None = None
    mode_trains_std: bool = False

    def __post_init__(self) -> None:
        if not callable(self.loss):
            check_choice(self, "loss", get_args(Loss))
        if isinstance(self.weights, str) or not isinstance(self.weights, Sequence) or not all(map(callable, self.weights)):
            raise ValueError(
                f"Imitation.weights: got {self.weights!r}, expected a list of rules, such as "
                "[nlf_sb3.label_weights.TrustGate()]."
            )
        object.__setattr__(self, "weights", tuple(self.weights))
        if not isinstance(self.replay, LabelReplay | None):
            raise ValueError(
                f"Imitation.replay: got {self.replay!r}, expected None or an nlf_sb3.LabelReplay, such as LabelReplay(10_000)."
            )
        check_flag(self, "mode_trains_std")
        if self.replay is not None and self.loss == "kl":
            raise ValueError(
                f"Imitation.replay: got {self.replay!r}. It keeps actions, and loss='kl' needs distributions. Use loss='nll', "
                "or replay=None."
            )


@saved_as_plain_state
@dataclass(frozen=True)
class Injection:
    """
    How the steps of an expert train the policy: injected episodes, and steps that the expert took in the agent's place.

    A string is short for an object. ``injection="bounded"`` means ``Injection()``, ``"plain"`` means
    ``Injection("plain")``, and ``"separate"`` means ``Injection("plain", separate_step=True)``.

    >>> Injection("plain", vf_coef=0.5).row_weight
    'auto'

    :param weighting: ``"bounded"`` if all rows of the expert together weigh ``coef`` times as much as the agent's, or
        ``"plain"`` if each weighs as much as one of the agent's. Bounded rows have bounded advantages too
        (:func:`~nlf_sb3.objectives.injected_rows.build_injected_rows`). The paper's rows are plain.
    :param coef: Total weight of the expert's rows with ``weighting="bounded"``, where the agent's rows have a total of 1
    :param vf_coef: Weight of the expert's rows in the value loss, in the place of the algorithm's ``vf_coef``. It multiplies
        the mean of their squared errors (the sum with ``loss_reduction="sum"``), whatever ``weighting`` and ``coef`` are. The
        returns of these rows are the expert's, so that by default they don't train the value network.
    :param row_weight: Weight of each row of the expert's: ``"none"``, ``"importance"``, ``"shaping"``,
        ``"shaping_negative"`` or ``"auto"``. ``"none"`` is 1, as in the paper. ``"importance"`` is min(c, pi / pi_E), which
        needs the expert's log-probabilities. ``"shaping"`` is p / (p + 0.1), with the density p relative to the policy's mode.
        ``"shaping_negative"`` is the same where the advantage is negative, and 1 elsewhere. ``"auto"`` means
        ``"shaping_negative"`` with ``weighting="bounded"``, and ``"none"`` with ``"plain"``
        (:class:`~nlf_sb3.objectives.row_weights.ExpertWeights`).
    :param max_row_weight: The bound c of ``row_weight="importance"``
    :param count_prefix: Whether the shared steps of a forked episode are rows of this episode too, with its returns. They
        are rows of the agent's in any case.
    :param separate_step: Whether injected episodes train in an optimiser step that follows the agent's update. Without it
        they are a part of the agent's update.
    :param segments: ``"inject"`` to train on forked episodes and expected responses by policy gradient, or ``"imitate"`` to
        imitate the expert's own steps in them. Forked episodes are those of :class:`~nlf_sb3.TrajectoryInjection`, expected
        responses those of :class:`~nlf_sb3.language.TokenLevel`. Imitated steps are demonstrations of the rollout that brought
        them, with weight 1. Label replay keeps them too.
    :raises ValueError: If the value of a field is not one of those above
    """

    weighting: Weighting = "bounded"
    coef: float = 1.0
    vf_coef: float = 0.0
    row_weight: RowWeight = "auto"
    max_row_weight: float = MAX_IMPORTANCE_WEIGHT
    count_prefix: bool = True
    separate_step: bool = False
    segments: Segments = "inject"

    def __post_init__(self) -> None:
        check_choice(self, "weighting", get_args(Weighting))
        check_choice(self, "row_weight", get_args(RowWeight))
        check_choice(self, "segments", get_args(Segments))
        check_number(self, "coef")
        check_number(self, "vf_coef")
        check_number(self, "max_row_weight", above_zero=True)
        check_flag(self, "count_prefix")
        check_flag(self, "separate_step")


def as_imitation(given: Any) -> Imitation:
    """
    >>> as_imitation("kl").loss
    'kl'

    :param given: An :class:`Imitation`, or the name of its loss
    :return: The object
    :raises ValueError: For anything else
    """
    if isinstance(given, Imitation):
        return given
    if not isinstance(given, str) or given not in get_args(Loss):
        raise ValueError(
            f"imitation: got {given!r}, expected 'nll', 'kl' or an nlf_sb3.Imitation, such as Imitation('nll', "
            "replay=LabelReplay(10_000))."
        )
    return Imitation(given)  # type: ignore[arg-type]


def as_injection(given: Any) -> Injection:
    """
    >>> as_injection("separate") == Injection("plain", separate_step=True)
    True

    :param given: An :class:`Injection`, or a name that stands for one
    :return: The object
    :raises ValueError: For anything else
    """
    if isinstance(given, Injection):
        return given
    if not isinstance(given, str) or given not in ("bounded", "plain", "separate"):
        raise ValueError(
            f"injection: got {given!r}, expected 'bounded', 'plain', 'separate' or an nlf_sb3.Injection, such as "
            "Injection('bounded', coef=0.5)."
        )
    return Injection("bounded" if given == "bounded" else "plain", separate_step=given == "separate")
