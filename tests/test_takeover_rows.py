"""Rows of takeovers in every algorithm: what the buffer keeps, their advantages and weights, and the update."""

from __future__ import annotations

from dataclasses import dataclass, replace

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch as th
from helpers import (
    Capture,
    GaussianExpert,
    ScriptEnv,
    ToyEnv,
    batches_of,
    box_expert,
    largest_difference,
    step_by_hand,
    twin_of,
)
from learners import ALGORITHMS, is_finite, learner, noticing
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import Injection, TrajectoryInjection
from nlf_sb3.config import as_injection
from nlf_sb3.objectives.advantages import MAX_SCALED_ADVANTAGE
from nlf_sb3.teachers import CallableExpert

SGD = {"optimizer_class": th.optim.SGD}
STEP_ALGORITHMS = [name for name in ALGORITHMS if name != "REINFORCE"]
EXPERTS_CHOICE = 0.77


@dataclass
class Settled:
    """A rollout as train() finds it, ``[n_steps, n_envs]``, and what its policy says of it."""

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    values: np.ndarray
    log_probs: np.ndarray
    advantages: np.ndarray
    returns: np.ndarray
    executed: np.ndarray
    expert_log_probs: np.ndarray
    episode_starts: np.ndarray
    rows: np.ndarray
    log_probs_by_hand: np.ndarray
    values_by_hand: np.ndarray
    state: dict


def watched(algorithm):
    """The algorithm, which keeps every rollout right before it is trained on."""
    watched = noticing(getattr(nlf_sb3, algorithm), lambda model: model.settled.append(settled(model)))

    class Watched(watched):
        def _setup_model(self):
            super()._setup_model()
            self.settled = []

    return Watched


def settled(model):
    buffer, policy = model.rollout_buffer, model.policy
    names = ("observations", "actions", "rewards", "values", "log_probs", "advantages", "returns")
    names = (*names, "executed", "expert_log_probs", "episode_starts")
    arrays = {name: np.array(getattr(buffer, name)) for name in names}
    arrays["rows"] = buffer.row_indices()
    shape = arrays["rewards"].shape
    log_probs, values = np.zeros(shape), np.zeros(shape)
    for env in range(shape[1]):
        observations = th.as_tensor(arrays["observations"][:, env])
        actions = th.as_tensor(arrays["actions"][:, env])
        actions = actions.long().flatten() if isinstance(model.action_space, gym.spaces.Discrete) else actions
        with th.no_grad():
            if hasattr(policy, "lstm_actor"):
                zeros = tuple(th.as_tensor(states[0][:, env : env + 1]) for states in hidden_states(buffer))
                states = type(model._last_lstm_states)(zeros[:2], zeros[2:])
                starts = th.as_tensor(arrays["episode_starts"][:, env])
                v, log_prob, _ = type(policy).evaluate_actions(policy, observations, actions, states, starts)
            else:
                v, log_prob, _ = type(policy).evaluate_actions(policy, observations, actions)
        log_probs[:, env], values[:, env] = log_prob.numpy(), v.flatten().numpy()
    state = {name: value.clone() for name, value in policy.state_dict().items()}
    return Settled(**arrays, log_probs_by_hand=log_probs, values_by_hand=values, state=state)


def hidden_states(buffer):
    return buffer.hidden_states_pi, buffer.cell_states_pi, buffer.hidden_states_vf, buffer.cell_states_vf


class Executed(gym.Wrapper):
    """Writes down what the environment executed, row by row."""

    def __init__(self, env, log):
        super().__init__(env)
        self.log = log

    def step(self, action):
        self.log.append(np.array(action, copy=True))
        return self.env.step(action)


def constant(value):
    return lambda observations: np.full((len(observations), 1), value, np.float32)


def scripted(algorithm, lengths=(9, 4), truncates=False, n_envs=2, p=0.2, log=None, **kwargs):
    """Environments whose expert acts in a way that an agent would not: always 0.77, or 1."""
    action = "discrete" if algorithm == "MaskablePPO" else "box"
    expert = (lambda observations: np.ones(len(observations), np.int64)) if action == "discrete" else constant(EXPERTS_CHOICE)

    def one(index):
        inner = ScriptEnv(index, list(lengths), action, truncates)
        inner = inner if log is None else Executed(inner, log[index])
        return TrajectoryInjection(inner, expert, p, mode="takeover", **kwargs)

    masks = AllAllowed if algorithm == "MaskablePPO" else lambda env: env
    return DummyVecEnv([lambda index=index: masks(one(index)) for index in range(n_envs)])


