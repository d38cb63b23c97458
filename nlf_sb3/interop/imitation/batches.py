"""Demonstrations in the batches that imitation's BC takes: weighted, and shuffled by a generator of their own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3.action_scales import env_to_policy_tensor
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.observations import index_observations
from nlf_sb3.segments import Observations


class DemonstrationBatches:
    """
    Demonstrations as imitation's BC takes them: shuffled batches of one size, what is left over dropped.

    Rows of equal weight come once in an epoch; otherwise each is drawn with a probability proportional to its weight, so
    that the loss is the weighted mean. Rows of weight 0 never come.

    :param observations: In the policy's scale, ``[K, *obs_shape]`` or a dict of such
    :param demonstrations: The rows; their observations are not used
    :param policy: The policy that will be trained
    :param batch_size: B
    :param rng: Shuffles
    """

    def __init__(
        self,
        observations: Observations,
        demonstrations: Demonstrations,
        policy: ActorCriticPolicy,
        batch_size: int,
        rng: np.random.Generator,
    ) -> None:
        assert demonstrations.weights is not None
        used = np.flatnonzero(demonstrations.weights)
        if not len(used):
            raise FeedbackError("demonstrations: all weights are 0, expected some row to learn from.")
        self._types = require("imitation.data.types", "imitation", "behaviour cloning")
        self._observations = index_observations(observations, used)
        self._actions = env_to_policy_tensor(policy, demonstrations.actions[used]).cpu().numpy()
        self._masks = None if demonstrations.action_masks is None else demonstrations.action_masks[used]
        self._weights = demonstrations.weights[used] / demonstrations.weights[used].sum()
        self._rng = rng
        self.batch_size = min(batch_size, len(used))
        self.masks: np.ndarray | None = None
        """Action masks of the batch handed out last."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        n_rows = len(self._weights)
        if np.ptp(self._weights) == 0:
            order = self._rng.permutation(n_rows)
        else:
            order = self._rng.choice(n_rows, n_rows, p=self._weights)
        for start in range(0, n_rows - self.batch_size + 1, self.batch_size):
            rows = order[start : start + self.batch_size]
            self.masks = None if self._masks is None else self._masks[rows]
            observations = index_observations(self._observations, rows)
            yield {"obs": self._types.maybe_wrap_in_dictobs(observations), "acts": self._actions[rows]}
