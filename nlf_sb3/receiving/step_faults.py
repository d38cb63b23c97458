"""Say how a step of one of this package's wrappers differs from the learner's."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from nlf_sb3.wrappers.marks import Entries, StepMark

_MARGIN = 1e-8


def fault_of_end(done: bool, info: dict[str, Any], mark: StepMark) -> str | None:
    """
    :param done: Whether the learner's episode ended
    :param info: The step's info
    :param mark: The mark of a wrapper that hands out whole episodes
    :return: How the end differs, if it does
    """
    if done != (mark.terminated or mark.truncated):
        return f"its episode {'went on' if done else 'ended'} where the learner's {'ended' if done else 'went on'}"
    by_limit = info.get("TimeLimit.truncated")
    if done and by_limit is not None and bool(by_limit) != (mark.truncated and not mark.terminated):
        return f"its episode was {'truncated' if mark.truncated else 'terminated'}, and the learner's not"
    return None


def fault_of_reward(got: float, expected: float, mark: StepMark) -> str | None:
    """
    :param got: The learner's value
    :param expected: The value that it should have
    :param mark: The mark of a wrapper that hands out whole episodes
    :return: How they differ, if they do
    """
    if abs(got - expected) > _MARGIN + 1e-4 * abs(expected):
        return f"it returned the reward {mark.reward:.6g}, and the learner got {got:.6g}"
    return None


def fault_of_observation(own: Entries, its: Entries | None) -> str | None:
    """
    :param own: Entries of the learner's observation
    :param its: The same of the wrapper's
    :return: How they differ, if they do
    """
    assert its is not None
    for key, entries in its.items():
        if key in own and is_same(entries, own[key]):
            continue
        name = f"observation[{key!r}]" if key else "observation"
        if key not in own or own[key].size != entries.size:
            return f"its {name} has another shape than the learner's"
        place = int(np.argmax(~np.isclose(entries, own[key], 1e-4, _MARGIN, equal_nan=True)))
        return f"its {name} holds {entries[place]:.6g} where the learner's holds {own[key][place]:.6g}"
    return None


def is_same(received: Any, sent: Any, margin: float = _MARGIN) -> bool:
    """
    :param received: Some numbers
    :param sent: Others
    :param margin: How far apart they may be, beside rounding
    :return: Whether they are the same up to that
    """
    if isinstance(received, np.integer) and received == sent:  # the common case, as are those below
        return True
    first, second = np.asarray(received), np.asarray(sent)
    if first.tobytes() == second.tobytes():
        return True
    return first.size == second.size and _is_close(first.reshape(-1), second.reshape(-1), margin)


def _is_close(first: np.ndarray, second: np.ndarray, margin: float) -> bool:
    first, second = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return not (np.abs(first - second) > margin + 1e-4 * np.abs(first)).any()  # NaN is no difference


def margin_of(space: spaces.Space) -> float:
    """
    :param space: An action space
    :return: The rounding error that a rescaling to the same bounds may add to an action
    """
    if not isinstance(space, spaces.Box):
        return _MARGIN
    width = space.high.astype(np.float64) - space.low.astype(np.float64)
    return 1e-5 * float(width.min(initial=1.0))


def short(value: Any) -> str:
    """
    :param value: Numbers
    :return: The first of them as text
    """
    flat = np.asarray(value).reshape(-1)
    shown = ", ".join(f"{number:.6g}" for number in flat[:4].tolist())
    return f"[{shown}{', ...' if len(flat) > 4 else ''}]" if flat.size > 1 else shown
