"""A causal language model as a Stable-Baselines3 policy: tokens are its actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from nlf_sb3.language.acting import ActsTokenByToken
from nlf_sb3.language.body_and_head import BodyAndHead
from nlf_sb3.language.checkpointing import enable_checkpointing
from nlf_sb3.language.contexts import TokenContexts
from nlf_sb3.language.distributions import TokenDistribution
from nlf_sb3.language.evaluating import EvaluatesTokens
from nlf_sb3.language.lora_settings import lora_settings
from nlf_sb3.language.model_checks import check_model
from nlf_sb3.language.models import TINY, load_model, model_name
from nlf_sb3.language.reference import HasReference
from nlf_sb3.language.trained_weights import KeepsTrainedWeights
from nlf_sb3.whole_numbers import check_whole_number


class CausalLMPolicy(ActsTokenByToken, EvaluatesTokens, HasReference, KeepsTrainedWeights, ActorCriticPolicy):
    """
    Any causal LM of Hugging Face's transformers as the policy of a :class:`~nlf_sb3.language.TokenLevel` environment.

    A value head, one linear layer on the last hidden state, starts at 0. Rollouts take one token at a time from a cache of
    keys and values; training makes one forward pass over each sequence of a minibatch
    (:class:`~nlf_sb3.language.TokenContexts`). Log-probabilities, imitation's included, are those of the distribution at
    ``temperature`` without ``forbidden_tokens``.

    What is saved are the weights that train, and the names by which the rest is found again.

    When a policy is made, two texts are decoded token by token and compared with one pass over each; a model for which they
    differ is refused (:mod:`~nlf_sb3.language.model_checks`).

    :param observation_space: Of a :class:`~nlf_sb3.language.TokenLevel`
    :param action_space: Likewise
    :param lr_schedule: As in SB3
    :param model: Folder, name on the hub, or ``"tiny"``: 2 layers of width 64 with random weights. An adapter's folder, as
        peft or :meth:`save_pretrained` writes it, goes on training from where it was, on the model that it names.
    :param gguf_file: Name of a GGUF file in that folder, which transformers can read with the package ``gguf``
    :param lora: Arguments of peft's ``LoraConfig``, such as ``{"r": 8}``, or one: an adapter is trained. None trains the whole
        model. For a saved adapter None, or what it has.
    :param temperature: Divides the logits
    :param top_k: Rollouts sample among the likeliest k alone; None for all. Each state's k are kept as they were when
        its action was sampled, so that probabilities in training are relative to the same k. What an expert does is judged
        by the whole distribution.
    :param forbidden_tokens: Tokens that are never sampled
    :param value_detached: Whether the value loss leaves the language model alone
    :param reference: Keep copies of the weights as they were loaded, for a KL penalty. With an adapter there is a reference in
        any case: the model without a new one, or with a saved one as it was loaded.
    :param dropout: Train with the model's dropout, if it has any. By default it is off: rollouts have none, and a policy
        gradient compares the two.
    :param gradient_checkpointing: Compute layers again in the backward pass in the place of keeping their states: less
        memory, more time, the same gradients. Switched on in ``language_model`` itself, it works too.
    :param model_seed: Of the tiny model's weights
    :param optimizer_class: As in SB3
    :param optimizer_kwargs: As in SB3
    :param use_sde: Not used
    """

    acts_by_tokens = True
    """By which an algorithm knows a policy of tokens, without importing this one."""

    def __init__(
        self,
        observation_space: spaces.Space,
        action_space: spaces.Space,
        lr_schedule: Schedule,
        *,
        model: str | Path = TINY,
        gguf_file: str | None = None,
        lora: Mapping[str, Any] | Any | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        forbidden_tokens: Iterable[int] = (),
        value_detached: bool = True,
        reference: bool = False,
        dropout: bool = False,
        gradient_checkpointing: bool = False,
        model_seed: int = 0,
        optimizer_class: type[th.optim.Optimizer] = th.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        use_sde: bool = False,
    ) -> None:
        forbidden = tuple(check_whole_number("forbidden_tokens", token, 0) for token in forbidden_tokens)
        n_tokens = _n_tokens_of(observation_space, action_space)
        _check_settings(n_tokens, forbidden, temperature)
        super(ActorCriticPolicy, self).__init__(
            observation_space,
            action_space,
            optimizer_class=optimizer_class,
            optimizer_kwargs=_with_default_eps(optimizer_class, optimizer_kwargs),
            normalize_images=False,
        )
        self._settings: dict[str, Any] = {
            "model": model_name(model),
            "gguf_file": gguf_file,
            "lora": lora_settings(lora),
            "temperature": temperature,
            "top_k": top_k,
            "forbidden_tokens": forbidden,
            "value_detached": value_detached,
            "reference": reference,
            "dropout": dropout,
            "gradient_checkpointing": gradient_checkpointing,
            "model_seed": model_seed,
        }
        self.use_sde, self.share_features_extractor = False, True
        self.n_tokens, self.forbidden_tokens = n_tokens, forbidden
        self.temperature, self.value_detached = temperature, value_detached
        self.action_dist = TokenDistribution(n_tokens)
        self._build(lr_schedule)

    def _build(self, lr_schedule: Schedule) -> None:
        settings = self._settings
        name, context_length = settings["model"], int(self.observation_space.shape[0])  # type: ignore[index]
        loaded = load_model(
            name,
            settings["lora"],
            n_tokens=self.n_tokens,
            context_length=context_length,
            gguf_file=settings["gguf_file"],
            seed=settings["model_seed"],
        )
        self.language_model = loaded.language_model
        self._parts = BodyAndHead(loaded.causal_lm)
        check_model(self.language_model, self._parts, name, self.n_tokens, context_length)
        self._build_reference(loaded, settings["reference"])
        if loaded.trains == "saved_adapter":
            self._remember_saved_adapter()
        if settings["gradient_checkpointing"]:
            enable_checkpointing(loaded.causal_lm, self._parts.body, name)
        self.value_net = nn.Linear(self._parts.hidden_size, 1)
        nn.init.zeros_(self.value_net.weight)
        nn.init.zeros_(self.value_net.bias)
        self.register_buffer("_forbidden", th.tensor(settings["forbidden_tokens"], dtype=th.long), persistent=False)
        self._build_acting(settings)
        self.optimizer = self.optimizer_class(self._trained().values(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            "observation_space": self.observation_space,
            "action_space": self.action_space,
            "lr_schedule": self._dummy_schedule,
            **self._settings,
            "optimizer_class": self.optimizer_class,
            "optimizer_kwargs": self.optimizer_kwargs,
        }

    def obs_to_tensor(self, observation: Any) -> tuple[Any, bool]:
        """
        As in SB3; contexts stay what they are.

        :param observation: Padded tokens, ``[n, context_length]`` or ``[context_length]``, or contexts
        :return: The same as the policy takes them, and whether they are several
        """
        return (observation, True) if isinstance(observation, TokenContexts) else super().obs_to_tensor(observation)


def _n_tokens_of(observation_space: spaces.Space, action_space: spaces.Space) -> int:
    is_tokens = isinstance(observation_space, spaces.Box) and np.dtype(observation_space.dtype).kind in "iu"
    if is_tokens and len(observation_space.shape or ()) == 1 and isinstance(action_space, spaces.Discrete):
        return int(action_space.n)
    raise ValueError(
        f"CausalLMPolicy: got observations of {observation_space} and actions of {action_space}, expected those of "
        "TokenLevel. Wrap the environment in it."
    )


def _check_settings(n_tokens: int, forbidden: tuple[int, ...], temperature: float) -> None:
    if not set(forbidden) <= set(range(n_tokens)):
        raise ValueError(f"forbidden_tokens: got {forbidden}, expected tokens from 0 to {n_tokens - 1}.")
    if len(set(forbidden)) == n_tokens:
        raise ValueError("forbidden_tokens: got all tokens, of which some have to be left to say.")
    if not temperature > 0:
        raise ValueError(f"temperature: got {temperature!r}, expected a number above 0. For greedy responses, predict().")


def _with_default_eps(optimizer_class: type[th.optim.Optimizer], kwargs: dict[str, Any] | None) -> dict[str, Any] | None:
    """SB3's default for Adam."""
    return {"eps": 1e-5} if kwargs is None and optimizer_class is th.optim.Adam else kwargs