class AllAllowed(gym.Wrapper):
    def action_masks(self):
        return np.ones(2, bool)


def trained(algorithm, env, n_rollouts=1, **kwargs):
    model = learner(algorithm, env, subclass=watched(algorithm), **kwargs)
    while len(model.settled) < n_rollouts:
        model.learn(1, reset_num_timesteps=False)
    return model


# --- what the buffer keeps ----------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", STEP_ALGORITHMS)
def test_rows_hold_what_was_executed_with_the_policy_s_own_log_probability(algorithm):
    log = [[], []]
    model = trained(algorithm, scripted(algorithm, log=log), n_rollouts=3)
    assert len(model.settled) == 3
    for n, rollout in enumerate(model.settled):
        executed_in_env = np.stack([np.stack(rows[n * 12 : (n + 1) * 12]) for rows in log], axis=1).reshape(12, 2)
        kept = rollout.actions.reshape(12, 2)
        expected = EXPERTS_CHOICE if algorithm != "MaskablePPO" else 1
        is_experts = rollout.executed
        assert is_experts.any()
        assert not is_experts.all()
        assert np.allclose(kept[is_experts], expected)
        if algorithm != "MaskablePPO":  # an agent's continuous action is never the expert's
            assert np.array_equal(is_experts, np.isclose(executed_in_env, expected))
        assert np.allclose(executed_in_env[is_experts], expected)
        # The agent's rows keep what it proposed, unclipped.
        assert np.allclose(np.clip(kept, -1, 1)[~is_experts], executed_in_env[~is_experts])
        assert rollout.log_probs == pytest.approx(rollout.log_probs_by_hand, abs=1e-5)
        assert rollout.values == pytest.approx(rollout.values_by_hand, abs=1e-5)
    in_the_midst = [rollout.executed[0] & ~rollout.episode_starts[0].astype(bool) for rollout in model.settled]
    assert np.any(in_the_midst), "no rollout began in the midst of a takeover"


def test_the_expert_s_own_log_probability_lies_beside_it():
    class Knows(GaussianExpert):
        def log_prob(self, observations, actions):
            return self.distribution(observations).log_prob(th.as_tensor(actions)).numpy()

    def one():
        return TrajectoryInjection(ToyEnv(), Knows(), 0.3, mode="takeover")

    model = trained("PPO", DummyVecEnv([one] * 2))
    (rollout,) = model.settled
    flags = rollout.executed
    expected = Knows().log_prob(rollout.observations[flags], rollout.actions[flags])
    assert rollout.expert_log_probs[flags] == pytest.approx(expected, abs=1e-5)
    assert np.isnan(rollout.expert_log_probs[~flags]).all()


def test_reinforce_keeps_episodes_that_are_under_way_with_who_acted_in_them():
    log = [[], []]
    model = trained("REINFORCE", scripted("REINFORCE", lengths=(9, 4, 17), log=log), n_rollouts=4, n_episodes=2)
    rows_seen = [[], []]
    for rollout in model.settled:
        capacity = len(rollout.rewards)
        for row in rollout.rows:
            step, env = row % capacity, row // capacity
            rows_seen[env].append((float(rollout.actions[step, env, 0]), bool(rollout.executed[step, env])))
    for rows, in_env in zip(rows_seen, log, strict=True):
        assert 10 < len(rows) <= len(in_env)
        for (action, executed), done in zip(rows, in_env, strict=False):
            assert float(np.clip(action, -1, 1)) == pytest.approx(float(done[0]))
            assert executed == (done[0] == np.float32(EXPERTS_CHOICE))
        assert any(executed for _, executed in rows)


# --- returns and advantages ---------------------------------------------------------------------------


def advantages_by_hand(model, rollout, last_obs_values, last_dones):
    """GAE in which the agent's last row before a takeover has delta alone."""
    n_steps, n_envs = rollout.rewards.shape
    gamma, decay = model.gamma, model.gamma * model.gae_lambda
    advantages = np.zeros((n_steps, n_envs))
    for env in range(n_envs):
        following = 0.0
        for t in reversed(range(n_steps)):
            last = t == n_steps - 1
            goes_on = 1.0 - (last_dones[env] if last else rollout.episode_starts[t + 1, env])
            next_value = last_obs_values[env] if last else rollout.values[t + 1, env]
            delta = rollout.rewards[t, env] + gamma * next_value * goes_on - rollout.values[t, env]
            hands_over = not last and not rollout.executed[t, env] and rollout.executed[t + 1, env]
            following = delta + decay * goes_on * (0.0 if hands_over else following)
            advantages[t, env] = following
    return advantages


