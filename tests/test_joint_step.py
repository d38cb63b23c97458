"""One update with labels equals a joint step written by hand: alpha L_PG + (1 - alpha) L_IL, one clip, one step."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import (
    EXPERTS,
    OBS_DIM,
    Capture,
    CategoricalExpert,
    GaussianExpert,
    ToyEnv,
    batches_of,
    largest_difference,
    parameters_of,
    sb3_terms,
    step_by_hand,
    teacher,
)
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nlf_sb3
from nlf_sb3 import REINFORCE, Demonstrations, FeedbackWrapper, Imitation
from nlf_sb3.teachers import CallableExpert

N_STEPS, N_ENVS = 16, 2
MAX_GRAD_NORM = 0.05
TOLERANCE = 1e-6

# Plain SGD: the step of Adam or RMSprop hardly depends on the gradient's size, and would hide a wrong scale.
SGD = {"optimizer_class": th.optim.SGD, "net_arch": [16]}
ALGORITHMS = {
    "A2C": {"n_steps": N_STEPS, "use_rms_prop": False},
    "PPO": {"n_steps": N_STEPS, "batch_size": N_STEPS * N_ENVS, "n_epochs": 1},
    "PPO in minibatches": {"n_steps": N_STEPS, "batch_size": 8, "n_epochs": 1},
    "PPO in uneven minibatches": {"n_steps": N_STEPS, "batch_size": 12, "n_epochs": 2},
}


def make(algorithm, env, **kwargs):
    settings = {"learning_rate": 0.3, "max_grad_norm": MAX_GRAD_NORM, "seed": 1, "device": "cpu", **ALGORITHMS[algorithm]}
    settings.update(kwargs, policy_kwargs={**SGD, **kwargs.get("policy_kwargs", {})})
    return getattr(nlf_sb3, algorithm.split()[0])("MlpPolicy", env, **settings)


def vec_env(action, **labels):
    """Two toy environments; with keyword arguments, each with a teacher."""

    def one():
        env = ToyEnv(action)
        return FeedbackWrapper(env, teacher(EXPERTS[action], **labels)) if labels else env

    return DummyVecEnv([one] * N_ENVS)


def update(model, n_rollouts=1):
    """Train on n rollouts; returns the last one as it was before its update."""
    capture = Capture()
    model.learn(N_STEPS * N_ENVS * n_rollouts, callback=capture)
    assert len(capture.rollouts) == n_rollouts
    return capture.rollouts[-1]


def as_actions(policy, actions):
    if isinstance(policy.action_space, spaces.Discrete):
        return th.as_tensor(actions).long()
    return th.as_tensor(actions, dtype=th.float32)


def negative_log_prob(policy, observations, actions, mode=False):
    """-log pi(a|s) from the policy's own network; a mode's without the standard deviation's gradient."""
    distribution = policy.get_distribution(observations)
    if not mode:
        return -distribution.log_prob(as_actions(policy, actions))
    normal = distribution.distribution
    z = (as_actions(policy, actions) - normal.mean) / normal.stddev.detach()
    return (0.5 * z**2 + th.log(normal.stddev.detach()) + 0.5 * np.log(2 * np.pi)).sum(dim=1)


def joint_step_by_hand(model, rollout, alpha, labelled, divergence, weights=None, extra=None):
    """
    :param labelled: which rows of the rollout have a label, ``[N]``
    :param divergence: maps rows to their divergences, with a graph
    :param weights: ``[N]``
    :param extra: demonstrations' (number of rows, function of the number of a minibatch's rows that gives their sum)
    """
    n, n_labelled = len(rollout), int(labelled.sum()) + (extra[0] if extra else 0)
    weights = th.ones(n) if weights is None else th.as_tensor(weights, dtype=th.float32)
    for batch in batches_of(model, rollout):
        policy_loss, other_terms = sb3_terms(model, rollout, batch)
        rows = batch[labelled[batch]]
        summed = (weights[rows] * divergence(rows)).sum() if len(rows) else th.zeros(())
        if extra:
            summed = summed + extra[1](len(batch))
        imitation = summed * n / (len(batch) * n_labelled)
        norm = step_by_hand(rollout.policy, alpha * policy_loss + (1 - alpha) * imitation + other_terms, model.max_grad_norm)
        assert norm > model.max_grad_norm, "clipping has to be active"


