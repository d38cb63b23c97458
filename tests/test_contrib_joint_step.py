"""One update of MaskablePPO or RecurrentPPO with labels equals a joint step by hand, from the networks' own layers."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from contrib_helpers import (
    ALL_EXPERTS,
    SGD,
    learn,
    make,
    masked_expert,
    masks_of,
    vec_env,
)
from contrib_networks import head, log_prob_of, network, ppo_terms
from helpers import CategoricalExpert, GaussianExpert, box_expert, largest_difference, step_by_hand

from nlf_sb3 import Demonstrations
from nlf_sb3.teachers import CallableExpert

TOLERANCE = 1e-6
MAX_GRAD_NORM = 0.05
N_STEPS, N_ENVS = 16, 2
STEP = {
    "n_steps": N_STEPS,
    "learning_rate": 0.3,
    "max_grad_norm": MAX_GRAD_NORM,
    "ent_coef": 0.02,
    "policy_kwargs": SGD,
}
ONE = {"batch_size": 32, "n_epochs": 1}
SEVERAL = {"batch_size": 12, "n_epochs": 2}  # the last of an epoch is shorter
NO_CRITIC_LSTM = {"policy_kwargs": {**SGD, "enable_critic_lstm": False}}
SHARED = {"policy_kwargs": {**SGD, "shared_lstm": True, "enable_critic_lstm": False}}
CASES = {
    "MaskablePPO": ("MaskablePPO", "masked", ONE),
    "MaskablePPO in minibatches": ("MaskablePPO", "masked", SEVERAL),
    "RecurrentPPO, box": ("RecurrentPPO", "box", ONE),
    "RecurrentPPO, box, in minibatches": ("RecurrentPPO", "box", SEVERAL),
    "RecurrentPPO, discrete, in minibatches": ("RecurrentPPO", "discrete", SEVERAL),
    "RecurrentPPO, critic without LSTM": ("RecurrentPPO", "box", {**SEVERAL, **NO_CRITIC_LSTM}),
    "RecurrentPPO, shared LSTM": ("RecurrentPPO", "discrete", {**SEVERAL, **SHARED}),
}
pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")


def build(case, *, labels=None, **kwargs):
    """A model; ``labels`` are the arguments of its environments' teacher."""
    algorithm, action, settings = CASES[case]
    return make(algorithm, vec_env(action, N_ENVS, **(labels or {})), **{**STEP, **settings, **kwargs})


def joint_step_by_hand(model, rollouts, alpha, divergence, labelled=None, weights=None, extra=None):
    """
    :param divergence: maps rows and the policy's distribution there to divergences
    :param labelled: which rows have a label, ``[N]``
    :param weights: ``[N]``
    :param extra: demonstrations' (number of rows, function of the number of a minibatch's rows that gives their sum)
    """
    rollout, outputs = rollouts[-1], network(model, rollouts)
    n = len(rollout)
    labelled = np.ones(n, dtype=bool) if labelled is None else labelled
    weights = th.ones(n) if weights is None else weights
    n_labelled = int(labelled.sum()) + (extra[0] if extra else 0)
    for rows in outputs.batches():
        values, distribution = outputs(rows)
        policy_loss, other_terms = ppo_terms(model, rollout, rows, values, distribution)
        counts = weights[rows] * th.as_tensor(labelled[rows])
        summed = (counts * divergence(rows, distribution)).sum()
        if extra:
            summed = summed + extra[1](len(rows))
        imitation = summed * n / (len(rows) * n_labelled)
        norm = step_by_hand(rollout.policy, alpha * policy_loss + (1 - alpha) * imitation + other_terms, model.max_grad_norm)
        assert norm > MAX_GRAD_NORM, "clipping has to be active"
    assert largest_difference(model.policy, rollout.policy) < TOLERANCE


def of_expert(rollout, expert, fixed_std=False):
    labels = expert(rollout.observations.numpy())
    return lambda rows, distribution: -log_prob_of(distribution, labels[rows], fixed_std=fixed_std)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("channel", ["wrapper", "expert"])
@pytest.mark.parametrize("case", CASES)
def test_all_rows_labelled(case, channel, alpha):
    expert = ALL_EXPERTS[CASES[case][1]]
    if channel == "wrapper":
        model = build(case, labels={"label": "sample"}, alpha=alpha)
    else:
        model = build(case, expert=CallableExpert(expert, label="sample"), alpha=alpha)
    rollouts = learn(model)
    assert 2 < rollouts[0].starts.sum() < 20, "episodes have to begin inside the batch"
    joint_step_by_hand(model, rollouts, alpha, of_expert(rollouts[0], expert))


