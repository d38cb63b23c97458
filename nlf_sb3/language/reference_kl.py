"""Hold a language model to what it was: a penalty on its divergence from the model before training."""

from __future__ import annotations

from typing import Any

import torch as th

from nlf_sb3.buffers.minibatches import Minibatch


class ReferenceKL:
    """
    An auxiliary loss (``auxiliary_losses=[ReferenceKL(0.05)]``): ``coef`` times the mean of KL(policy || reference) over the
    minibatch's tokens, by all probabilities and not by the tokens sampled. The reference is the model as
    it was loaded: without a new adapter, with a saved one as it was, or whole, by the copies of
    ``policy_kwargs={"reference": True}``.

    :param coef: Coefficient
    """

    name = "reference_kl"

    def __init__(self, coef: float = 0.05) -> None:
        if not coef >= 0.0:
            raise ValueError(f"coef: got {coef}, expected a number of at least 0.")
        self.coef = coef

    def __call__(self, model: Any, batch: Minibatch) -> th.Tensor | None:
        """
        :param model: The model in training, with a :class:`~nlf_sb3.language.CausalLMPolicy`
        :param batch: Its minibatch
        :return: The loss, a scalar
        """
        policy = model.policy
        divergence: th.Tensor = policy.reference_kl(batch.observations, policy.action_dist)
        return self.coef * divergence.mean()
