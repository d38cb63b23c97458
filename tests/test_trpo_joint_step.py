"""One TRPO update with labels equals a natural-gradient step by hand on the joint objective, in double precision."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib.trpo.trpo as contrib_trpo
import torch as th
from contrib_helpers import SGD, learn, make, vec_env
from contrib_networks import log_prob_of
from helpers import EXPERTS, largest_difference, step_by_hand
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import Demonstrations, Feedback, FeedbackWrapper, Imitation, TrajectoryInjection
from nlf_sb3.config import as_injection
from nlf_sb3.teachers import CallableExpert

TOLERANCE = 1e-6
N_ROWS = 48
SETTINGS = {
    "n_steps": 24,
    "batch_size": 16,
    "n_critic_updates": 2,
    "learning_rate": 0.1,
    "cg_max_steps": 60,
    "policy_kwargs": {**SGD, "net_arch": [4]},
}
pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")


@pytest.fixture(autouse=True)
def solves_to_more_digits(monkeypatch):
    """sb3-contrib's solver stops at a residual of 1e-5, from a random start; a comparison to 1e-6 needs more."""
    precise = functools.partial(contrib_trpo.conjugate_gradient_solver, residual_tol=1e-15)
    monkeypatch.setattr(contrib_trpo, "conjugate_gradient_solver", precise)


def build(action, *, labels=None, **kwargs):
    return make("TRPO", vec_env(action, **(labels or {})), **{**SETTINGS, **kwargs})


# --- the step by hand --------------------------------------------------------------------------------


@dataclass(eq=False)
class Rows:
    """Rows of the objective sum_t c_t pi(a_t|s_t) / pi_old(a_t|s_t)."""

    observations: th.Tensor
    actions: th.Tensor
    coefficients: th.Tensor
    fixed_std: bool = False


class Actor:
    """A policy of one hidden tanh layer as a function of one vector of parameters, in double precision."""

    def __init__(self, policy):
        self.names = [name for name, _ in policy.named_parameters() if "value" not in name]
        parameters = dict(policy.named_parameters())
        self.shapes = [parameters[name].shape for name in self.names]
        self.start = th.cat([parameters[name].detach().double().flatten() for name in self.names])

    def split(self, flat):
        parts = flat.split([shape.numel() for shape in self.shapes])
        return {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}

    def output(self, flat, observations):
        """Means or logits, ``[T, outputs]``."""
        named = self.split(flat)
        weight, bias, out_weight, out_bias = (value for name, value in named.items() if name != "log_std")
        return th.tanh(observations.double() @ weight.T + bias) @ out_weight.T + out_bias

    def distribution(self, flat, observations):
        output = self.output(flat, observations)
        if "log_std" not in self.names:
            return th.distributions.Categorical(logits=output)
        return th.distributions.Normal(output, self.split(flat)["log_std"].exp().expand_as(output))

    def log_prob(self, flat, rows):
        distribution = self.distribution(flat, rows.observations)
        if isinstance(distribution, th.distributions.Categorical):
            return log_prob_of(distribution, rows.actions)
        scale = distribution.scale.detach() if rows.fixed_std else distribution.scale
        return th.distributions.Normal(distribution.loc, scale).log_prob(rows.actions.double()).sum(dim=1)

    def fisher(self, observations):
        """
        Hessian of the KL at the old policy, from its closed form: J^T F J with F the Fisher matrix of the outputs.

        As in sb3-contrib, the KL is a mean over rows and over the dimensions of a Gaussian.
        """
        jacobian = th.autograd.functional.jacobian(lambda flat: self.output(flat, observations), self.start)
        distribution = self.distribution(self.start, observations)
        if isinstance(distribution, th.distributions.Categorical):
            p = distribution.probs
            inner = th.diag_embed(p) - p.unsqueeze(2) * p.unsqueeze(1)
            return th.einsum("tip,tij,tjq->pq", jacobian, inner, jacobian) / len(observations)
        n_outputs = distribution.loc.shape[1]
        of_means = th.einsum("tip,ti,tiq->pq", jacobian, distribution.scale**-2, jacobian) / (len(observations) * n_outputs)
        is_log_std = th.cat(
            [th.full((shape.numel(),), float(name == "log_std")) for name, shape in zip(self.names, self.shapes, strict=True)]
        )
        return of_means + th.diag(2.0 / n_outputs * is_log_std.double())

    def kl(self, flat, observations):
        new, old = (self.distribution(each, observations) for each in (flat, self.start))
        if isinstance(new, th.distributions.Categorical):
            return (new.probs * (new.logits - old.logits)).sum(dim=1).mean()
        return (th.log(old.scale / new.scale) + (new.scale**2 + (new.loc - old.loc) ** 2) / (2 * old.scale**2) - 0.5).mean()