def of_expert(rollout, action, mode=False):
    expert = EXPERTS[action]
    labels = expert(rollout.observations.numpy())
    return lambda rows: negative_log_prob(rollout.policy, rollout.observations[rows], labels[rows], mode)


def everywhere(rollout):
    return np.ones(len(rollout), dtype=bool)


def check(model, rollout):
    assert largest_difference(model.policy, rollout.policy) < TOLERANCE


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("channel", ["wrapper", "expert"])
def test_all_rows_labelled(channel, algorithm, action, alpha):
    if channel == "wrapper":
        model = make(algorithm, vec_env(action, label="sample"), alpha=alpha)
    else:
        expert = CallableExpert(EXPERTS[action], label="sample")
        model = make(algorithm, vec_env(action), alpha=alpha, expert=expert)
    rollout = update(model)
    joint_step_by_hand(model, rollout, alpha, everywhere(rollout), of_expert(rollout, action))
    check(model, rollout)


def test_the_hand_written_step_tells_alphas_apart():
    # Otherwise the comparisons of this file would be empty.
    model = make("A2C", vec_env("box", label="sample"), alpha=0.3)
    rollout = update(model)
    joint_step_by_hand(model, rollout, 0.4, everywhere(rollout), of_expert(rollout, "box"))
    assert largest_difference(model.policy, rollout.policy) > 1e-4


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_some_rows_labelled_with_weights(algorithm, action, alpha):
    def weight(observation):
        return float(abs(observation[1]))

    model = make(algorithm, vec_env(action, labels=lambda observation: observation[0] > 0.3, weight=weight), alpha=alpha)
    rollout = update(model)
    labelled = rollout.observations[:, 0].numpy() > 0.3
    assert 3 < labelled.sum() < len(rollout) - 3
    weights = rollout.observations[:, 1].abs()
    joint_step_by_hand(model, rollout, alpha, labelled, of_expert(rollout, action), weights)
    check(model, rollout)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_expert_fills_only_the_rows_that_have_no_label_of_their_own(algorithm):
    def other(observations):
        return -EXPERTS["box"](observations)

    env = vec_env("box", labels=lambda observation: observation[0] > 0.3, weight=lambda observation: 2.0)
    model = make(algorithm, env, alpha=0.3, expert=CallableExpert(other, label="sample"))
    rollout = update(model)
    observations = rollout.observations.numpy()
    own = observations[:, 0] > 0.3
    labels = np.where(own[:, None], EXPERTS["box"](observations), other(observations))

    def divergence(rows):
        return negative_log_prob(rollout.policy, rollout.observations[rows], labels[rows])

    joint_step_by_hand(model, rollout, 0.3, everywhere(rollout), divergence, np.where(own, 2.0, 1.0))
    check(model, rollout)


# --- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("channel", ["wrapper", "expert"])
def test_mode_labels_move_the_mean_only(channel, algorithm):
    if channel == "wrapper":
        model = make(algorithm, vec_env("box", label="mode"), alpha=0.3)
    else:
        model = make(algorithm, vec_env("box"), alpha=0.3, expert=EXPERTS["box"])
    rollout = update(model)
    joint_step_by_hand(model, rollout, 0.3, everywhere(rollout), of_expert(rollout, "box", mode=True))
    check(model, rollout)


def test_mode_labels_give_the_standard_deviation_no_gradient():
    for label, moves in (("mode", False), ("sample", True)):
        model = make("A2C", vec_env("box", label=label), alpha=0.0)
        before = model.policy.log_std.clone()
        update(model)
        assert (not th.equal(model.policy.log_std, before)) == moves, label


