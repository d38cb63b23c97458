"""Returns and advantages of rows, as pure functions on arrays."""

from __future__ import annotations

import numpy as np


def discounted_returns(rewards: np.ndarray, gamma: float, last_value: float = 0.0) -> np.ndarray:
    """
    Returns-to-go of one episode: G_t = r_t + gamma G_{t+1}, with G_T = ``last_value``.

    >>> discounted_returns(np.array([1.0, 1.0, 1.0]), gamma=0.5)
    array([1.75, 1.5 , 1.  ])

    :param rewards: ``[T]``
    :param gamma: Discount factor
    :param last_value: Value of the state after the last step: 0 where the episode terminated there
    :return: ``[T]``, float64
    """
    returns = np.empty(len(rewards))
    running = float(last_value)
    for step, reward in zip(
        range(len(rewards) - 1, -1, -1), reversed(np.asarray(rewards, dtype=np.float64).tolist()), strict=True
    ):
        running = reward + gamma * running
        returns[step] = running
    return returns


def takeover_steps(executed: np.ndarray) -> np.ndarray:
    """
    :param executed: Whether somebody else acted, ``[T]`` or ``[T, n_envs]``
    :return: Whether the next step is the first that somebody else takes, same shape; False in the last row
    """
    hands_over = np.zeros_like(executed, dtype=bool)
    hands_over[:-1] = ~executed[:-1] & executed[1:]
    return hands_over


def advantages_until_takeover(
    advantages: np.ndarray, executed: np.ndarray, episode_starts: np.ndarray, decay: float
) -> np.ndarray:
    r"""
    Generalised advantages where the agent's rows end at a takeover and bootstrap from V of the state there.

    GAE is :math:`A_t = \delta_t + \gamma\lambda A_{t+1}` (Schulman et al., 2016, https://arxiv.org/abs/1506.02438); in the
    last row before a takeover it is :math:`\delta_t` alone, which holds V of the next state already. Rows of somebody else's
    go on into the agent's where it acts after them: what the agent does there is its own policy's.

    :param advantages: As SB3 computed them, takeovers ignored, ``[n_steps, n_envs]``
    :param executed: Whether somebody else acted, ``[n_steps, n_envs]``
    :param episode_starts: As in SB3's buffer, ``[n_steps, n_envs]``
    :param decay: gamma times lambda
    :return: ``[n_steps, n_envs]``
    """
    goes_on = 1.0 - np.asarray(episode_starts[1:], dtype=np.float64)
    result = advantages.astype(np.float64)
    result[:-1] -= decay * goes_on * advantages[1:]  # delta
    goes_on[takeover_steps(executed)[:-1]] = 0.0
    for step in range(len(result) - 2, -1, -1):
        result[step] += decay * goes_on[step] * result[step + 1]
    return result.astype(advantages.dtype)


def returns_until_takeover(rewards: np.ndarray, executed: np.ndarray, values: np.ndarray, gamma: float) -> np.ndarray:
    """
    Returns-to-go of one episode in which the agent's part ends at a takeover, with V of the state there. Where the agent acts
    after somebody else, what it got is part of both.

    :param rewards: ``[T]``
    :param executed: Whether somebody else acted, ``[T]``
    :param values: V of the states acted in, ``[T]``
    :param gamma: Discount factor
    :return: ``[T]``
    """
    if not executed.any():
        return discounted_returns(rewards, gamma)
    first_steps = np.flatnonzero(takeover_steps(executed)) + 1
    parts = np.split(np.asarray(rewards), first_steps)
    last_values = [*values[first_steps].tolist(), 0.0]
    return np.concatenate([discounted_returns(part, gamma, last) for part, last in zip(parts, last_values, strict=True)])
