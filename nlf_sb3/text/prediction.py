"""Predict what will be said: an auxiliary loss on the policy's features."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import preprocess_obs

from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.errors import FeedbackError
from nlf_sb3.observations import index_observations
from nlf_sb3.text.encoders import CachedEncoder, HashedNgrams, TextEncoder, check_encoded


class TextPrediction:
    """
    Feedback modelling (RLTF, 2026, https://arxiv.org/abs/2602.02482): a linear head on the actor's features predicts the
    embedding of what is said about the step, from the state and the action taken.

    The loss is ``coef`` times the mean of 1 - cosine over the minibatch's rows with words. The head has an optimiser of its
    own, so that the policy's stays what Stable-Baselines3 saves; it is not saved with the model.

    :param encoder: Encodes texts; None for :class:`~nlf_sb3.text.HashedNgrams`
    :param coef: Coefficient in the policy's loss; 0.1 is RLTF's
    :param learning_rate: The head's
    """

    name = "text_prediction"

    def __init__(self, encoder: TextEncoder | None = None, coef: float = 0.1, learning_rate: float = 1e-3) -> None:
        if not coef >= 0.0:
            raise ValueError(f"coef: got {coef}, expected a number of at least 0.")
        self.encoder = CachedEncoder(encoder or HashedNgrams())
        self.coef = coef
        self.learning_rate = learning_rate
        self._head: th.nn.Module | None = None
        self._optimizer: Any = None

    def __call__(self, model: Any, batch: Minibatch) -> th.Tensor | None:
        """
        :param model: The model in training
        :param batch: Its minibatch
        :return: The loss, a scalar; None where nothing was said
        """
        buffer = model.rollout_buffer
        if buffer.remarks is None:
            return None
        said = buffer.take_rows(buffer.remarks, batch.rows)
        chosen = np.flatnonzero(said.astype(bool))
        if not len(chosen):
            return None
        texts = [record.text for record in said[chosen]]
        wanted = th.as_tensor(check_encoded(self.encoder.encode(texts), len(texts), self.encoder.size), device=model.device)
        features = self._features(model, batch, chosen)
        head = self._head_for(features, model)
        # The head learns by itself; the policy's loss goes through it and leaves it alone.
        own_loss = _distance(head(features.detach()), wanted)
        self._optimizer.zero_grad()
        own_loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        weight, bias = (parameter.detach() for parameter in head.parameters())
        return self.coef * _distance(th.nn.functional.linear(features, weight, bias), wanted)

    def _features(self, model: Any, batch: Minibatch, chosen: np.ndarray) -> th.Tensor:
        """The actor's features and what was done, of choices which, ``[n, latent_dim_pi + size]``."""
        policy = model.policy
        if batch.positions is not None or not hasattr(getattr(policy, "mlp_extractor", None), "forward_actor"):
            raise FeedbackError(
                f"TextPrediction: {type(policy).__name__} has no actor's features for single states. Use it with policies of "
                "Stable-Baselines3, such as MlpPolicy and CnnPolicy."
            )
        features = policy.extract_features(index_observations(batch.observations, chosen))
        latent = policy.mlp_extractor.forward_actor(features[0] if isinstance(features, tuple) else features)
        actions = batch.actions[chosen].reshape(len(chosen), -1)
        if isinstance(model.action_space, spaces.Discrete):
            actions = actions.squeeze(1)
        done: Any = preprocess_obs(actions, model.action_space)  # choices as one-hot vectors
        return th.cat([latent, done.reshape(len(chosen), -1)], dim=1)

    def _head_for(self, features: th.Tensor, model: Any) -> th.nn.Module:
        if self._head is None:
            with th.random.fork_rng(devices=[]):
                th.manual_seed(model.seed or 0)
                self._head = th.nn.Linear(features.shape[1], self.encoder.size).to(model.device)
            self._optimizer = th.optim.Adam(self._head.parameters(), lr=self.learning_rate)
        return self._head


def _distance(predicted: th.Tensor, wanted: th.Tensor) -> th.Tensor:
    return 1.0 - th.nn.functional.cosine_similarity(predicted, wanted, dim=1).mean()
