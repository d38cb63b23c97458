"""REINFORCE on whole episodes: its gradient, its returns, and which rows an update sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import (
    Capture,
    ScriptEnv,
    ToyEnv,
    assert_same_model,
    cartpole_expert,
    largest_difference,
    parameters_of,
    script_reward,
    step_by_hand,
    watch,
)
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox, IdentityEnvMultiBinary, IdentityEnvMultiDiscrete
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import REINFORCE, presets
from nlf_sb3.algorithms.plain_reinforce import PlainREINFORCE

SGD = {"optimizer_class": th.optim.SGD, "net_arch": [8]}


def make(env, **kwargs):
    defaults = {
        "learning_rate": 0.1,
        "n_episodes": 2,
        "normalize_returns": False,
        "max_grad_norm": None,
        "seed": 0,
        "device": "cpu",
        "policy_kwargs": SGD,
    }
    return REINFORCE("MlpPolicy", env, **{**defaults, **kwargs})


def script_env(lengths_by_env, **kwargs):
    return DummyVecEnv([lambda i=i, n=n: ScriptEnv(i, n, **kwargs) for i, n in enumerate(lengths_by_env)])


def first_rollout(model, steps=1):
    capture = Capture()
    model.learn(steps, callback=capture)
    return capture.rollouts[0]


# --- the gradient --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_gradient_on_a_tiny_episode_is_the_score_function_times_the_return(reduction):
    """A softmax with only a bias: d log pi(a) / d bias = onehot(a) - pi, worked out by hand."""
    gamma = 0.5
    model = make(script_env([[3]]), n_episodes=1, gamma=gamma, learning_rate=0.05, loss_reduction=reduction)
    with th.no_grad():
        model.policy.action_net.weight.zero_()
        model.policy.action_net.bias.copy_(th.tensor([0.4, -0.2]))
    rollout = first_rollout(model)
    probabilities = np.exp([0.4, -0.2]) / np.exp([0.4, -0.2]).sum()
    rewards = [script_reward(0, 0, step) for step in range(3)]
    returns = [rewards[0] + gamma * (rewards[1] + gamma * rewards[2]), rewards[1] + gamma * rewards[2], rewards[2]]
    actions = rollout.actions.flatten().long().tolist()
    ascent = sum(G * (np.eye(2)[a] - probabilities) for G, a in zip(returns, actions, strict=True))
    if reduction == "mean":
        ascent = ascent / 3
    expected = np.array([0.4, -0.2]) + 0.05 * ascent
    assert model.policy.action_net.bias.detach().numpy() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("action", ["box", "discrete", "multidiscrete", "multibinary"])
def test_an_update_equals_a_step_by_hand_for_every_action_space(action):
    model = make(DummyVecEnv([lambda: ToyEnv(action)] * 2), n_episodes=4, learning_rate=0.05)
    rollout = first_rollout(model)
    _, log_prob, _ = rollout.policy.evaluate_actions(rollout.observations, rollout.policy_actions())
    assert step_by_hand(rollout.policy, -(rollout.returns * log_prob).mean(), None) > 0
    assert largest_difference(model.policy, rollout.policy) < 1e-6


def test_entropy_and_clipping():
    model = make(DummyVecEnv([ToyEnv] * 2), n_episodes=4, ent_coef=0.3, max_grad_norm=0.1)
    rollout = first_rollout(model)
    _, log_prob, entropy = rollout.policy.evaluate_actions(rollout.observations, rollout.actions)
    loss = -(rollout.returns * log_prob).mean() - 0.3 * entropy.mean()
    assert step_by_hand(rollout.policy, loss, 0.1) > 0.1
    assert largest_difference(model.policy, rollout.policy) < 1e-6


# --- which rows an update sees --------------------------------------------------------------------------


@pytest.mark.parametrize("n_episodes", [1, 2, 5])
@pytest.mark.parametrize("lengths", [[[3]], [[1, 4, 2], [5, 1]], [[2], [7, 3], [1]]], ids=["1 env", "2 envs", "3 envs"])
def test_every_completed_episode_is_used_once_and_rows_never_mix(lengths, n_episodes):
    model = make(script_env(lengths), n_episodes=n_episodes, gamma=0.5)
    capture = Capture()
    model.learn(120, callback=capture)
    used = set()
    for rollout in capture.rollouts:
        seen = {}
        for i, (name, episode, step) in enumerate(rollout.observations.int().tolist()):
            seen.setdefault((name, episode), []).append((step, i))
        assert len(seen) >= n_episodes, "an update takes at least n_episodes"
        assert len(seen) < n_episodes + len(lengths), "and stops as soon as it has them"
        assert not used & set(seen), "no episode is used twice"
        used |= set(seen)
        for (name, episode), rows in seen.items():
            length = lengths[name][episode % len(lengths[name])]
            assert [step for step, _ in rows] == list(range(length)), "an episode is whole and in order"
            for step, i in rows:
                expected = sum(0.5 ** (k - step) * script_reward(name, episode, k) for k in range(step, length))
                assert rollout.returns[i].item() == pytest.approx(expected, rel=1e-5)
                assert rollout.rewards[i].item() == pytest.approx(script_reward(name, episode, step), rel=1e-5)
    for name in range(len(lengths)):
        episodes = sorted(episode for owner, episode in used if owner == name)
        assert episodes == list(range(len(episodes))), "no completed episode is left out"


@pytest.mark.parametrize("stops", ["learn again", "callback"])
def test_an_episode_that_a_reset_cut_short_is_not_glued_to_the_next_one(stops):
    """learn() resets the environments: what was under way before it is no part of what comes after."""

    class StopAfterSeven(BaseCallback):
        def _on_step(self):
            return self.n_calls < 7

    model = make(script_env([[3], [5]]), n_episodes=1, gamma=0.5)
    model.learn(1, callback=StopAfterSeven() if stops == "callback" else None)
    capture = Capture()
    model.learn(60, callback=capture)
    for rollout in capture.rollouts:
        episodes = {}
        for name, episode, step in rollout.observations.int().tolist():
            episodes.setdefault((name, episode), []).append(step)
        for (name, episode), steps in episodes.items():
            assert steps == list(range([3, 5][name])), f"environment {name}, episode {episode}: {rollout.returns}"


def test_rows_keep_the_action_and_the_log_prob_of_their_own_step():
    model = make(DummyVecEnv([ToyEnv] * 3), n_episodes=4, sample_with_numpy=False)
    rollout = first_rollout(model)
    with th.no_grad():
        values, log_prob, _ = rollout.policy.evaluate_actions(rollout.observations, rollout.actions)
    assert th.allclose(log_prob, rollout.old_log_prob, atol=1e-5)
    assert th.allclose(values.flatten(), rollout.values, atol=1e-5)


@pytest.mark.parametrize(("batch_size", "expected"), [(None, [5]), (1, [1] * 5), (2, [2, 2, 1]), (9, [5])])
def test_batch_size_counts_episodes(batch_size, expected):
    batches = []

    class Batches(BaseCallback):
        def _on_step(self):
            return True

        def _on_rollout_end(self):
            for data in self.model.rollout_buffer.get(self.model.batch_size):
                batches.append([tuple(row) for row in data.observations.int().tolist()])

    model = make(script_env([[2, 4, 1, 3, 5]]), n_episodes=5, batch_size=batch_size)
    model.learn(1, callback=Batches())
    assert [len({row[:2] for row in batch}) for batch in batches] == expected
    assert sorted(row for batch in batches for row in batch) == [
        (0, e, s) for e, n in enumerate([2, 4, 1, 3, 5]) for s in range(n)
    ]


def test_batches_of_episodes_make_one_optimiser_step_each():
    model = make(DummyVecEnv([ToyEnv] * 2), n_episodes=6, batch_size=4, learning_rate=0.05)
    order = []

    class Order(Capture):
        def _on_rollout_end(self):
            super()._on_rollout_end()
            lengths = [len(episode) for episode in self.model.rollout_buffer.episodes]
            stops = np.cumsum(lengths)
            order.extend(np.arange(stop - length, stop) for stop, length in zip(stops, lengths, strict=True))

    capture = Order()
    model.learn(1, callback=capture)
    rollout = capture.rollouts[0]
    generator = np.random.RandomState()
    generator.set_state(rollout.numpy_state)
    permutation = generator.permutation(len(order))
    for start in range(0, len(order), 4):
        rows = np.concatenate([order[i] for i in permutation[start : start + 4]])
        _, log_prob, _ = rollout.policy.evaluate_actions(rollout.observations[rows], rollout.actions[rows])
        step_by_hand(rollout.policy, -(rollout.returns[rows] * log_prob).mean(), None)
    assert largest_difference(model.policy, rollout.policy) < 1e-6


# --- returns, normalisation, baseline, time limits ---------------------------------------------------------


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("sample_with_numpy", [False, True])
def test_advantages_are_returns_less_the_baseline_normalised_over_the_update(normalize, baseline, sample_with_numpy):
    model = make(
        DummyVecEnv([ToyEnv] * 2),
        n_episodes=4,
        normalize_returns=normalize,
        baseline=baseline,
        sample_with_numpy=sample_with_numpy,
    )
    rollout = first_rollout(model)
    with th.no_grad():
        values = rollout.policy.predict_values(rollout.observations).flatten().numpy()
    expected = rollout.returns.numpy() - (values if baseline else 0.0)
    if normalize:
        expected = (expected - expected.mean()) / (expected.std() + 1e-8)
    assert rollout.advantages.numpy() == pytest.approx(expected, abs=1e-4)


def test_the_baseline_learns_the_returns_and_only_with_baseline():
    for baseline in (False, True):
        model = make(DummyVecEnv([ToyEnv] * 2), n_episodes=4, baseline=baseline, vf_coef=0.25, learning_rate=0.05)
        rollout = first_rollout(model)
        before = rollout.policy.value_net.weight.detach().clone()
        values, log_prob, _ = rollout.policy.evaluate_actions(rollout.observations, rollout.actions)
        advantages = rollout.returns - (values.detach().flatten() if baseline else 0.0)
        loss = -(advantages * log_prob).mean()
        if baseline:
            loss = loss + 0.25 * ((values.flatten() - rollout.returns) ** 2).mean()
        step_by_hand(rollout.policy, loss, None)
        assert largest_difference(model.policy, rollout.policy) < 1e-6
        assert th.equal(model.policy.value_net.weight, before) != baseline


def test_returns_end_at_the_time_limit_or_go_on_with_the_states_value():
    for time_limit in ("horizon", "bootstrap"):
        env = script_env([[3]], truncates=True)
        model = make(env, n_episodes=1, time_limit=time_limit, baseline=True, gamma=0.5)
        rollout = first_rollout(model)
        with th.no_grad():
            last = rollout.policy.predict_values(th.tensor([[0.0, 0.0, 3.0]])).item()
        tail = 0.5**3 * last if time_limit == "bootstrap" else 0.0
        expected = sum(0.5**k * script_reward(0, 0, k) for k in range(3)) + tail
        assert abs(last) > 1e-3
        assert rollout.returns[0].item() == pytest.approx(expected, rel=1e-5)


def test_terminated_episodes_never_bootstrap():
    model = make(script_env([[3]]), n_episodes=1, time_limit="bootstrap", baseline=True, gamma=0.5)
    rollout = first_rollout(model)
    assert rollout.returns[2].item() == pytest.approx(script_reward(0, 0, 2), rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"time_limit": "bootstrap"}, "baseline=True"),
        ({"time_limit": "never"}, "'horizon' or 'bootstrap'"),
        ({"loss_reduction": "max"}, "'mean' or 'sum'"),
        ({"n_episodes": 0}, "n_episodes: got 0"),
        ({"batch_size": 0}, "batch_size: got 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(ToyEnv(), **settings)


# --- steps, logs and callbacks -------------------------------------------------------------------------


def test_learning_takes_the_asked_steps_and_completes_its_episodes():
    model = make(script_env([[7]]), n_episodes=2)
    model.learn(20)
    assert model.num_timesteps == 28
    assert model._n_updates == 2


def test_a_callback_can_stop_training():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.n_calls < 5

    model = make(script_env([[7]]), n_episodes=2)
    before = parameters_of(model.policy)
    model.learn(100, callback=Stop())
    assert model.num_timesteps == 5
    assert th.equal(parameters_of(model.policy), before)


def test_sb3s_names_are_logged():
    model = make(DummyVecEnv([ToyEnv] * 2), n_episodes=4, baseline=True)
    watch(model)
    model.learn(1)
    logged = model.logger.name_to_value
    for name in ("n_updates", "policy_loss", "entropy_loss", "value_loss", "explained_variance", "std", "learning_rate"):
        assert np.isfinite(logged[f"train/{name}"]), name


# --- learning ------------------------------------------------------------------------------------------


def identity(kind, n_envs=8, **kwargs):
    def one(seed):
        env = kind(ep_length=10, **kwargs)
        env.action_space.seed(seed)  # it draws its states from there, and no reset seeds it
        return env

    return DummyVecEnv([lambda seed=seed: one(seed) for seed in range(n_envs)])


@pytest.mark.parametrize("sample_with_numpy", [False, True])
@pytest.mark.parametrize(
    ("env", "steps", "bar"),
    [
        (lambda: identity(IdentityEnv, dim=4), 5_000, 9.5),  # by chance: 2.5
        (lambda: identity(IdentityEnvBox, eps=0.5), 12_000, 9),  # by chance: about 4
    ],
    ids=["discrete", "box"],
)
def test_identity_environments_are_learnt(env, steps, bar, sample_with_numpy):
    # Short-sighted: only the reward of its own step says anything about an action here.
    model = REINFORCE(
        "MlpPolicy", env(), learning_rate=0.01, gamma=0.0, seed=0, device="cpu", sample_with_numpy=sample_with_numpy
    ).learn(steps)
    mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=40, warn=False)
    assert mean >= bar


@pytest.mark.parametrize("kind", [IdentityEnvMultiDiscrete, IdentityEnvMultiBinary])
def test_other_action_spaces_train_through_the_ordinary_sampler(kind):
    env = identity(kind, dim=2)
    model = REINFORCE("MlpPolicy", env, seed=0, device="cpu", learning_rate=0.01, gamma=0.0).learn(4000)
    mean, _ = evaluate_policy(model, model.get_env(), n_eval_episodes=40, warn=False)
    assert mean >= 8  # by chance: 2.5


def test_numpy_and_torch_sample_from_the_same_policy():
    distributions = []
    for sample_with_numpy in (False, True):
        model = make(DummyVecEnv([ToyEnv] * 4), n_episodes=400, sample_with_numpy=sample_with_numpy)
        rollout = first_rollout(model)
        distribution = rollout.policy.get_distribution(rollout.observations).distribution
        z = ((rollout.actions - distribution.mean) / distribution.stddev).detach().numpy()
        assert z.mean(axis=0) == pytest.approx([0, 0], abs=0.08)
        assert z.std(axis=0) == pytest.approx([1, 1], abs=0.08)
        distributions.append(rollout.actions.numpy())
    assert not np.array_equal(distributions[0][:10], distributions[1][:10])


def test_the_numpy_sampler_follows_every_update(numpy_actors):
    model = make(DummyVecEnv([ToyEnv]), n_episodes=2)
    model.learn(100)
    observations = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    mine = numpy_actors[-1].act(observations, np.random.default_rng(0), deterministic=True)
    theirs, _ = model.policy.predict(observations, deterministic=True)
    assert np.allclose(np.clip(mine, -1, 1), theirs, atol=1e-5)


def test_the_same_seed_trains_the_same_policy():
    models = [make(DummyVecEnv([ToyEnv] * 2), seed=5).learn(300) for _ in range(2)]
    assert_same_model(*models)
    assert largest_difference(models[0].policy, make(DummyVecEnv([ToyEnv] * 2), seed=6).learn(300).policy) > 1e-4


def test_without_feedback_it_is_plain_reinforce():
    models = [
        kind("MlpPolicy", DummyVecEnv([ToyEnv] * 2), seed=5, device="cpu", **kwargs).learn(300)
        for kind, kwargs in ((REINFORCE, {"alpha": 0.0}), (PlainREINFORCE, {}))
    ]
    assert_same_model(*models)


def test_labels_at_alpha_one_change_nothing():
    models = [
        REINFORCE("MlpPolicy", "CartPole-v1", seed=5, device="cpu", **kwargs).learn(300)
        for kwargs in ({"alpha": 1.0, "expert": cartpole_expert}, {})
    ]
    assert models[0].num_expert_queries == 0, "nobody is asked for nothing"
    assert_same_model(*models)


def test_the_papers_preset_is_a_network_of_16_and_32_with_its_own_spread():
    model = REINFORCE(env=DummyVecEnv([ToyEnv]), seed=0, device="cpu", **presets.paper())
    model.learn(50)
    layers = [tuple(p.shape) for n, p in model.policy.named_parameters() if "policy_net" in n and "weight" in n]
    assert layers == [(16, 3), (32, 16)]
    assert model.policy.action_net.weight.shape == (4, 32), "a mean and a spread for each of two actions"
    assert isinstance(model.policy.optimizer, th.optim.AdamW)
    assert isinstance(model.action_space, spaces.Box)