def natural_step(model, actor, parts):
    """Parameters after one trust-region step, and whether the line search accepted one."""
    observations = th.cat([part.observations for part in parts])

    def objective(flat, of_old):
        return sum(
            (part.coefficients * th.exp(actor.log_prob(flat, part) - old)).sum()
            for part, old in zip(parts, of_old, strict=True)
        )

    flat = actor.start.clone().requires_grad_()
    of_old = [actor.log_prob(actor.start, part).detach() for part in parts]
    before = objective(flat, of_old)
    (gradient,) = th.autograd.grad(before, flat)
    curvature = actor.fisher(observations) + model.cg_damping * th.eye(len(gradient), dtype=th.float64)
    direction = th.linalg.solve(curvature, gradient)
    full_step = th.sqrt(2 * model.target_kl / (direction @ curvature @ direction)) * direction
    for attempt in range(model.line_search_max_iter):
        candidate = actor.start + model.line_search_shrinking_factor**attempt * full_step
        if actor.kl(candidate, observations) < model.target_kl and objective(candidate, of_old) > before:
            return candidate, True
    return actor.start, False


def update_by_hand(model, rollout, alpha, labels_of=None, injected=None):
    """
    Train a rollout's policy as the model has been; they have to agree.

    :param labels_of: maps indices of the rows that sub-sampling keeps to rows whose coefficients are their weights
    :param injected: further rows of the policy objective, weighted
    """
    policy, generator = rollout.policy, np.random.RandomState()
    generator.set_state(rollout.numpy_state)
    kept = generator.permutation(len(rollout))[:: model.sub_sampling_factor]
    labels = labels_of(kept) if labels_of else []
    advantages = rollout.advantages[kept]
    if model.normalize_advantage:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    scale = alpha if labels else 1.0
    parts = [Rows(rollout.observations[kept], rollout.actions[kept], scale * advantages.double() / len(kept))]
    n_labelled = sum(len(part.actions) for part in labels)
    for further, factor in ((labels, (1 - alpha) / max(n_labelled, 1)), (injected or [], scale)):
        for part in further:
            part.coefficients = factor * part.coefficients.double()
            parts.append(part)
    actor = Actor(policy)
    after, accepted = natural_step(model, actor, parts)
    for _ in range(model.n_critic_updates):
        order = generator.permutation(len(rollout))
        for start in range(0, len(rollout), model.batch_size):
            rows = order[start : start + model.batch_size]
            errors = policy.predict_values(rollout.observations[rows]).flatten() - rollout.returns[rows]
            step_by_hand(policy, (errors**2).mean(), None)
    with th.no_grad():
        for name, value in actor.split(after).items():
            dict(policy.named_parameters())[name].copy_(value)
    assert accepted == bool(model.logger.name_to_value["train/is_line_search_success"])
    assert largest_difference(model.policy, policy) < TOLERANCE
    return accepted


def label_rows(rollout, rows, action, weights=None, fixed_std=False):
    observations = rollout.observations[rows]
    labels = th.as_tensor(EXPERTS[action](observations.numpy()))
    return Rows(observations, labels, th.ones(len(rows)) if weights is None else weights[rows], fixed_std)


# --- labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sub_sampling", [1, 3])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("channel", ["wrapper", "expert"])
def test_all_rows_labelled(channel, action, alpha, sub_sampling):
    kwargs = {"labels": {"label": "sample"}}
    if channel == "expert":
        kwargs = {"expert": CallableExpert(EXPERTS[action], label="sample")}
    model = build(action, alpha=alpha, sub_sampling_factor=sub_sampling, **kwargs)
    (rollout,) = learn(model)
    assert update_by_hand(model, rollout, alpha, lambda kept: [label_rows(rollout, kept, action)])