class Last(BaseCallback):
    """What SB3 bootstraps from at a rollout's end."""

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        policy, self.dones = self.model.policy, self.model._last_episode_starts
        observations, starts = policy.obs_to_tensor(self.model._last_obs)[0], th.as_tensor(self.dones, dtype=th.float32)
        recurrent = (self.model._last_lstm_states.vf, starts) if hasattr(policy, "lstm_actor") else ()
        with th.no_grad():
            self.values = policy.predict_values(observations, *recurrent).flatten().numpy()


@pytest.mark.parametrize("truncates", [False, True])
@pytest.mark.parametrize("algorithm", STEP_ALGORITHMS)
def test_the_agent_s_rows_bootstrap_at_the_takeover(algorithm, truncates):
    last = Last()
    env = scripted(algorithm, truncates=truncates, n_envs=3)
    kwargs = {"injection": "plain", "gamma": 0.9, "gae_lambda": 0.8}
    model = learner(algorithm, env, subclass=watched(algorithm), **kwargs)
    model.learn(36, callback=last)
    (rollout,) = model.settled
    expected = advantages_by_hand(model, rollout, last.values, last.dones)
    assert rollout.advantages == pytest.approx(expected, abs=1e-4)
    assert rollout.returns == pytest.approx(expected + rollout.values, abs=1e-4)
    if not truncates:  # rewards as the script has them, no value added at a time limit
        observed = rollout.observations
        script = 1.0 + 0.5 * observed[..., 0] - 0.3 * observed[..., 1] + 0.1 * observed[..., 2] ** 2
        assert rollout.rewards == pytest.approx(script, abs=1e-4)


@pytest.mark.parametrize("normalizes", [False, True])
def test_bounded_rows_are_brought_onto_the_agent_s_own_scale(normalizes):
    last = Last()
    model = learner("PPO", scripted("PPO", n_envs=3), subclass=watched("PPO"), normalize_advantage=normalizes, batch_size=36)
    model.learn(36, callback=last)
    (rollout,) = model.settled
    raw = advantages_by_hand(model, rollout, last.values, last.dones)
    own = raw[~rollout.executed]
    mean, std = own.mean(), own.std(ddof=1)
    reach = MAX_SCALED_ADVANTAGE * std
    expected = np.where(rollout.executed, np.clip(raw, mean - reach, mean + reach), raw)
    expected = (expected - mean) / (std + 1e-8) if normalizes else expected
    assert rollout.advantages == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("baseline", [False, True])
def test_reinforce_s_returns_end_at_the_takeover_where_there_is_a_baseline(baseline):
    kwargs = {"normalize_returns": False, "gamma": 0.9, "injection": "plain", "baseline": baseline}
    model = trained("REINFORCE", scripted("REINFORCE", lengths=(7,), n_envs=1), n_episodes=6, **kwargs)
    (rollout,) = model.settled
    n_taken_over = 0
    for episode in range(6):
        rows = slice(episode * 7, (episode + 1) * 7)
        rewards, executed = rollout.rewards[rows, 0], rollout.executed[rows, 0]
        values = rollout.values_by_hand[rows, 0]
        expected, running = np.zeros(7), 0.0
        for t in reversed(range(7)):
            hands_over = t < 6 and not executed[t] and executed[t + 1]
            running = rewards[t] + 0.9 * (values[t + 1] if hands_over and baseline else running)
            expected[t] = running
            n_taken_over += hands_over
        assert rollout.returns[rows, 0] == pytest.approx(expected, abs=1e-4)
        own_advantages = expected - values if baseline else expected
        assert rollout.advantages[rows, 0] == pytest.approx(own_advantages, abs=1e-4)
    assert n_taken_over > 1  # several in one rollout


# --- the update ---------------------------------------------------------------------------------------