def test_mode_labels_train_the_standard_deviation_when_asked():
    model = make("A2C", vec_env("box", label="mode"), alpha=0.3, imitation=Imitation(mode_trains_std=True))
    rollout = update(model)
    joint_step_by_hand(model, rollout, 0.3, everywhere(rollout), of_expert(rollout, "box"))
    check(model, rollout)


def test_modes_and_samples_mix_in_one_rollout():
    def either(transition):
        label = "mode" if transition.observation[0] > 0.3 else "sample"
        return nlf_sb3.Feedback(expert_action=EXPERTS["box"](transition.observation[None])[0], label=label)

    env = DummyVecEnv([lambda: FeedbackWrapper(ToyEnv(), either)] * N_ENVS)
    model = make("PPO in minibatches", env, alpha=0.3)
    rollout = update(model)
    is_mode = rollout.observations[:, 0] > 0.3

    def divergence(rows):
        of_mode, of_sample = (of_expert(rollout, "box", mode)(rows) for mode in (True, False))
        return th.where(is_mode[rows], of_mode, of_sample)

    joint_step_by_hand(model, rollout, 0.3, everywhere(rollout), divergence)
    check(model, rollout)


# --- demonstrations --------------------------------------------------------------------------------


def one_demonstration_many_times(action, n_rows, weight=1.0, label="sample"):
    """Equal rows, so that it doesn't matter which of them goes with which minibatch."""
    observations = np.tile(np.array([[0.7, -0.4, 0.2]], np.float32), (n_rows, 1))
    return Demonstrations(observations, EXPERTS[action](observations), np.full(n_rows, weight), label)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("algorithm", ["A2C", "PPO", "PPO in minibatches"])
def test_demonstrations_join_the_labelled_rows(algorithm, action, alpha, labels):
    demonstrations = one_demonstration_many_times(action, N_STEPS, weight=1.5)
    env = vec_env(action, labels=lambda observation: observation[0] > 0.3) if labels else vec_env(action)
    model = make(algorithm, env, alpha=alpha, demonstrations=demonstrations)
    rollout = update(model)
    labelled = (rollout.observations[:, 0].numpy() > 0.3) & labels
    observation = th.as_tensor(demonstrations.observations[:1])

    def summed(n_batch_rows):
        n_rows = len(demonstrations) * n_batch_rows / len(rollout)
        return n_rows * 1.5 * negative_log_prob(rollout.policy, observation, demonstrations.actions[:1]).sum()

    extra = (len(demonstrations), summed)
    joint_step_by_hand(model, rollout, alpha, labelled, of_expert(rollout, action), extra=extra)
    check(model, rollout)


def test_different_demonstrations_with_weights_and_mode_labels():
    generator = np.random.default_rng(0)
    observations = generator.normal(size=(10, OBS_DIM)).astype(np.float32)
    weights = generator.uniform(size=10)
    demonstrations = Demonstrations(observations, EXPERTS["box"](observations), weights, "mode")
    model = make("A2C", vec_env("box"), alpha=0.3, demonstrations=demonstrations)
    rollout = update(model)

    def summed(n_batch_rows):
        losses = negative_log_prob(rollout.policy, th.as_tensor(observations), demonstrations.actions, mode=True)
        return (th.as_tensor(weights, dtype=th.float32) * losses).sum()

    none = np.zeros(len(rollout), dtype=bool)
    joint_step_by_hand(model, rollout, 0.3, none, of_expert(rollout, "box"), extra=(10, summed))
    check(model, rollout)


