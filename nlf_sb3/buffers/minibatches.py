"""Know which rows of a rollout buffer each minibatch holds, and deal them out so that every minibatch can be trained on."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import numpy as np
from stable_baselines3.common.buffers import RolloutBuffer


class Minibatch(NamedTuple):
    """
    The rows of a minibatch.

    :param rows: Flat indices, ``env * n_steps + step``, ``[B]``
    :param positions: Where each of them stands in the policy's output, ``[B]``, if that is padded
        (recurrent policies); None if row i stands at i
    :param observations: The policy's inputs, ``[B, *obs_shape]`` or a dict of such, once it is
    :param actions: In the policy's scale, ``[B, ...]``, likewise
    :param distribution: The policy's distribution on these observations, once it is made; padded where its output is
    """

    rows: np.ndarray
    positions: np.ndarray | None = None
    observations: Any = None
    actions: Any = None
    distribution: Any = None

    def __len__(self) -> int:
        return len(self.rows)


class _Deal(NamedTuple):
    rows: np.ndarray
    rest: tuple[Any, ...]


class MinibatchMixin(RolloutBuffer):
    """Remembers the minibatch that it handed out last. Rows are named by SB3's flat index, ``env * n_steps + step``."""

    last_batch: Minibatch | None
    """The minibatch last handed out, until the learner takes it."""
    joins_single_row: bool = False
    """
    Whether a last minibatch of one row joins the one before it.

    sb3-contrib's MaskablePPO and RecurrentPPO divide its advantage by a standard deviation of one row, which is NaN.
    """
    left_out: np.ndarray | None = None
    """Rows that no minibatch shall hold, booleans by flat index; None for none."""
    _only_deals = False

    def reset(self) -> None:
        super().reset()
        self.last_batch = None
        self.left_out = None

    def get(self, batch_size: int | None = None) -> Generator[Any, None, None]:
        """
        As in SB3, but for :attr:`joins_single_row` and :attr:`left_out`.

        :param batch_size: Rows in a minibatch; None for all of them
        """
        if self.left_out is None and not (self.joins_single_row and batch_size):
            yield from super().get(batch_size)
            return
        self._only_deals = True  # indices alone: the rows themselves are taken below
        try:
            deals: list[Any] = list(super().get(batch_size))
        finally:
            self._only_deals = False
        if self.left_out is not None:
            deals = [_Deal(deal.rows[~self.left_out[deal.rows]], deal.rest) for deal in deals]
            deals = [deal for deal in deals if len(deal.rows)]
        if self.joins_single_row and len(deals) > 1 and len(deals[-1].rows) == 1:
            single = deals.pop()
            deals[-1] = _Deal(np.concatenate([deals[-1].rows, single.rows]), single.rest)
        for deal in deals:
            yield self._get_samples(deal.rows, *deal.rest)

    def _get_samples(self, batch_inds: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        if self._only_deals:
            return _Deal(batch_inds, args)
        samples = super()._get_samples(batch_inds, *args, **kwargs)
        padding_mask = getattr(samples, "mask", None)
        positions = None
        if padding_mask is not None:
            positions = np.flatnonzero(padding_mask.cpu().numpy() > 0)
            # Recurrent buffers of sb3-contrib keep the int8 of MultiBinary actions, which torch's Bernoulli doesn't take.
            samples = samples._replace(actions=samples.actions.float())
        self.last_batch = Minibatch(batch_inds, positions)
        return samples

    def take_last_batch(self) -> Minibatch:
        """
        :return: The minibatch last handed out, once
        :raises RuntimeError: If there is none: the evaluated actions came from elsewhere
        """
        batch, self.last_batch = self.last_batch, None
        if batch is None:
            raise RuntimeError(
                "train() evaluated actions that are no new minibatch of the rollout buffer, so that the feedback of its "
                "rows is unknown. Is this version of Stable-Baselines3 newer than the ones that nlf_sb3 was tested with?"
            )
        return batch

    def row_indices(self) -> np.ndarray:
        """Flat indices of the rows that this rollout trains on, ``[N]``."""
        return np.arange(self.buffer_size * self.n_envs)

    def take_rows(self, values: Any, rows: np.ndarray) -> Any:
        """
        :param values: ``[n_steps, n_envs, ...]`` or a dict of such
        :param rows: Flat indices, ``[n]``
        :return: ``[n, ...]`` or a dict of such
        """
        if isinstance(values, dict):
            return {key: self.take_rows(value, rows) for key, value in values.items()}
        return values[rows % self.buffer_size, rows // self.buffer_size]