def update_by_hand(model, capture, rollout, last, expert=None):
    """One train() of A2C or PPO with takeovers, from the definitions; returns the policy after it."""
    policy, n_steps = capture.policy, len(rollout.rewards)
    executed = th.as_tensor(rollout.executed.T.flatten())
    own = ~executed
    raw = advantages_by_hand(model, rollout, last.values, last.dones)
    advantages = th.as_tensor(raw.T.flatten(), dtype=th.float32)
    returns = advantages + th.as_tensor(rollout.values.T.flatten())
    actions = th.as_tensor(rollout.actions.swapaxes(0, 1).reshape(n_steps * rollout.rewards.shape[1], -1))
    weights = th.ones(len(advantages))
    old = policy.get_distribution(capture.observations)
    if model.injection.weighting == "bounded":
        mean, std = advantages[own].mean(), advantages[own].std()
        advantages = th.where(executed, advantages.clamp(mean - 5 * std, mean + 5 * std), advantages)
        advantages = (advantages - mean) / (std + 1e-8) if model.normalize_advantage else advantages
        relative = th.exp((old.log_prob(actions) - old.log_prob(old.mode())) / actions.shape[1]).detach()
        shaped = th.where(advantages < 0, relative / (relative + 0.1), weights)
        weights = th.where(executed, shaped * model.injection.coef / executed.sum(), weights / own.sum()) * len(weights)
    old_log_prob = policy.get_distribution(capture.observations).log_prob(actions).detach()
    value_weights = len(own) * (own / own.sum() + model.injection.vf_coef / model.vf_coef * executed / executed.sum())
    for batch in map(th.as_tensor, batches_of(model, capture)):
        distribution = policy.get_distribution(capture.observations[batch])
        log_prob, wanted = distribution.log_prob(actions[batch]), advantages[batch]
        if model.injection.weighting == "plain" and model.normalize_advantage:  # as SB3 does, each minibatch by itself
            wanted = (wanted - wanted.mean()) / (wanted.std() + 1e-8)
        losses = -wanted * log_prob
        if isinstance(model, sb3.PPO):
            ratio = th.exp(log_prob - old_log_prob[batch])
            losses = -th.min(ratio * wanted, ratio.clamp(0.8, 1.2) * wanted)
        errors = (policy.predict_values(capture.observations[batch]).flatten() - returns[batch]) ** 2
        loss = model.vf_coef * (value_weights[batch] * errors).mean() - model.ent_coef * distribution.entropy().mean()
        alpha = 1.0 if expert is None else model.alpha
        loss = loss + alpha * (weights[batch] * losses).mean()
        if expert is not None:
            labels = th.as_tensor(expert(capture.observations[batch].numpy()))
            loss = loss - (1 - alpha) * policy.get_distribution(capture.observations[batch]).log_prob(labels).mean()
        step_by_hand(policy, loss, model.max_grad_norm)
    return policy


class CaptureAndLast(Capture):
    def _on_rollout_end(self):
        super()._on_rollout_end()
        Last._on_rollout_end(self)


@pytest.mark.parametrize(
    ("algorithm", "settings"),
    [
        ("A2C", {"injection": Injection("bounded", coef=0.6)}),
        ("A2C", {"injection": Injection("plain", vf_coef=0.3), "normalize_advantage": True}),
        ("PPO", {"injection": Injection("bounded", vf_coef=0.2), "batch_size": 36, "n_epochs": 1}),
        ("PPO", {"injection": Injection("bounded", coef=2.0), "batch_size": 12, "n_epochs": 2}),
        ("PPO", {"injection": "plain", "batch_size": 12, "n_epochs": 2}),
        ("PPO", {"injection": "bounded", "normalize_advantage": False, "batch_size": 12, "alpha": 0.3}),
    ],
)
def test_one_update_equals_a_hand_written_step(algorithm, settings):
    def one():
        return TrajectoryInjection(ToyEnv(bound=0.4), box_expert, 0.2, mode="takeover")

    label = CallableExpert(box_expert, label="sample") if "alpha" in settings else None
    own = {"use_rms_prop": False} if algorithm == "A2C" else {}
    model = learner(
        algorithm,
        DummyVecEnv([one] * 3),
        subclass=watched(algorithm),
        policy_kwargs=SGD,
        learning_rate=0.05,
        ent_coef=0.02,
        max_grad_norm=0.3,
        expert=label,
        **{**own, **settings},
    )
    before = twin_of(model.policy)
    callback = CaptureAndLast()
    model.learn(36, callback=callback)
    (rollout,), (capture,) = model.settled, callback.rollouts
    assert 5 < rollout.executed.sum() < 31
    by_hand = update_by_hand(model, capture, rollout, callback, None if label is None else box_expert)
    assert largest_difference(by_hand, before) > 1e-3
    assert largest_difference(model.policy, by_hand) < 1e-6