def test_the_step_by_hand_tells_alphas_apart():
    # Otherwise the comparisons of this file would be empty.
    model = build("box", labels={"label": "sample"}, alpha=0.3)
    (rollout,) = learn(model)
    with pytest.raises(AssertionError):
        update_by_hand(model, rollout, 0.31, lambda kept: [label_rows(rollout, kept, "box")])
    assert largest_difference(model.policy, rollout.policy) > 10 * TOLERANCE


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("action", ["box", "discrete"])
def test_some_rows_labelled_with_weights(action, alpha, normalize):
    """N and M are counted after sub-sampling."""
    labels = {"labels": lambda observation: observation[0] > 0.1, "weight": lambda observation: float(abs(observation[1]))}
    model = build(action, labels=labels, alpha=alpha, sub_sampling_factor=2, normalize_advantage=normalize)
    (rollout,) = learn(model)
    labelled, weights = rollout.observations[:, 0].numpy() > 0.1, rollout.observations[:, 1].abs()
    assert 6 < labelled.sum() < N_ROWS - 6
    assert update_by_hand(model, rollout, alpha, lambda kept: [label_rows(rollout, kept[labelled[kept]], action, weights)])


def test_where_sub_sampling_leaves_no_label_the_policy_gradient_counts_in_full():
    told = []

    def once(transition):
        if told:
            return None
        told.append(transition)
        return Feedback(expert_action=EXPERTS["box"](transition.observation[None])[0])

    env = DummyVecEnv([lambda: FeedbackWrapper(vec_env("box").envs[0], once)] * 2)
    model = make("TRPO", env, alpha=0.3, **SETTINGS, sub_sampling_factor=4)
    (rollout,) = learn(model)
    labelled = np.flatnonzero(rollout.label_kinds)
    assert len(labelled) == 1

    def labels(kept):
        assert labelled[0] not in kept
        return []

    assert update_by_hand(model, rollout, 0.3, labels)


@pytest.mark.parametrize("alpha", [0.0, 0.3])
@pytest.mark.parametrize("mode_trains_std", [False, True])
def test_mode_labels_move_the_mean_only_unless_asked(mode_trains_std, alpha):
    model = build("box", expert=EXPERTS["box"], alpha=alpha, imitation=Imitation(mode_trains_std=mode_trains_std))
    (rollout,) = learn(model)
    log_std = rollout.policy.log_std.detach().clone()
    fixed = not mode_trains_std
    assert update_by_hand(model, rollout, alpha, lambda kept: [label_rows(rollout, kept, "box", fixed_std=fixed)])
    if alpha == 0.0 and fixed:
        # Means and spread have no common curvature, so that the natural gradient leaves the spread alone too.
        assert th.allclose(model.policy.log_std, log_std, atol=TOLERANCE)


def test_modes_and_samples_mix_in_one_batch():
    def either(transition):
        label = "mode" if transition.observation[0] > 0.1 else "sample"
        return Feedback(expert_action=EXPERTS["box"](transition.observation[None])[0], label=label)

    env = DummyVecEnv([lambda: FeedbackWrapper(vec_env("box").envs[0], either)] * 2)
    model = make("TRPO", env, alpha=0.3, **SETTINGS)
    (rollout,) = learn(model)
    is_mode = rollout.observations[:, 0].numpy() > 0.1

    def labels(kept):
        modes, samples = kept[is_mode[kept]], kept[~is_mode[kept]]
        return [label_rows(rollout, modes, "box", fixed_std=True), label_rows(rollout, samples, "box")]

    assert update_by_hand(model, rollout, 0.3, labels)


@pytest.mark.parametrize("labels", [None, {"labels": lambda observation: observation[0] > 0.1}], ids=["alone", "with labels"])
def test_demonstrations_join_the_labelled_rows(labels):
    observations = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    weights = np.linspace(0.5, 2.0, 10)
    demonstrations = Demonstrations(observations, EXPERTS["box"](observations), weights, "mode")
    model = build("box", labels=labels, alpha=0.3, demonstrations=demonstrations)
    (rollout,) = learn(model)
    labelled = (rollout.observations[:, 0].numpy() > 0.1) & (labels is not None)
    shown = [th.as_tensor(array) for array in (observations, demonstrations.actions, weights)]

    def rows(kept):
        return [label_rows(rollout, kept[labelled[kept]], "box"), Rows(*shown, fixed_std=True)]

    assert update_by_hand(model, rollout, 0.3, rows)


def test_a_rollout_without_feedback_is_sb3_contribs_step():
    """The step by hand is TRPO's own where nothing is imitated."""
    model = build("box", sub_sampling_factor=2)
    (rollout,) = learn(model)
    assert update_by_hand(model, rollout, 1.0)


