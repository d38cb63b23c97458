"""Rows of takeovers in every algorithm: what the buffer keeps, their advantages and weights, and the update."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import GaussianExpert, ScriptEnv, ToyEnv
from learners import ALGORITHMS, learner
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import TrajectoryInjection
from nlf_sb3.algorithms.advantages import MAX_SCALED_ADVANTAGE

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
    base = getattr(nlf_sb3, algorithm)

    class Watched(base):
        def _setup_model(self):
            super()._setup_model()
            self.settled = []

        def _train_original(self):
            self.settled.append(settled(self))
            super()._train_original()

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