def test_demonstrations_are_normalised_with_frozen_statistics():
    demonstrations = one_demonstration_many_times("box", 8)
    env = VecNormalize(vec_env("box"), clip_obs=1.2)
    model = make("A2C", env, alpha=0.3, demonstrations=demonstrations)
    rollout = update(model)
    mean, var = env.obs_rms.mean.copy(), env.obs_rms.var.copy()
    scaled = np.clip((demonstrations.observations[:1] - mean) / np.sqrt(var + env.epsilon), -1.2, 1.2)
    observation = th.as_tensor(scaled, dtype=th.float32)

    def summed(n_batch_rows):
        return 8 * negative_log_prob(rollout.policy, observation, demonstrations.actions[:1]).sum()

    none = np.zeros(len(rollout), dtype=bool)
    joint_step_by_hand(model, rollout, 0.3, none, of_expert(rollout, "box"), extra=(8, summed))
    check(model, rollout)
    assert np.array_equal(env.obs_rms.mean, mean)
    assert env.obs_rms.count == pytest.approx(1e-4 + N_ENVS * (N_STEPS + 1)), "demonstrations are no part of the statistics"


def test_a_rollout_draws_at_most_as_many_demonstrations_as_it_has_rows():
    model = make("A2C", vec_env("box"), alpha=0.3, demonstrations=one_demonstration_many_times("box", 100))
    rollout = update(model)
    observation = th.as_tensor(one_demonstration_many_times("box", 1).observations)
    action = EXPERTS["box"](observation.numpy())

    def summed(n_batch_rows):
        return len(rollout) * negative_log_prob(rollout.policy, observation, action).sum()

    none = np.zeros(len(rollout), dtype=bool)
    joint_step_by_hand(model, rollout, 0.3, none, of_expert(rollout, "box"), extra=(len(rollout), summed))
    check(model, rollout)


# --- the analytic KL -------------------------------------------------------------------------------


def gaussian_kl(rollout):
    """KL(expert || agent) of diagonal Gaussians, by the formula."""
    expert = GaussianExpert()
    mean = th.as_tensor(expert.mean(rollout.observations.numpy()))
    std = th.as_tensor(expert.stds)

    def divergence(rows):
        agent = rollout.policy.get_distribution(rollout.observations[rows]).distribution
        variance = agent.stddev**2
        return (th.log(agent.stddev / std) + (std**2 + (mean[rows] - agent.mean) ** 2) / (2 * variance) - 0.5).sum(dim=1)

    return divergence