@pytest.mark.parametrize("case", ["MaskablePPO", "RecurrentPPO, box"])
def test_the_step_by_hand_tells_alphas_and_labels_apart(case):
    # Otherwise the comparisons of this file would be empty.
    model = build(case, labels={"label": "sample"}, alpha=0.3)
    rollouts = learn(model)
    with pytest.raises(AssertionError):
        joint_step_by_hand(model, rollouts, 0.31, of_expert(rollouts[0], ALL_EXPERTS[CASES[case][1]]))
    assert largest_difference(model.policy, rollouts[0].policy) > 10 * TOLERANCE


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("case", CASES)
def test_some_rows_labelled_with_weights(case, alpha):
    labels = {"labels": lambda observation: observation[0] > 0.2, "weight": lambda observation: float(abs(observation[1]))}
    model = build(case, labels=labels, alpha=alpha)
    (rollout,) = learn(model)
    labelled = rollout.observations[:, 0].numpy() > 0.2
    assert 3 < labelled.sum() < len(rollout) - 3
    divergence = of_expert(rollout, ALL_EXPERTS[CASES[case][1]])
    joint_step_by_hand(model, [rollout], alpha, divergence, labelled, rollout.observations[:, 1].abs())


@pytest.mark.parametrize("channel", ["wrapper", "expert"])
def test_mode_labels_move_the_mean_only(channel):
    case = "RecurrentPPO, box, in minibatches"
    kwargs = {"labels": {"label": "mode"}} if channel == "wrapper" else {"expert": box_expert}
    model = build(case, alpha=0.3, **kwargs)
    (rollout,) = learn(model)
    joint_step_by_hand(model, [rollout], 0.3, of_expert(rollout, box_expert, fixed_std=True))


@pytest.mark.parametrize("case", ["RecurrentPPO, box, in minibatches", "RecurrentPPO, shared LSTM"])
def test_states_are_carried_over_from_the_rollout_before(case):
    model = build(case, labels={"label": "sample"}, alpha=0.3)
    rollouts = learn(model, 2)
    assert not rollouts[1].starts[::N_STEPS].all(), "an episode has to span both rollouts"
    joint_step_by_hand(model, rollouts, 0.3, of_expert(rollouts[1], ALL_EXPERTS[CASES[case][1]]))


# --- the analytic KL ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["RecurrentPPO, box", "RecurrentPPO, box, in minibatches"])
def test_analytic_kl_of_a_recurrent_policy(case):
    model = build(case, expert=GaussianExpert(), imitation="kl", alpha=0.3)
    (rollout,) = learn(model)
    mean, std = th.as_tensor(box_expert(rollout.observations.numpy())), th.as_tensor(GaussianExpert.stds)

    def divergence(rows, agent):
        ratio = (std**2 + (mean[rows] - agent.loc) ** 2) / (2 * agent.scale**2)
        return (th.log(agent.scale / std) + ratio - 0.5).sum(dim=1)

    joint_step_by_hand(model, [rollout], 0.3, divergence)


@pytest.mark.parametrize("case", ["MaskablePPO", "MaskablePPO in minibatches"])
def test_analytic_kl_is_over_the_choices_that_are_allowed(case):
    model = build(case, expert=CategoricalExpert(), imitation="kl", alpha=0.3)
    (rollout,) = learn(model)
    allowed = th.as_tensor(masks_of(rollout.observations))
    assert (~allowed).any()
    logits = th.as_tensor(CategoricalExpert().logits(rollout.observations.numpy())).float()
    probabilities = logits.exp() * allowed
    probabilities = probabilities / probabilities.sum(dim=1, keepdim=True)

    def divergence(rows, agent):
        terms = probabilities[rows] * (th.log(probabilities[rows]) - agent.logits)
        return th.where(allowed[rows], terms, 0.0).sum(dim=1)

    joint_step_by_hand(model, [rollout], 0.3, divergence)


# --- demonstrations, and masks that are not used -----------------------------------------------------


@pytest.mark.parametrize("with_masks", [True, False])
def test_demonstrations_are_imitated_under_their_own_masks(with_masks):
    observations = np.random.default_rng(3).normal(size=(10, 3)).astype(np.float32)
    masks = masks_of(observations)
    assert not masks.all()
    weights = np.linspace(0.5, 2.0, 10)
    demonstrations = Demonstrations(
        observations, masked_expert(observations), weights, action_masks=masks if with_masks else None
    )
    labels = {"labels": lambda observation: observation[0] > 0.2}
    model = build("MaskablePPO", labels=labels, alpha=0.3, demonstrations=demonstrations)
    (rollout,) = learn(model)

    def summed(n_batch_rows):
        policy = rollout.policy
        latent = policy.mlp_extractor.forward_actor(th.as_tensor(observations))
        agent = head(policy, latent, masks if with_masks else None)
        return -(th.as_tensor(weights).float() * log_prob_of(agent, demonstrations.actions)).sum()

    labelled = rollout.observations[:, 0].numpy() > 0.2
    joint_step_by_hand(model, [rollout], 0.3, of_expert(rollout, masked_expert), labelled, extra=(10, summed))