@pytest.mark.parametrize("baseline", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("injection", ["bounded", "plain"])
def test_one_update_of_reinforce_equals_a_hand_written_step(injection, reduction, baseline):
    def one():
        return TrajectoryInjection(ToyEnv(bound=0.4, lengths=(7, 7)), box_expert, 0.2, mode="takeover")

    settings = {"baseline": baseline, "loss_reduction": reduction, "injection": replace(as_injection(injection), coef=0.6)}
    model = learner(
        "REINFORCE", DummyVecEnv([one]), subclass=watched("REINFORCE"), policy_kwargs=SGD, max_grad_norm=0.5, **settings
    )
    policy = twin_of(model.policy)
    before = twin_of(model.policy)
    model.learn(1)
    (rollout,) = model.settled
    rows = rollout.rows
    executed, rewards = rollout.executed[rows, 0], rollout.rewards[rows, 0]
    observations, actions = th.as_tensor(rollout.observations[rows, 0]), th.as_tensor(rollout.actions[rows, 0])
    values = policy.predict_values(observations).flatten()
    v, returns = values.detach().numpy(), np.zeros(len(rows))
    for t in reversed(range(len(rows))):
        ends = t % 7 == 6
        hands_over = not ends and not executed[t] and executed[t + 1]
        following = 0.0 if ends else v[t + 1] if hands_over and baseline else returns[t + 1]
        returns[t] = rewards[t] + model.gamma * following
    advantages = returns - v if baseline else returns
    advantages = (advantages - advantages[~executed].mean()) / (advantages[~executed].std() + 1e-8)
    distribution = policy.get_distribution(observations)
    log_prob = distribution.log_prob(actions)
    flags, target = th.as_tensor(executed), th.as_tensor(advantages, dtype=th.float32)
    n, n_own = len(rows), int((~executed).sum())
    total = n if reduction == "sum" else 1.0
    if injection == "plain":
        loss = -(target * log_prob).mean() * total
    else:
        reach = 5 * float(advantages[~executed].std(ddof=1))
        target = th.where(flags, target.clamp(-reach, reach), target)
        relative = th.exp((log_prob - distribution.log_prob(distribution.mode())) / 2).detach()
        shaped = th.where(target < 0, relative / (relative + 0.1), th.ones(n)) * -target * log_prob
        agents = -(target * log_prob)[~flags].mean() * (n_own if reduction == "sum" else 1.0)
        loss = agents + 0.6 * shaped[flags].mean() * (n_own if reduction == "sum" else 1.0)
    if baseline:
        errors = (values - th.as_tensor(returns, dtype=th.float32)) ** 2
        loss = loss + 0.5 * errors[~flags].mean() * (n_own if reduction == "sum" else 1.0)
    step_by_hand(policy, loss, 0.5)
    assert 3 < n_own < n - 3
    assert largest_difference(policy, before) > 1e-5
    assert largest_difference(model.policy, policy) < 1e-6


def critic_parameters(state):
    return {name: value for name, value in state.items() if "value" in name or "critic" in name}


@pytest.mark.parametrize("injection", ["bounded", "plain"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_rollout_that_is_all_the_expert_s_leaves_the_critic_as_it_was(algorithm, injection):
    kwargs = {"baseline": True} if algorithm == "REINFORCE" else {}
    model = trained(algorithm, scripted(algorithm, p=1.0), injection=injection, **kwargs)
    before, after = model.settled[0].state, model.policy.state_dict()
    critic = critic_parameters(before)
    assert critic
    assert all(th.equal(after[name], value) for name, value in critic.items())
    assert any(not th.equal(after[name], value) for name, value in before.items())  # the policy learnt from it
    assert is_finite(model)


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "TRPO"])
def test_the_expert_s_rows_reach_the_critic_when_asked(algorithm):
    kwargs = {"baseline": True} if algorithm == "REINFORCE" else {}
    model = trained(algorithm, scripted(algorithm, p=1.0), injection=Injection(vf_coef=0.5), **kwargs)
    before, after = model.settled[0].state, model.policy.state_dict()
    assert any(not th.equal(after[name], value) for name, value in critic_parameters(before).items())
