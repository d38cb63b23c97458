"""The joint objective inside SB3's own train(): gradients are scaled and added where log-probabilities pass."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch as th
from stable_baselines3.common.policies import ActorCriticPolicy

from nlf_sb3.buffers.minibatches import Minibatch
from nlf_sb3.closed_forms import Cotangents
from nlf_sb3.objectives.evaluating import Evaluator
from nlf_sb3.objectives.expert_ratios import ExpertRatios

ExtraLoss = Callable[[Minibatch], Cotangents]
"""Maps a minibatch to a loss, evaluated right after the policy's forward pass on it."""
GradientObserver = Callable[[th.Tensor, th.Tensor], None]
"""Receives log-probabilities and d(policy loss)/d(log-probabilities), before the extra loss joins in."""
RowWeights = Callable[[Minibatch], tuple[th.Tensor, th.Tensor]]
"""Maps a minibatch to factors of each row's policy loss and value loss, ``[B]`` each."""


class _ScaleAndAttach(th.autograd.Function):
    """
    Identity on log-probabilities. Backward, it scales their gradient, as a whole or row by row, and sends the extra
    loss's own into the tensors that this depends on.

    One backward pass, one clipping and one optimiser step then serve the sum of both losses.
    """

    @staticmethod
    def forward(
        ctx: Any,
        log_prob: th.Tensor,
        scale: float | th.Tensor,
        observer: Any,
        gradients: tuple[th.Tensor, ...],
        *tensors: th.Tensor,
    ) -> th.Tensor:
        ctx.scale, ctx.observer, ctx.gradients = scale, observer, gradients
        return log_prob.view_as(log_prob)

    @staticmethod
    def backward(ctx: Any, grad: th.Tensor) -> tuple[th.Tensor | None, ...]:  # type: ignore[override]
        if ctx.observer is not None:
            ctx.observer(grad)
        return grad * ctx.scale, None, None, None, *ctx.gradients


@contextlib.contextmanager
def attached_loss(
    policy: ActorCriticPolicy,
    take_batch: Callable[[], Minibatch],
    extra_loss: ExtraLoss,
    scale: float,
    observer: GradientObserver | None = None,
    row_weights: RowWeights | None = None,
    expert_ratios: ExpertRatios | None = None,
) -> Iterator[None]:
    """
    While active, every gradient step that goes through ``policy.evaluate_actions`` minimises
    ``scale * policy loss + extra loss`` (entropy and value terms as they are).

    SB3's ``train()`` reaches the policy's gradients only through that method, which is replaced on the
    instance for the time being. The loss that ``train()`` logs doesn't contain the extra one.

    :param policy: The policy in training
    :param take_batch: Returns the minibatch being evaluated
    :param extra_loss: The loss to add for a minibatch
    :param scale: Factor of the policy loss's gradient
    :param observer: Sees the policy loss's gradient on the first minibatch
    :param row_weights: Factors of the policy loss's and value loss's gradients, row by row
    :param expert_ratios: Bounds the ratios of an expert's rows; None where the algorithm has no ratios, or no such rows
    :raises RuntimeError: On leaving, if ``evaluate_actions`` was never called: nothing was attached
    """
    evaluate = Evaluator(policy, policy.evaluate_actions)
    replaced_before = policy.__dict__.get("evaluate_actions")
    calls = 0

    def evaluate_and_attach(*args: Any, **kwargs: Any) -> tuple[th.Tensor, th.Tensor, th.Tensor | None]:
        nonlocal calls
        values, log_prob, entropy, distribution = evaluate(*args, **kwargs)
        batch = take_batch()
        extra = extra_loss(Minibatch(batch.rows, batch.positions, args[0], args[1], distribution))
        tensors, gradients = zip(*extra, strict=True) if extra else ((), ())
        log_prob_scale: float | th.Tensor = scale
        hook = None
        if observer is not None and calls == 0:
            inner = log_prob

            def hook(grad: th.Tensor) -> None:
                observer(inner, grad)

        if entropy is None:
            entropy = -log_prob  # SB3's own estimate, taken before alpha scales the log-probabilities
        if row_weights is not None:
            policy_weights, value_weights = (_at_positions(weights, batch, len(log_prob)) for weights in row_weights(batch))
            log_prob_scale = scale * policy_weights
            values = _ScaleAndAttach.apply(values, value_weights.reshape(values.shape), None, ())  # type: ignore[no-untyped-call]
        calls += 1
        attached = _ScaleAndAttach.apply(log_prob, log_prob_scale, hook, gradients, *tensors)  # type: ignore[no-untyped-call]
        return values, attached if expert_ratios is None else expert_ratios.bounded(attached, batch), entropy

    policy.evaluate_actions = evaluate_and_attach  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del policy.evaluate_actions
        if replaced_before is not None:
            policy.evaluate_actions = replaced_before  # type: ignore[method-assign]
    if calls == 0:
        raise RuntimeError(
            "train() never called policy.evaluate_actions, so that imitation and injection would be ignored. Is this "
            "version of Stable-Baselines3 newer than the ones that nlf_sb3 was tested with?"
        )


def _at_positions(weights: th.Tensor, batch: Minibatch, n_outputs: int) -> th.Tensor:
    """Weights of a minibatch's rows, ``[B]``, where the policy's output has them; padding doesn't train anyhow."""
    if batch.positions is None:
        return weights
    padded = weights.new_ones(n_outputs)
    padded[batch.positions] = weights
    return padded


def gradient_norms(
    log_prob: th.Tensor, policy_gradient: th.Tensor, imitation: Cotangents, parameters: list[th.nn.Parameter]
) -> tuple[float, float, float]:
    """
    Norms of the policy loss's and the imitation loss's parameter gradients, and the cosine between them.

    :param log_prob: ``[B]``, with its graph
    :param policy_gradient: d(policy loss)/d(log_prob), ``[B]``
    :param imitation: The imitation loss, by its derivatives
    :param parameters: Parameters of the policy
    :return: ``(policy norm, imitation norm, cosine)``; the cosine is 0 where a norm is
    """

    def flat(loss: Cotangents) -> th.Tensor:
        grads: Any = [None] * len(parameters)
        loss = [(tensor, gradient) for tensor, gradient in loss if tensor.requires_grad]  # a frozen spread has no graph
        if loss:
            tensors, weights = zip(*loss, strict=True)
            grads = th.autograd.grad(tensors, parameters, grad_outputs=weights, retain_graph=True, allow_unused=True)
        return th.cat([(th.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, grads, strict=True)])

    first, second = flat([(log_prob, policy_gradient)]), flat(imitation)
    norms = first.norm().item(), second.norm().item()
    cosine = (first @ second).item() / (norms[0] * norms[1]) if norms[0] * norms[1] > 0 else 0.0
    return norms[0], norms[1], cosine