def categorical_kl(rollout):
    logits = th.as_tensor(CategoricalExpert().logits(rollout.observations.numpy()), dtype=th.float32)
    expert = th.log_softmax(logits, dim=1)

    def divergence(rows):
        latent = rollout.policy.mlp_extractor.forward_actor(rollout.observations[rows])
        agent = th.log_softmax(rollout.policy.action_net(latent), dim=1)
        return (expert[rows].exp() * (expert[rows] - agent)).sum(dim=1)

    return divergence


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(
    ("action", "expert", "kl"), [("box", GaussianExpert, gaussian_kl), ("discrete", CategoricalExpert, categorical_kl)]
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_analytic_kl(algorithm, action, expert, kl, alpha):
    model = make(algorithm, vec_env(action), alpha=alpha, expert=expert(), imitation="kl")
    rollout = update(model)
    joint_step_by_hand(model, rollout, alpha, everywhere(rollout), kl(rollout))
    check(model, rollout)


def test_a_row_with_a_label_of_its_own_is_imitated_by_its_likelihood_beside_the_kl():
    env = vec_env("box", labels=lambda observation: observation[0] > 0.3, weight=lambda observation: 0.5)
    model = make("PPO in minibatches", env, alpha=0.3, expert=GaussianExpert(), imitation="kl")
    rollout = update(model)
    own = rollout.observations[:, 0] > 0.3

    def divergence(rows):
        return th.where(own[rows], of_expert(rollout, "box")(rows), gaussian_kl(rollout)(rows))

    joint_step_by_hand(model, rollout, 0.3, everywhere(rollout), divergence, th.where(own, 0.5, 1.0))
    check(model, rollout)


# --- SB3's other terms keep their coefficients -------------------------------------------------------


@pytest.mark.parametrize("settings", [{"ent_coef": 0.2}, {"vf_coef": 0.0}, {"ent_coef": 0.1, "vf_coef": 2.0}], ids=str)
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_alpha_leaves_entropy_and_value_terms_alone(alpha, algorithm, action, settings):
    model = make(algorithm, vec_env(action, label="sample"), alpha=alpha, **settings)
    rollout = update(model)
    joint_step_by_hand(model, rollout, alpha, everywhere(rollout), of_expert(rollout, action))
    check(model, rollout)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("label", ["sample", "mode"])
def test_state_dependent_exploration(label, squash, alpha, algorithm):
    model = make(
        algorithm,
        vec_env("box", label=label),
        alpha=alpha,
        use_sde=True,
        ent_coef=0.1,
        policy_kwargs={"squash_output": squash, "log_std_init": -1.0},
    )
    rollout = update(model)
    labels = EXPERTS["box"](rollout.observations.numpy())  # the Box is [-1, 1]: the policy's own scale

    def divergence(rows):
        distribution = rollout.policy.get_distribution(rollout.observations[rows])
        actions = th.as_tensor(labels[rows])
        if label == "sample":
            return -distribution.log_prob(actions)
        normal = distribution.distribution
        inner = th.atanh(actions) if squash else actions
        spread = normal.stddev.detach()
        log_prob = (-0.5 * ((inner - normal.mean) / spread) ** 2 - th.log(spread) - 0.5 * np.log(2 * np.pi)).sum(dim=1)
        if squash:
            log_prob = log_prob - th.log(1 - actions**2 + 1e-6).sum(dim=1)
        return -log_prob

    joint_step_by_hand(model, rollout, alpha, everywhere(rollout), divergence)
    check(model, rollout)


def test_labels_reach_a_squashed_policy_on_its_own_scale():
    def wide():
        env = ToyEnv(bound=4.0)
        return FeedbackWrapper(env, teacher(EXPERTS["box"]))

    model = make("A2C", DummyVecEnv([wide] * N_ENVS), alpha=0.0, use_sde=True, policy_kwargs={"squash_output": True})
    rollout = update(model)
    labels = EXPERTS["box"](rollout.observations.numpy()) / 4.0

    def divergence(rows):
        return -rollout.policy.get_distribution(rollout.observations[rows]).log_prob(th.as_tensor(labels[rows]))

    joint_step_by_hand(model, rollout, 0.0, everywhere(rollout), divergence)
    check(model, rollout)


@pytest.mark.parametrize("algorithm", ["A2C", "PPO in minibatches"])
def test_the_optimisers_moments_are_those_of_the_joint_gradient(algorithm):
    """With each algorithm's own optimiser, in the second update, when the moments have a history."""
    optimizer = {"optimizer_class": th.optim.Adam if "PPO" in algorithm else th.optim.RMSprop}
    model = make(algorithm, vec_env("box", label="sample"), alpha=0.3, learning_rate=1e-2, policy_kwargs=optimizer)
    rollout = update(model, n_rollouts=2)
    joint_step_by_hand(model, rollout, 0.3, everywhere(rollout), of_expert(rollout, "box"))
    mine = model.policy.optimizer.state_dict()["state"]
    by_hand = rollout.policy.optimizer.state_dict()["state"]
    for key, state in by_hand.items():
        for name, value in state.items():
            assert th.allclose(th.as_tensor(mine[key][name]), th.as_tensor(value), rtol=1e-3, atol=1e-8), name
    assert largest_difference(model.policy, rollout.policy) < 1e-5


@pytest.mark.parametrize("action", ["multidiscrete", "multibinary"])
def test_actions_with_several_components(action):
    def expert(observations):
        signs = (np.asarray(observations)[:, :2] > 0).astype(np.int64)
        return signs.astype(np.int8) if action == "multibinary" else signs

    env = DummyVecEnv([lambda: ToyEnv(action)] * N_ENVS)
    model = make("PPO in minibatches", env, alpha=0.3, expert=CallableExpert(expert, label="sample"))
    rollout = update(model)
    labels = th.as_tensor(expert(rollout.observations.numpy()))

    def divergence(rows):
        latent = rollout.policy.mlp_extractor.forward_actor(rollout.observations[rows])
        logits = rollout.policy.action_net(latent)
        if action == "multibinary":
            target = labels[rows].float()
            return th.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(dim=1)
        parts = zip(logits.split([3, 2], dim=1), labels[rows].T, strict=True)
        return sum(th.nn.functional.cross_entropy(part, label, reduction="none") for part, label in parts)

    joint_step_by_hand(model, rollout, 0.3, everywhere(rollout), divergence)
    check(model, rollout)


def test_dict_observations():
    class DictToy(gym.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            self.observation_space = spaces.Dict(
                {"all": env.observation_space, "first": spaces.Box(-10, 10, (1,), np.float32)}
            )

        def observation(self, observation):
            return {"all": observation, "first": observation[:1]}

    def train(env, policy, expert):
        model = nlf_sb3.A2C(
            policy, env, n_steps=N_STEPS, alpha=0.3, expert=expert, seed=1, device="cpu", policy_kwargs={"net_arch": [16]}
        )
        before = parameters_of(model.policy)
        model.learn(N_STEPS * N_ENVS)
        return model, parameters_of(model.policy) - before

    asked = []

    def of_dict(observations):
        asked.append(observations)
        return EXPERTS["box"](observations["all"])

    model, change = train(
        DummyVecEnv([lambda: DictToy(ToyEnv())] * N_ENVS), "MultiInputPolicy", CallableExpert(of_dict, label="sample")
    )
    assert change.abs().max() > 0
    assert set(asked[0]) == {"all", "first"}
    assert asked[0]["all"].shape == (N_STEPS * N_ENVS, OBS_DIM)
    assert np.array_equal(asked[0]["all"][:, :1], asked[0]["first"]), "rows of different parts stay together"
    assert model.num_expert_queries == N_STEPS * N_ENVS


def test_the_expert_is_asked_raw_observations_in_one_call():
    asked = []

    def expert(observations):
        asked.append(np.array(observations))
        return EXPERTS["box"](observations)

    recorded = [[] for _ in range(N_ENVS)]

    class Recorder(gym.ObservationWrapper):
        def __init__(self, env, index):
            super().__init__(env)
            self.index = index

        def observation(self, observation):
            recorded[self.index].append(observation)
            return observation

    env = DummyVecEnv([lambda i=i: Recorder(ToyEnv(lengths=(100, 100)), i) for i in range(N_ENVS)])
    update(make("A2C", VecNormalize(env), alpha=0.3, expert=expert))
    assert len(asked) == 1
    by_env = asked[0].reshape(N_ENVS, N_STEPS, OBS_DIM)
    for index in range(N_ENVS):
        assert np.array_equal(by_env[index], np.stack(recorded[index])[:N_STEPS])


# --- REINFORCE -------------------------------------------------------------------------------------


def reinforce(env, **kwargs):
    defaults = {
        "learning_rate": 0.3,
        "n_episodes": 5,
        "normalize_returns": False,
        "max_grad_norm": MAX_GRAD_NORM,
        "seed": 1,
        "device": "cpu",
        "policy_kwargs": SGD,
    }
    return REINFORCE("MlpPolicy", env, **{**defaults, **kwargs})


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("labels", ["all", "some"])
@pytest.mark.parametrize(
    "settings", [{}, {"baseline": True, "ent_coef": 0.1, "normalize_returns": True}], ids=["plain", "full"]
)
def test_reinforce(settings, labels, action, alpha, reduction):
    chosen = {"all": lambda observation: True, "some": lambda observation: observation[0] > 0.3}[labels]
    env = vec_env(action, labels=chosen, weight=lambda observation: float(abs(observation[1])))
    model = reinforce(env, alpha=alpha, loss_reduction=reduction, **settings)
    capture = Capture()
    model.learn(1, callback=capture)
    (rollout,) = capture.rollouts
    n = len(rollout)
    labelled = np.array([chosen(observation) for observation in rollout.observations.numpy()])
    assert labelled.any()
    weights = rollout.observations[:, 1].abs()
    values, log_prob, entropy = rollout.policy.evaluate_actions(rollout.observations, rollout.policy_actions())
    advantages = rollout.returns
    if settings:
        advantages = advantages - values.detach().flatten()
        advantages = (advantages - advantages.mean()) / (advantages.std(correction=0) + 1e-8)
    rows = np.flatnonzero(labelled)
    imitation = (weights[rows] * of_expert(rollout, action)(rows)).sum() / len(rows)
    loss = -alpha * (advantages * log_prob).mean() + (1 - alpha) * imitation
    if settings:
        loss = loss - 0.1 * entropy.mean() + 0.5 * ((values.flatten() - rollout.returns) ** 2).mean()
    if reduction == "sum":
        loss = loss * n
    norm = step_by_hand(rollout.policy, loss, MAX_GRAD_NORM)
    assert norm > MAX_GRAD_NORM
    check(model, rollout)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reinforce_without_clipping_scales_the_joint_loss_with_the_reduction(reduction):
    env = vec_env("box", labels=lambda observation: observation[0] > 0.3)
    model = reinforce(env, alpha=0.3, loss_reduction=reduction, max_grad_norm=None, learning_rate=1e-3)
    capture = Capture()
    model.learn(1, callback=capture)
    (rollout,) = capture.rollouts
    rows = np.flatnonzero(rollout.observations[:, 0].numpy() > 0.3)
    _, log_prob, _ = rollout.policy.evaluate_actions(rollout.observations, rollout.actions)
    loss = -0.3 * (rollout.returns * log_prob).mean() + 0.7 * of_expert(rollout, "box")(rows).mean()
    step_by_hand(rollout.policy, loss * (len(rollout) if reduction == "sum" else 1), None)
    check(model, rollout)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reinforce_with_the_analytic_kl_and_batches_of_episodes(reduction):
    """In a minibatch of B rows both terms are sums over B rows, or means: alpha weighs them alike."""
    model = reinforce(
        vec_env("box"),
        alpha=0.3,
        loss_reduction=reduction,
        expert=GaussianExpert(),
        imitation="kl",
        n_episodes=4,
        batch_size=2,
    )
    episodes = []

    class Episodes(Capture):
        def _on_rollout_end(self):
            super()._on_rollout_end()
            lengths = [len(episode) for episode in self.model.rollout_buffer.episodes]
            stops = np.cumsum(lengths)
            episodes.extend(np.arange(stop - length, stop) for stop, length in zip(stops, lengths, strict=True))

    capture = Episodes()
    model.learn(1, callback=capture)
    rollout = capture.rollouts[0]
    generator = np.random.RandomState()
    generator.set_state(rollout.numpy_state)
    order = generator.permutation(len(episodes))
    divergence = gaussian_kl(rollout)
    n = len(rollout)
    for start in range(0, len(episodes), 2):
        batch = np.concatenate([episodes[i] for i in order[start : start + 2]])
        _, log_prob, _ = rollout.policy.evaluate_actions(rollout.observations[batch], rollout.actions[batch])
        reduce = th.mean if reduction == "mean" else th.sum
        # All rows are labelled: the mean over the minibatch's rows estimates the rollout's mean.
        loss = -0.3 * reduce(rollout.returns[batch] * log_prob) + 0.7 * reduce(divergence(batch))
        step_by_hand(rollout.policy, loss, MAX_GRAD_NORM)
    assert n == sum(len(episode) for episode in episodes)
    check(model, rollout)
