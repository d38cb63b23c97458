"""A teacher that speaks: it compares what was done with what an expert would have done, and says so in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.action_names import ActionNames, as_action_names
from nlf_sb3.feedback import TEXT_KINDS, Feedback
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.teachers import phrasings
from nlf_sb3.teachers.any_expert import as_expert
from nlf_sb3.teachers.experts import Expert, single_row
from nlf_sb3.teachers.teachers import Transition

_SMALL, _LARGE = 0.15, 0.6


class SpeakingTeacher:
    """
    Says in words how an action differs from an expert's, in LLF-Bench's five kinds of text
    (Cheng et al., 2023, https://arxiv.org/abs/2312.06853).

    It speaks of the dimension that is furthest off. Where that is within ``tolerance`` it praises: ``"hp"`` (what was right),
    ``"fp"`` (keep going) or ``"r"`` (good). Elsewhere it corrects: ``"hn"`` (what was wrong), ``"fp"`` (what to do), ``"fn"``
    (what to avoid) or ``"r"`` (bad).

    >>> teacher = SpeakingTeacher(lambda observations: np.ones((len(observations), 1)), spaces.Box(-1, 1, (1,)), kinds=["fp"])
    >>> teacher(Transition(np.zeros(2), np.array([0.0]), 0.0, np.zeros(2), False, False, {}, 0)).text_kind
    'fp'

    :param expert: Anything that :func:`~nlf_sb3.teachers.as_expert` takes
    :param names: :class:`~nlf_sb3.action_names.ActionNames`, or an action space for names by default
    :param kinds: The kinds of text that it uses, of :data:`~nlf_sb3.feedback.TEXT_KINDS`
    :param probability: Chance that it speaks about a step
    :param tolerance: Difference that it lets pass, in half ranges of the dimension; in whole steps of Discrete choices none
    :param praises: Whether it says something where nothing is to be corrected
    :raises ValueError: If an argument is out of range
    """

    def __init__(
        self,
        expert: Any,
        names: ActionNames | spaces.Space,
        *,
        kinds: Sequence[str] = TEXT_KINDS,
        probability: float = 1.0,
        tolerance: float = 0.03,
        praises: bool = True,
    ) -> None:
        if not kinds or not set(kinds) <= set(TEXT_KINDS):
            raise ValueError(f"kinds: got {kinds!r}, expected some of {', '.join(TEXT_KINDS)}.")
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability: got {probability}, expected a number in [0, 1].")
        if not tolerance >= 0.0:
            raise ValueError(f"tolerance: got {tolerance}, expected a number of at least 0.")
        self.expert: Expert = as_expert(expert)
        self.names = as_action_names(names)
        self.kinds = tuple(kinds)
        self.probability = probability
        self.tolerance = tolerance
        self.praises = praises
        self._rng = derived_generator(0, "words")

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Seed of the teacher's and the expert's own generators
        """
        self._rng = derived_generator(seed, "words")
        self.expert.seed(derived_seed(seed, "speaker's expert"))

    def __call__(self, transition: Transition) -> Feedback | None:
        if self.probability < 1.0 and self._rng.random() >= self.probability:
            return None
        rows, masks = single_row(transition.observation), transition.action_masks
        wanted = self.expert.act(rows) if masks is None else self.expert.act_within(rows, masks[None])
        taken = self.names.flatten(np.asarray(transition.action)[None])[0]
        difference = (self.names.flatten(wanted)[0] - taken) / self.names.half_range
        dimension = int(np.abs(difference).argmax())
        kind, text = self._say(dimension, float(difference[dimension]), float(taken[dimension]))
        return None if text is None else Feedback(text=text, text_kind=kind)

    def _say(self, dimension: int, difference: float, taken: float) -> tuple[str | None, str | None]:
        """The kind and the words for a difference of one dimension, in its half ranges."""
        is_good = abs(difference) <= self.tolerance
        if is_good and not self.praises:
            return None, None
        fitting = [kind for kind in self.kinds if kind not in (("hn", "fn") if is_good else ("hp",))]
        if not fitting:
            return None, None
        kind = str(self._rng.choice(fitting))
        middle = (self.names.low[dimension] + self.names.high[dimension]) / 2
        towards = taken - (middle if np.isfinite(middle) else 0.0) if is_good else difference
        named = self.names.dimensions[dimension]
        words = {"way": named.towards(towards), "away": named.towards(-towards), "much": self._much(difference)}
        words |= {key.title(): value.capitalize() for key, value in words.items()}
        text = self._pick(_paraphrases(kind, is_good)).format(**words)
        if self.names.n_dimensions > 1 and kind != "r":
            text = self._pick(phrasings.WITH_NAME).format(name=named.name, text=text)
        return kind, text[0].upper() + text[1:]

    def _much(self, difference: float) -> str:
        if self.names.is_discrete:
            return ""
        size = "small" if abs(difference) < _SMALL else "large" if abs(difference) > _LARGE else "normal"
        return self._pick(phrasings.SIZES[size])

    def _pick(self, several: Sequence[str]) -> str:
        return several[int(self._rng.integers(len(several)))]


def _paraphrases(kind: str, is_good: bool) -> Sequence[str]:
    if kind == "r":
        return phrasings.REWARD_GOOD if is_good else phrasings.REWARD_BAD
    if kind == "fp":
        return phrasings.KEEP_GOING if is_good else phrasings.FUTURE_POSITIVE
    return {"hp": phrasings.HINDSIGHT_POSITIVE, "hn": phrasings.HINDSIGHT_NEGATIVE, "fn": phrasings.FUTURE_NEGATIVE}[kind]
