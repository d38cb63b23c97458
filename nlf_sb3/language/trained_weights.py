"""Save and load of a policy only the weights that train: the rest is found again by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch as th
from torch import nn

from nlf_sb3.errors import FeedbackError

_DIGEST = "digest_of_saved_adapter"
"""Key in a state of the adapter that training began from: the reference is made of it, and isn't saved."""


class KeepsTrainedWeights(nn.Module):
    """A module whose state is its parameters that have gradients; and of a saved adapter, which one it was."""

    language_model: Any
    _digest: th.Tensor | None = None

    def _remember_saved_adapter(self) -> None:
        """Call when one has been loaded, and before it trains."""
        sha = hashlib.sha256()
        for _, weight in sorted(self.language_model.named_parameters()):
            if weight.requires_grad:
                sha.update(weight.detach().cpu().float().numpy().tobytes())
        self._digest = th.tensor(list(sha.digest()), dtype=th.uint8)

    def _trained(self) -> dict[str, nn.Parameter]:
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    def _weights_version(self) -> int:
        """Changes whenever an optimiser, a load or anything else has written to weights."""
        if not hasattr(self, "_watched"):
            self._watched = list(self._trained().values())  # looking for them takes as long as a small model's token
        return sum(parameter._version for parameter in self._watched)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """
        As in torch, with the weights that train alone, and which saved adapter they began from.

        :param args: As in torch
        :param kwargs: As in torch
        :return: Them, by their names
        """
        trained = set(self._trained())
        prefix = kwargs.get("prefix", "")
        state = super().state_dict(*args, **kwargs)
        for name in [name for name in state if name.startswith(prefix) and name[len(prefix) :] not in trained]:
            del state[name]
        if self._digest is not None:
            state[prefix + _DIGEST] = self._digest
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """
        As in torch, with the weights that train alone.

        :param state_dict: What :meth:`state_dict` gave
        :param strict: Raise if their names aren't these
        :param assign: As in torch
        :return: As in torch
        :raises RuntimeError: If names are missing or unknown
        :raises FeedbackError: If training began from another saved adapter than the one that lies in its folder now
        """
        state_dict = dict(state_dict)
        began_from = state_dict.pop(_DIGEST, None)
        if began_from is not None and self._digest is not None and not th.equal(began_from.cpu(), self._digest):
            raise FeedbackError(
                "model: the adapter in its folder isn't the one that this training began from, and its reference would be "
                "another. Put that one back, and save trained adapters in folders of their own; or begin a new training."
            )
        trained = set(self._trained())
        missing, unknown = sorted(trained - set(state_dict)), sorted(set(state_dict) - trained)
        if strict and (missing or unknown):
            raise RuntimeError(f"CausalLMPolicy: weights missing: {missing[:5]}, unknown: {unknown[:5]}. Is lora the same?")
        return super().load_state_dict(state_dict, strict=False, assign=assign)

    def save_pretrained(self, folder: str | Path, tokenizer: Any = None) -> None:
        """
        Write what Hugging Face's libraries load: the adapter, or the whole model.

        :param folder: Where to
        :param tokenizer: Its tokenizer, Hugging Face's or a :class:`~nlf_sb3.language.HuggingFaceTokenizer`
        """
        self.language_model.save_pretrained(str(folder))
        tokenizer = getattr(tokenizer, "tokenizer", tokenizer)
        if tokenizer is not None:
            tokenizer.save_pretrained(str(folder))
