"""The pure losses against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch as th

from nlf_sb3.losses import (
    clipped_surrogate_loss,
    minibatch_imitation_loss,
    policy_gradient_loss,
    policy_shaping_weight,
)


def test_policy_gradient_loss_is_minus_advantage_times_log_prob():
    loss = policy_gradient_loss(th.tensor([-1.0, -2.0, -0.5]), th.tensor([3.0, -1.0, 0.0]))
    assert loss.tolist() == [3.0, -2.0, 0.0]


def test_policy_gradient_loss_has_the_score_function_as_its_gradient():
    log_prob = th.tensor([-1.0, -2.0], requires_grad=True)
    policy_gradient_loss(log_prob, th.tensor([3.0, -1.0])).sum().backward()
    assert log_prob.grad.tolist() == [-3.0, 1.0]


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "has_gradient"),
    [
        (1.0, 2.0, -2.0, True),
        (1.1, 2.0, -2.2, True),
        (1.5, 2.0, -2.4, False),  # clipped at 1.2
        (0.5, 2.0, -1.0, True),  # the pessimistic side is not clipped
        (0.5, -2.0, 1.6, False),  # clipped at 0.8
        (1.5, -2.0, 3.0, True),
    ],
)
def test_clipped_surrogate_takes_the_smaller_of_plain_and_clipped(ratio, advantage, expected, has_gradient):
    log_prob = th.tensor([math.log(ratio)], requires_grad=True)
    loss = clipped_surrogate_loss(log_prob, th.zeros(1), th.tensor([advantage]), 0.2)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.sum().backward()
    gradient = -advantage * ratio if has_gradient else 0.0
    assert log_prob.grad.item() == pytest.approx(gradient, rel=1e-5)


def test_imitation_loss_of_the_whole_rollout_is_the_weighted_mean_over_labelled_rows():
    divergences, weights = th.tensor([1.0, 4.0, 2.0]), th.tensor([1.0, 0.5, 2.0])
    loss = minibatch_imitation_loss(divergences, weights, n_rows=10, n_batch_rows=10, n_labelled=3)
    assert loss.item() == pytest.approx((1.0 + 2.0 + 4.0) / 3)


def test_imitation_loss_of_a_minibatch_is_scaled_by_n_over_b_m():
    loss = minibatch_imitation_loss(th.tensor([3.0]), th.tensor([2.0]), n_rows=12, n_batch_rows=4, n_labelled=5)
    assert loss.item() == pytest.approx(6.0 * 12 / (4 * 5))


def test_imitation_losses_of_equal_minibatches_average_to_the_whole_rollouts():
    divergences, weights = th.rand(6, generator=th.Generator().manual_seed(0)), th.ones(6)
    whole = minibatch_imitation_loss(divergences, weights, 12, 12, 6)
    shares = [slice(0, 1), slice(1, 6), slice(6, 6)]  # labels needn't be spread evenly
    parts = [minibatch_imitation_loss(divergences[share], weights[share], 12, 4, 6) for share in shares]
    assert th.stack(parts).mean().item() == pytest.approx(whole.item(), rel=1e-6)


def test_imitation_loss_without_labelled_rows_in_the_minibatch_is_zero():
    assert minibatch_imitation_loss(th.zeros(0), th.zeros(0), 8, 4, 2).item() == 0.0


@pytest.mark.parametrize(("probability", "expected"), [(1.0, 1 / 1.1), (0.1, 0.5), (0.001, 0.001 / 0.101)])
def test_policy_shaping_weight_is_p_over_p_plus_c(probability, expected):
    weight = policy_shaping_weight(th.tensor([math.log(probability)]))
    assert weight.item() == pytest.approx(expected, rel=1e-5)


def test_policy_shaping_weight_takes_another_offset():
    assert policy_shaping_weight(th.tensor([math.log(0.5)]), offset=0.5).item() == pytest.approx(0.5, rel=1e-6)


def test_policy_shaping_weight_vanishes_where_the_policy_cannot_go():
    weight = policy_shaping_weight(th.tensor([-1e4, -50.0]))
    assert weight[0].item() == 0.0
    assert 0.0 < weight[1].item() < 1e-20


@pytest.mark.parametrize(
    "call",
    [
        lambda: policy_gradient_loss(th.zeros(3, 1), th.zeros(3)),
        lambda: policy_gradient_loss(th.zeros(3), th.zeros(2)),
        lambda: clipped_surrogate_loss(th.zeros(3), th.zeros(3, 1), th.zeros(3), 0.2),
        lambda: minibatch_imitation_loss(th.zeros(3, 1), th.zeros(3, 1), 3, 3, 3),
        lambda: minibatch_imitation_loss(th.zeros(1), th.zeros(3), 3, 3, 3),
    ],
)
def test_shapes_that_would_broadcast_are_refused(call):
    with pytest.raises(ValueError, match="vectors of one length"):
        call()


@pytest.mark.parametrize("advantage", [2.0, -2.0])
def test_actions_that_become_likelier_than_floats_hold_leave_gradients_finite(advantage):
    log_prob = th.tensor([0.0, 0.0], requires_grad=True)
    losses = clipped_surrogate_loss(log_prob, th.tensor([-200.0, 0.1]), th.full((2,), advantage), 0.2)
    losses.sum().backward()
    assert bool(th.isfinite(losses).all())
    assert bool(th.isfinite(log_prob.grad).all())
    assert log_prob.grad[0] == 0.0
    assert log_prob.grad[1] == pytest.approx(-advantage * math.exp(-0.1))