def test_the_logged_imitation_loss_is_that_of_the_policy_before_the_step():
    model = build("box", labels={"label": "sample"}, alpha=0.3)
    (rollout,) = learn(model)
    labels = th.as_tensor(EXPERTS["box"](rollout.observations.numpy()))
    expected = -rollout.policy.get_distribution(rollout.observations).log_prob(labels).mean()
    assert model.logger.name_to_value["train/imitation_loss"] == pytest.approx(expected.item(), rel=1e-5)


# --- injected rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("injection", ["plain", "bounded"])
@pytest.mark.parametrize("alpha", [None, 0.3])
def test_injected_rows_are_rows_of_the_objective(alpha, injection):
    """And none of the critic's, whose steps on the agent's rows alone are compared here too."""
    env = DummyVecEnv([lambda: TrajectoryInjection(gym.make("NLFToyNarrowBox-v0"), EXPERTS["box"], 0.3)] * 2)
    expert = None if alpha is None else CallableExpert(EXPERTS["box"], label="sample")
    settings = {
        **SETTINGS,
        "sub_sampling_factor": 2,
        "injection": replace(as_injection(injection), coef=0.7),
        "expert": expert,
    }
    model = make("TRPO", env, alpha=0.5 if alpha is None else alpha, **settings)
    (rollout,) = learn(model)
    rows = rollout.injected
    assert len(rows) > 10
    row_weight = 0.7 / len(rows) if injection == "bounded" else 2 / N_ROWS
    further = Rows(rows.rows.observations, rows.rows.actions, row_weight * rows.weights * rows.advantages)
    labels_of = (lambda kept: [label_rows(rollout, kept, "box")]) if alpha else None
    update_by_hand(model, rollout, alpha or 1.0, labels_of, [further])
    assert largest_difference(model.policy, rollout.policy) < TOLERANCE


# --- the line search ---------------------------------------------------------------------------------


class PaidToPush(gym.Env):
    """The reward is the sum of the actions, whatever is observed."""

    observation_space = gym.spaces.Box(-10.0, 10.0, (3,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action):
        return self._observe(), float(np.sum(action)), True, False, {}

    def _observe(self):
        return self.np_random.normal(size=3).astype(np.float32)


def pulls(observations):
    return np.full((len(observations), 2), -0.8, np.float32)


def plain_surrogate(rollout, parameters):
    """sb3-contrib's own objective, mean of A pi / pi_old over the agent's rows, for an actor's parameters."""
    advantages = rollout.advantages.double()
    advantages = (advantages - advantages.mean()) / advantages.std()
    rows = Rows(rollout.observations, rollout.actions, advantages / len(advantages))
    actor = Actor(rollout.policy)
    of_old = actor.log_prob(actor.start, rows)
    return (rows.coefficients * th.exp(actor.log_prob(parameters, rows) - of_old)).sum().item()


def test_the_line_search_accepts_a_step_whose_imitation_term_opposes_the_reward():
    env = DummyVecEnv([PaidToPush] * 2)
    model = make("TRPO", env, alpha=0.1, expert=CallableExpert(pulls, label="sample"), **{**SETTINGS, "n_steps": 64})
    (rollout,) = learn(model)
    assert model.logger.name_to_value["train/is_line_search_success"] == 1
    actor, after = Actor(rollout.policy), Actor(model.policy).start
    labels = Rows(rollout.observations, th.as_tensor(pulls(rollout.observations)), th.ones(len(rollout)))
    means = [actor.output(flat, rollout.observations).mean().item() for flat in (actor.start, after)]
    assert means[1] < means[0] - 0.01, "away from what is paid, towards the expert"
    assert actor.log_prob(after, labels).mean() > actor.log_prob(actor.start, labels).mean()
    assert 0 < actor.kl(after, rollout.observations) < model.target_kl
    # By sb3-contrib's own objective the line search would have refused this step and every shorter one.
    for attempt in range(model.line_search_max_iter):
        candidate = actor.start + model.line_search_shrinking_factor**attempt * (after - actor.start)
        assert plain_surrogate(rollout, candidate) < plain_surrogate(rollout, actor.start), attempt


def test_the_reward_alone_moves_the_policy_the_other_way():
    model = make("TRPO", DummyVecEnv([PaidToPush] * 2), alpha=1.0, expert=pulls, **{**SETTINGS, "n_steps": 64})
    (rollout,) = learn(model)
    actor, after = Actor(rollout.policy), Actor(model.policy).start
    means = [actor.output(flat, rollout.observations).mean().item() for flat in (actor.start, after)]
    assert means[1] > means[0] + 0.01
    assert plain_surrogate(rollout, after) > plain_surrogate(rollout, actor.start)
