"""The actor of a standard MLP policy in NumPy: torch's call overhead is most of the cost of a tiny network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from nlf_sb3.policies import MIN_STD, SoftplusGaussianDistribution, SoftplusGaussianPolicy

_ZERO, _MIN_STD = np.float32(0), np.float32(MIN_STD)  # of the networks' dtype, so that nothing becomes float64
_BLOCK, _NOTHING = 512, np.empty(0, np.float32)
_Activation = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps an array, and one of its shape to write to, to the latter."""
_ACTIVATIONS: dict[type, _Activation] = {
    nn.Tanh: np.tanh,
    nn.ReLU: lambda x, out: np.maximum(x, _ZERO, out=out),
}


_ON_THE_WAY = ("forward", "extract_features", "_get_action_dist_from_latent")
"""Methods of a policy that a user may have replaced on the instance, and that this actor would pass by."""


class NumpyActor:
    """
    Samples actions of a policy without torch.

    It reads the policy's parameters in place, so that it follows every optimiser step; moving the
    policy to another device breaks that tie, and asks for a new actor.

    :param layers: Weights ``[out, in]``, biases ``[out]`` and activation (or None) of each layer
    :param family: ``"categorical"``, ``"gaussian"`` or ``"softplus"``
    :param log_std: ``[action_dim]`` for ``"gaussian"``
    """

    def __init__(
        self,
        layers: list[tuple[np.ndarray, np.ndarray, _Activation | None]],
        family: str,
        log_std: np.ndarray | None,
    ) -> None:
        self.layers = layers
        self.family = family
        self.log_std = log_std
        self._rng: np.random.Generator | None = None

    def outputs(self, observations: np.ndarray) -> np.ndarray:
        """
        :param observations: In the policy's scale, ``[n, *obs_shape]``
        :return: The network's outputs: logits, means, or means beside spreads, ``[n, n_outputs]``
        """
        if len(observations) == 1:
            return self._outputs_of_row(observations.reshape(-1).astype(np.float32))[None]
        x: np.ndarray = observations.reshape(len(observations), -1).astype(np.float32, copy=False)
        for weight, bias, activation in self.layers:
            x = x @ weight.T
            x += bias
            if activation is not None:
                activation(x, x)
        return x

    def _outputs_of_row(self, x: np.ndarray) -> np.ndarray:
        """The same for one observation, ``[n_inputs]``: products with a vector start sooner than those with a matrix."""
        for weight, bias, activation in self.layers:
            x = weight.dot(x)
            x += bias
            if activation is not None:
                activation(x, x)
        return x

    def act(self, observations: np.ndarray, rng: np.random.Generator, deterministic: bool = False) -> np.ndarray:
        """
        :param observations: In the policy's scale, ``[n, *obs_shape]``
        :param rng: Draws the samples
        :param deterministic: Return the mode
        :return: Actions as the policy proposes them: ``[n]`` integers, or ``[n, action_dim]`` floats, not clipped
        """
        outputs = self.outputs(observations)
        if self.family == "categorical":
            # Gumbel's trick: the argmax of logits plus Gumbel noise is a sample of their softmax.
            noisy = outputs if deterministic else outputs + rng.gumbel(size=outputs.shape)
            chosen: np.ndarray = noisy.argmax(axis=1)
            return chosen
        mean, std = self.mean_and_std(outputs)
        if deterministic:
            return mean
        noise = self._standard_normal(rng, mean.size).reshape(mean.shape)
        noise *= std
        noise += mean
        return noise

    def _standard_normal(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Noise that the caller may overwrite, ``[size]``; in blocks: a generator's call costs as much as many numbers."""
        if rng is not self._rng:
            self._rng, self._block, self._n_used = rng, _NOTHING, 0
        stop = self._n_used + size
        if stop > len(self._block):
            self._block, stop = rng.standard_normal(max(_BLOCK, size), dtype=np.float32), size
        self._n_used = stop
        return self._block[stop - size : stop]

    def mean_and_std(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """
        :param outputs: What :meth:`outputs` returned for a Gaussian policy
        :return: Mean ``[n, action_dim]`` and standard deviation, ``[n, action_dim]`` or ``[action_dim]``
        """
        if self.family == "gaussian":
            assert self.log_std is not None
            return outputs, np.exp(self.log_std)
        dim = outputs.shape[1] // 2
        return outputs[:, :dim], softplus_std(outputs[:, dim:])


def softplus_std(outputs: np.ndarray) -> np.ndarray:
    """
    :param outputs: What a :class:`~nlf_sb3.policies.SoftplusGaussianPolicy` puts out for its spreads, of any shape
    :return: The standard deviations, of the same shape
    """
    std: np.ndarray = np.logaddexp(outputs, _ZERO) + _MIN_STD
    return std


def numpy_actor(policy: Any) -> NumpyActor | None:
    """
    The NumPy twin of a policy's actor, for the policies whose every step is known here.

    Those are SB3's plain actor-critic MLP and :class:`~nlf_sb3.policies.SoftplusGaussianPolicy`, on the
    CPU, with flat Box observations, tanh or ReLU layers and a Gaussian (no gSDE) or categorical
    distribution.

    :param policy: Any policy
    :return: The actor, or None where the ordinary path has to be taken
    """
    if type(policy) not in (ActorCriticPolicy, SoftplusGaussianPolicy) or policy.device.type != "cpu":
        return None
    if any(name in vars(policy) for name in _ON_THE_WAY):
        return None
    if any(module._forward_hooks or module._forward_pre_hooks for module in policy.modules()):
        return None  # such as torch's weight_norm; containers may have them, too
    space = policy.observation_space
    if not isinstance(space, spaces.Box) or is_image_space(space) or type(policy.features_extractor) is not FlattenExtractor:
        return None
    families = {
        DiagGaussianDistribution: "gaussian",
        SoftplusGaussianDistribution: "softplus",
        CategoricalDistribution: "categorical",
    }
    family = families.get(type(policy.action_dist))
    layers = _layers([*policy.mlp_extractor.policy_net, policy.action_net])
    if family is None or layers is None:
        return None
    return NumpyActor(layers, family, _view(policy.log_std) if family == "gaussian" else None)


def _layers(modules: list[nn.Module]) -> list[tuple[np.ndarray, np.ndarray, Any]] | None:
    """Linear layers, each with the activation that follows it; None if anything else is among them."""
    layers: list[tuple[np.ndarray, np.ndarray, Any]] = []
    for module in modules:
        if type(module) is nn.Linear and module.bias is not None:
            layers.append((_view(module.weight), _view(module.bias), None))
        elif type(module) in _ACTIVATIONS and layers and layers[-1][2] is None:
            layers[-1] = (*layers[-1][:2], _ACTIVATIONS[type(module)])
        else:
            return None
    return layers


def _view(parameter: th.Tensor) -> np.ndarray:
    return parameter.detach().numpy()
