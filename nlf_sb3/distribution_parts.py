"""The torch distributions inside one of SB3's, and distributions of a user's own kind, whose insides are unknown."""

from __future__ import annotations

import copy
from typing import Any

import torch as th

from nlf_sb3.errors import FeedbackError

_KNOWN_PACKAGES = ("stable_baselines3", "sb3_contrib", "nlf_sb3", "torch")
FAMILIES = (th.distributions.Normal, th.distributions.Categorical, th.distributions.Bernoulli)


def is_known(definition: Any) -> bool:
    """
    :param definition: A class or a function
    :return: Whether SB3, sb3-contrib, torch or this package defines it, and not a user
    """
    return str(getattr(definition, "__module__", "")).partition(".")[0] in _KNOWN_PACKAGES


def has_known_density(distribution: Any) -> bool:
    """
    :param distribution: One of SB3's, or a user's
    :return: Whether its density is that of the torch distributions inside it, as in SB3's own
    """
    inner = getattr(distribution, _inner_name(distribution), None)
    parts = inner if isinstance(inner, (list, tuple)) else [inner]
    if not all(isinstance(part, FAMILIES) and is_known(type(part)) for part in parts):
        return False
    return is_known(getattr(type(distribution), "log_prob", None)) and "log_prob" not in vars(distribution)


def has_known_rows(distribution: Any) -> bool:
    """
    :param distribution: One of SB3's, or a user's
    :return: Whether :func:`select_rows` can build some of its rows from the torch distributions inside it
    """
    return has_known_density(distribution) and is_known(type(distribution).mode)


class OwnDistribution:
    """
    A user's own kind of distribution, of which nothing is known but its methods: it is evaluated as a whole.

    :param whole: The distribution, N rows
    :param actions: Actions that it can evaluate, ``[N, ...]``: they stand in rows that aren't asked for
    :param rows: The rows that this one has, ``[B]``; None for all
    """

    def __init__(self, whole: Any, actions: th.Tensor, rows: th.Tensor | None = None) -> None:
        self._whole = whole
        self._actions = actions
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        """What else the distribution has, where all its rows are meant: a user's losses and weights may know it."""
        if name.startswith("_") or self._rows is not None:
            raise AttributeError(name)
        return getattr(self._whole, name)

    @property
    def whole(self) -> Any:
        """The distribution, all rows."""
        return self._whole

    def take(self, rows: th.Tensor) -> OwnDistribution:
        """
        :param rows: Indices, ``[B]``
        :return: These rows alone
        """
        return OwnDistribution(self._whole, self._actions, rows if self._rows is None else self._rows[rows])

    def log_prob(self, actions: th.Tensor) -> th.Tensor:
        """
        :param actions: ``[B, ...]``
        :return: ``[B]``
        """
        if self._rows is None:
            return self._whole.log_prob(actions)  # type: ignore[no-any-return]
        filled = self._actions.detach().clone()
        filled[self._rows] = actions.to(filled.dtype).reshape(len(actions), *filled.shape[1:])
        return self._whole.log_prob(filled)[self._rows]  # type: ignore[no-any-return]

    def mode(self) -> th.Tensor:
        """The likeliest actions, ``[B, ...]``."""
        return self._of_rows(self._whole.mode())

    def entropy(self) -> th.Tensor | None:
        """``[B]``, or None if it isn't known."""
        entropy = self._whole.entropy()
        return None if entropy is None else self._of_rows(entropy)

    def with_fixed_spread(self) -> OwnDistribution:
        """The same; if it is built on a Gaussian, with a standard deviation that has no gradient."""
        normal = getattr(self._whole, "distribution", None)
        if not isinstance(normal, th.distributions.Normal):
            return self
        return OwnDistribution(with_spread_fixed(self._whole), self._actions, self._rows)

    def parts(self) -> list[Any]:
        """torch's distributions inside it, if its density is theirs; else none."""
        if not has_known_density(self._whole):
            return []
        parts = parts_of(self._whole)
        return parts if self._rows is None else [part_of_rows(part, self._rows, None) for part in parts]

    def _of_rows(self, values: th.Tensor) -> th.Tensor:
        return values if self._rows is None else values[self._rows]


def parts_of(distribution: Any) -> list[Any]:
    """
    :param distribution: One of SB3's
    :return: torch's distributions inside it, one for each independent dimension or group of them
    :raises FeedbackError: If they are unknown
    """
    parts = parts_or_none(distribution)
    if not parts:
        raise unknown_parts(distribution)
    return parts


def parts_or_none(distribution: Any) -> list[Any]:
    """
    :param distribution: One of SB3's, or a user's
    :return: As :func:`parts_of`; an empty list if they are unknown
    """
    if isinstance(distribution, OwnDistribution):
        return distribution.parts()
    inner = getattr(distribution, _inner_name(distribution), None)
    return list(inner) if isinstance(inner, (list, tuple)) else [] if inner is None else [inner]


def unknown_parts(distribution: Any) -> FeedbackError:
    """
    :param distribution: One of a user's own kind
    :return: The error to raise where its insides are needed
    """
    kind = type(distribution.whole if isinstance(distribution, OwnDistribution) else distribution).__name__
    return FeedbackError(
        f"{kind} is a distribution that is known by its log_prob alone; imitation='kl' and weights that compare actions need "
        "its means or logits. Use imitation='nll' without such weights, or a distribution of SB3's."
    )


def with_parts(distribution: Any, parts: list[Any]) -> Any:
    """
    :param distribution: One of SB3's
    :param parts: torch's distributions
    :return: A copy that holds them in the place of its own
    """
    name = _inner_name(distribution)
    copied = copy.copy(distribution)
    setattr(copied, name, parts if isinstance(getattr(distribution, name), (list, tuple)) else parts[0])
    return copied


def _inner_name(distribution: Any) -> str:
    # sb3-contrib's masked distributions of several dimensions keep theirs under another name.
    return "distributions" if hasattr(distribution, "distributions") else "distribution"


def part_of_rows(part: Any, rows: th.Tensor, device: th.device | str | None) -> Any:
    """
    :param part: One of torch's distributions
    :param rows: Indices, ``[B]``
    :param device: Where the copy lies; None for where the original does
    :return: A copy of these rows
    """
    if isinstance(part, th.distributions.Normal):
        return th.distributions.Normal(part.loc[rows].to(device), part.scale[rows].to(device), validate_args=False)
    return type(part)(logits=part.logits[rows].to(device), validate_args=False)


def with_spread_fixed(distribution: Any) -> Any:
    """
    :param distribution: One that is built on a Gaussian
    :return: A copy whose standard deviation has no gradient
    """
    normal = distribution.distribution
    frozen = copy.copy(distribution)
    frozen.distribution = th.distributions.Normal(normal.loc, normal.scale.detach(), validate_args=False)
    return frozen
