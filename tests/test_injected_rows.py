"""Injected episodes as training rows: returns, advantages, weights, and the update that they take part in."""

from __future__ import annotations

import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import (
    EXPERTS,
    Capture,
    ToyEnv,
    assert_same_model,
    batches_of,
    box_expert,
    cartpole_expert,
    discrete_expert,
    largest_difference,
    sb3_terms,
    step_by_hand,
    twin_of,
    watch,
)
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnvWrapper, VecMonitor, VecNormalize

import nlf_sb3
from nlf_sb3 import REINFORCE, ExpertSegment, FeedbackError, TrajectoryInjection
from nlf_sb3.config import as_injection
from nlf_sb3.objectives.advantages import MAX_SCALED_ADVANTAGE, AdvantageScale
from nlf_sb3.objectives.injected_rows import build_injected_rows
from nlf_sb3.objectives.policy_rows import PolicyRows
from nlf_sb3.returns import discounted_returns
from nlf_sb3.teachers import CallableExpert

SGD = {"optimizer_class": th.optim.SGD, "net_arch": [16]}
ENV_IDS = {"box": "NLFToyNarrowBox-v0", "discrete": "NLFToyDiscrete-v0"}
BOUND = 0.4


def injected_env(action="box", n_envs=2, fork_probability=0.3, **kwargs):
    def one():
        return TrajectoryInjection(gym.make(ENV_IDS[action]), EXPERTS[action], fork_probability, **kwargs)

    return DummyVecEnv([one] * n_envs)


def make(algorithm, env, **kwargs):
    defaults = {"n_steps": 32, "learning_rate": 0.1, "max_grad_norm": 0.05, "seed": 2, "device": "cpu", "policy_kwargs": SGD}
    own = {"A2C": {"use_rms_prop": False}, "PPO": {"batch_size": 64, "n_epochs": 1}}[algorithm]
    return getattr(nlf_sb3, algorithm)("MlpPolicy", env, **{**defaults, **own, **kwargs})


class Proposals(Capture):
    """Besides rollouts, each finished episode's raw observations and the actions that the policy proposed."""

    def __init__(self):
        super().__init__()
        self.episodes = {}
        self.current = None

    def _on_step(self):
        n_envs = self.training_env.num_envs
        if self.current is None:
            self.current = [([], []) for _ in range(n_envs)]
        for env in range(n_envs):
            observations, actions = self.current[env]
            observations.append(np.array(self.model._last_obs[env]))
            actions.append(np.array(self.locals["actions"][env]))
            if self.locals["dones"][env]:
                self.episodes[observations[0].tobytes()] = (np.stack(observations), np.stack(actions))
                self.current[env] = ([], [])
        return True


def learn(model, n_rollouts=1):
    capture = Proposals()
    model.learn(model.n_steps * model.n_envs * n_rollouts, callback=capture)
    assert len(capture.rollouts) == n_rollouts
    return capture


def build(policy, env, segments, **kwargs):
    settings = {
        "make_rows": lambda observations, actions, starts, masks: PolicyRows(policy, observations, actions),
        "gamma": 0.9,
        "agents_advantages": AdvantageScale(0.0, 1.0, normalises=False),
        "use_critic": True,
        "bootstrap_at_time_limit": True,
        "bounded": False,
    }
    return build_injected_rows(policy, env, segments, **{**settings, **kwargs})


# --- returns, advantages and weights -----------------------------------------------------------------


def three_steps(terminated, truncated):
    observations = np.array([[0.1, 0.2, 0.3], [1.0, 0.0, -1.0], [0.5, 0.5, 0.5]], np.float32)
    actions = np.array([[0.1, -0.1], [0.2, 0.3], [-0.4, 0.4]], np.float32)
    last = np.array([0.9, -0.9, 0.0], np.float32)
    return ExpertSegment(observations, actions, np.array([1.0, 2.0, 4.0]), terminated, truncated, last, fork_step=0)


@pytest.fixture
def plain_model():
    return nlf_sb3.PPO("MlpPolicy", DummyVecEnv([lambda: ToyEnv(bound=BOUND)]), seed=0, device="cpu")


def value(policy, observations):
    with th.no_grad():
        return policy.predict_values(th.as_tensor(observations)).flatten().numpy()


@pytest.mark.parametrize(
    ("terminated", "truncated", "use_critic", "at_limit", "bootstraps"),
    [
        (True, False, True, True, False),
        (False, True, True, True, True),  # a time limit
        (False, False, True, True, True),  # cut by max_segment_steps
        (True, True, True, True, False),
        (False, True, True, False, False),  # returns end at the time limit
        (False, False, True, False, True),  # but not at a cut
        (False, True, False, True, False),  # no critic
    ],
)
def test_returns_start_from_zero_or_from_the_last_states_value(
    plain_model, terminated, truncated, use_critic, at_limit, bootstraps
):
    segment = three_steps(terminated, truncated)
    rows = build(
        plain_model.policy,
        plain_model.get_env(),
        [(segment, [])],
        use_critic=use_critic,
        bootstrap_at_time_limit=at_limit,
    )
    last = float(value(plain_model.policy, segment.last_observation[None])[0]) if bootstraps else 0.0
    expected = [
        1 + 0.9 * 2 + 0.81 * 4 + 0.729 * last,
        2 + 0.9 * 4 + 0.81 * last,
        4 + 0.9 * last,
    ]
    assert rows.returns.tolist() == pytest.approx(expected, rel=1e-5)
    values = value(plain_model.policy, segment.observations) if use_critic else np.zeros(3)
    assert rows.advantages.numpy() == pytest.approx(np.array(expected) - values, rel=1e-5)
    assert rows.weights.tolist() == [1, 1, 1]


def test_a_cut_episode_needs_a_value_function(plain_model):
    with pytest.raises(FeedbackError, match=r"cut by max_segment_steps.*baseline=True"):
        build(plain_model.policy, plain_model.get_env(), [(three_steps(False, False), [])], use_critic=False)


def test_advantages_are_mapped_with_the_agents_statistics(plain_model):
    segment = three_steps(True, False)
    rows = build(
        plain_model.policy, plain_model.get_env(), [(segment, [])], agents_advantages=AdvantageScale(2.0, 4.0, normalises=True)
    )
    raw = np.array([6.04, 5.6, 4.0]) - value(plain_model.policy, segment.observations)
    assert rows.advantages.numpy() == pytest.approx((raw - 2.0) / 4.0, rel=1e-5)
    assert rows.returns.tolist() == pytest.approx([6.04, 5.6, 4.0])


def test_plain_advantages_have_no_bound(plain_model):
    scale = AdvantageScale(0.0, 1e-3, normalises=True)
    rows = build(plain_model.policy, plain_model.get_env(), [(three_steps(True, False), [])], agents_advantages=scale)
    assert rows.advantages.min().item() > 1000


def test_bounded_rows_that_did_badly_count_by_how_likely_their_actions_are(plain_model):
    policy = plain_model.policy
    with th.no_grad():
        policy.log_std.fill_(np.log(0.2))
    segment = three_steps(True, False)
    raw = np.array([6.04, 5.6, 4.0]) - value(policy, segment.observations)
    statistics = (float(raw[1]) + 0.1, 0.2)  # row 0 did well, rows 1 and 2 badly
    scale = AdvantageScale(*statistics, normalises=True)
    rows = build(policy, plain_model.get_env(), [(segment, [])], bounded=True, agents_advantages=scale)
    mean = policy.get_distribution(th.as_tensor(segment.observations)).mode().detach().numpy()
    relative = np.exp(-0.5 * (((segment.actions - mean) / 0.2) ** 2).mean(axis=1))  # the dimensions' geometric mean
    expected = [1.0, relative[1] / (relative[1] + 0.1), relative[2] / (relative[2] + 0.1)]
    assert rows.weights.tolist() == pytest.approx(expected, rel=1e-4)
    scaled = (raw - statistics[0]) / 0.2
    assert scaled[2] < -MAX_SCALED_ADVANTAGE
    assert rows.advantages.tolist() == pytest.approx([min(scaled[0], 5.0), scaled[1], -5.0], rel=1e-4)


def test_bounded_advantages_keep_their_scale_where_the_agents_are_not_normalised(plain_model):
    segment = ExpertSegment(
        np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32), np.array([100.0]), True, False, np.zeros(3, np.float32), 0
    )
    scale = AdvantageScale(1.0, 6.0, normalises=False)
    rows = build(plain_model.policy, plain_model.get_env(), [(segment, [])], bounded=True, agents_advantages=scale)
    assert rows.advantages.item() == pytest.approx(1 + 5 * 6)


@pytest.mark.parametrize("bounded", [True, False])
def test_a_rollout_without_any_spread_lends_no_scale(plain_model, bounded):
    scale = AdvantageScale(0.0, 0.0, normalises=True)
    segment = (three_steps(True, False), [])
    rows = build(plain_model.policy, plain_model.get_env(), [segment], bounded=bounded, agents_advantages=scale)
    assert rows.advantages.abs().max().item() < 10


def test_rows_of_the_shared_prefix_are_the_agents_own_and_count_in_full(plain_model):
    segment = replace(three_steps(True, False), fork_step=2)
    scale = AdvantageScale(1000.0, 1.0, normalises=True)  # every row did badly
    prefix = list(segment.actions[:2])
    rows = build(plain_model.policy, plain_model.get_env(), [(segment, prefix)], bounded=True, agents_advantages=scale)
    assert rows.weights[:2].tolist() == [1.0, 1.0]
    assert rows.weights[2].item() < 1.0


def test_rows_of_several_episodes_follow_one_another(plain_model):
    segments = [(three_steps(True, False), []), (three_steps(False, True), []), (three_steps(True, False), [])]
    rows = build(plain_model.policy, plain_model.get_env(), segments)
    one_by_one = [build(plain_model.policy, plain_model.get_env(), [segment]) for segment in segments]
    for name in ("observations", "actions"):
        assert th.equal(getattr(rows.rows, name), th.cat([getattr(part.rows, name) for part in one_by_one])), name
    for name in ("old_log_prob", "advantages", "returns", "weights"):
        assert th.allclose(getattr(rows, name), th.cat([getattr(part, name) for part in one_by_one]), atol=1e-6), name
    assert len(rows) == 9


# --- the prefix ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "n_steps", "n_rollouts"), [("PPO", 64, 1), ("A2C", 5, 60)])
def test_prefix_actions_are_those_the_policy_proposed_unclipped(algorithm, n_steps, n_rollouts):
    model = make(algorithm, injected_env(fork_probability=0.15), n_steps=n_steps)
    capture = learn(model, n_rollouts)
    segments = [segment for rollout in capture.rollouts for segment in rollout.segments]
    assert len(segments) > 5
    outside = spanning = 0
    for segment, prefix in segments:
        observations, proposed = capture.episodes[segment.observations[0].tobytes()]
        assert len(prefix) == segment.fork_step
        spanning += segment.fork_step > n_steps
        for step in range(segment.fork_step):
            assert np.array_equal(segment.observations[step], observations[step])
            assert np.array_equal(prefix[step].reshape(proposed[step].shape), proposed[step])
            assert np.array_equal(segment.actions[step], np.clip(proposed[step], -BOUND, BOUND))
            outside += bool((np.abs(prefix[step]) > BOUND).any())
        expert_rows = slice(segment.fork_step, None)
        assert np.allclose(segment.actions[expert_rows], box_expert(segment.observations[expert_rows]), atol=1e-6)
    assert outside > 3, "many proposed actions have to be outside the bounds"
    assert spanning or algorithm == "PPO", "prefixes have to be longer than a rollout of A2C"


@pytest.mark.parametrize("action", ["box", "discrete"])
def test_ppos_first_ratio_is_one_on_every_injected_row(action):
    model = make("PPO", injected_env(action, n_envs=3))
    capture = learn(model)
    (rollout,) = capture.rollouts
    rows = build(rollout.policy, model.get_env(), rollout.segments, gamma=model.gamma)
    collected = {}
    for observation, log_prob in zip(rollout.observations.numpy(), rollout.old_log_prob.tolist(), strict=True):
        collected[observation.tobytes()] = log_prob
    _, log_prob, _ = rollout.policy.evaluate_actions(rows.rows.observations, rows.rows.actions)
    assert (th.exp(log_prob - rows.old_log_prob) - 1).abs().max().item() < 1e-5
    start, prefix_rows = 0, 0
    for segment, _ in rollout.segments:
        for step in range(segment.fork_step):
            at_collection = collected[segment.observations[step].tobytes()]
            assert np.exp(log_prob[start + step].item() - at_collection) == pytest.approx(1.0, abs=1e-5)
            prefix_rows += 1
        start += len(segment)
    assert prefix_rows > 5
    if action == "box":
        assert (rows.rows.actions.abs() > BOUND + 1e-6).any()


def test_the_prefix_is_credited_with_what_the_expert_made_of_it():
    model = make("PPO", injected_env())
    (rollout,) = learn(model).rollouts
    rows = build(rollout.policy, model.get_env(), rollout.segments, gamma=0.9)
    start = 0
    for segment, _ in rollout.segments:
        last = 0.0 if segment.terminated else float(value(rollout.policy, segment.last_observation[None])[0])
        total = sum(0.9**t * r for t, r in enumerate(segment.rewards)) + 0.9 ** len(segment) * last
        assert rows.returns[start].item() == pytest.approx(total, rel=1e-4, abs=1e-5)
        start += len(segment)
    assert start == len(rows)


def test_an_expert_part_that_is_cut_bootstraps():
    model = make("PPO", injected_env(max_segment_steps=2))
    (rollout,) = learn(model).rollouts
    cut = [(s, p) for s, p in rollout.segments if not s.terminated and not s.truncated]
    assert cut
    rows = build(rollout.policy, model.get_env(), cut[:1], gamma=0.9)
    segment = cut[0][0]
    assert len(segment) == segment.fork_step + 2
    last = float(value(rollout.policy, segment.last_observation[None])[0])
    assert rows.returns[-1].item() == pytest.approx(segment.rewards[-1] + 0.9 * last, rel=1e-4)


def test_injection_spans_short_rollouts():
    model = make("A2C", injected_env(n_envs=1), n_steps=5)
    records = watch(model)
    capture = Proposals()
    model.learn(400, callback=capture, log_interval=1)
    injected = [rollout for rollout in capture.rollouts if rollout.segments]
    assert len(injected) > 5
    assert any(segment.fork_step > 5 for rollout in injected for segment, _ in rollout.segments)
    counts = [dump["injection/segments"] for dump in records.dumps if "injection/segments" in dump]
    last = [model.logger.name_to_value["injection/segments"]] if "injection/segments" in model.logger.name_to_value else []
    used = np.cumsum([len(rollout.segments) for rollout in injected])
    assert counts + last == used.tolist(), "a segment is used in one update only"


# --- normalisation and vectorisation -----------------------------------------------------------------


def test_observations_and_returns_are_normalised_with_frozen_statistics():
    env = VecNormalize(injected_env(), clip_obs=1.5, clip_reward=0.8, gamma=0.95)
    model = make("PPO", env, gamma=0.95)
    (rollout,) = learn(model).rollouts
    mean, var, count = env.obs_rms.mean.copy(), env.obs_rms.var.copy(), env.obs_rms.count
    return_var, return_count = env.ret_rms.var.copy(), env.ret_rms.count
    rows = build(rollout.policy, model.get_env(), rollout.segments, gamma=0.95)
    raw = np.concatenate([segment.observations for segment, _ in rollout.segments]).astype(np.float64)
    expected = np.clip((raw - mean) / np.sqrt(var + 1e-8), -1.5, 1.5)
    assert (np.abs(expected) == 1.5).any()
    assert rows.rows.observations.numpy() == pytest.approx(expected, abs=1e-5)
    returns = []
    for segment, _ in rollout.segments:
        rewards = np.clip(segment.rewards / np.sqrt(return_var + 1e-8), -0.8, 0.8)
        last_observation = np.clip((segment.last_observation - mean) / np.sqrt(var + 1e-8), -1.5, 1.5)
        last = float(value(rollout.policy, last_observation[None].astype(np.float32))[0])
        returns.append(discounted_returns(rewards, 0.95, 0.0 if segment.terminated else last))
    assert rows.returns.numpy() == pytest.approx(np.concatenate(returns), abs=1e-4)
    assert np.array_equal(env.obs_rms.mean, mean)
    assert np.array_equal(env.obs_rms.var, var)
    assert np.array_equal(env.ret_rms.var, return_var)
    assert (env.obs_rms.count, env.ret_rms.count) == (count, return_count)


def test_injection_adds_nothing_to_the_statistics_of_a_normalised_environment():
    n_steps, n_envs = 64, 2
    env = VecNormalize(injected_env(n_envs=n_envs))
    learn(make("PPO", env, n_steps=n_steps))
    assert env.obs_rms.count == pytest.approx(1e-4 + n_envs * (n_steps + 1))
    assert env.ret_rms.count == pytest.approx(1e-4 + n_envs * n_steps)


def narrow_box():
    return TrajectoryInjection(gym.make("NLFToyNarrowBox-v0"), box_expert, 0.3)


def test_worker_processes_inject_what_one_process_injects():
    models = []
    for vec_env in (DummyVecEnv([narrow_box] * 2), SubprocVecEnv([narrow_box] * 2, start_method="fork")):
        model = make("PPO", vec_env)
        model.learn(128)
        models.append(model)
        vec_env.close()
    assert models[0].num_expert_steps == models[1].num_expert_steps > 0
    assert_same_model(*models)


def test_wrappers_that_leave_observations_alone_are_fine():
    model = make("PPO", VecMonitor(injected_env()))
    assert learn(model).rollouts[0].segments


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_wrappers_that_are_not_known_are_refused_by_name(algorithm):
    class Doubled(VecEnvWrapper):
        def reset(self):
            return 2 * self.venv.reset()

        def step_wait(self):
            observations, rewards, dones, infos = self.venv.step_wait()
            return 2 * observations, rewards, dones, infos

    model = make(algorithm, Doubled(injected_env()))
    with pytest.raises(FeedbackError, match="Doubled changes observations"):
        model.learn(128)


def test_dict_observations_are_injected():
    class DictToy(gym.ObservationWrapper):
        def __init__(self, env):
            super().__init__(env)
            self.observation_space = spaces.Dict({"all": env.observation_space})

        def observation(self, observation):
            return {"all": observation}

    def twin():
        return DictToy(ToyEnv(bound=BOUND))

    def one():
        return TrajectoryInjection(twin(), lambda obs: box_expert(obs["all"]), 0.3, twin=twin)

    models = []
    for policy, env in (("MultiInputPolicy", DummyVecEnv([one] * 2)), ("MlpPolicy", DummyVecEnv([narrow_box] * 2))):
        model = nlf_sb3.PPO(policy, env, n_steps=32, batch_size=64, seed=2, device="cpu")
        model.learn(64)
        models.append(model)
    assert models[0].num_expert_steps == models[1].num_expert_steps > 0
    assert largest_difference(models[0].policy, models[1].policy) < 1e-6


# --- the update ----------------------------------------------------------------------------------------


def injected_by_hand(model, rollout, bounded):
    """Rows, advantages and weights of a rollout's segments, from the definitions."""
    policy = rollout.policy
    observations, actions, returns = [], [], []
    for segment, prefix in rollout.segments:
        last = 0.0 if segment.terminated else float(value(policy, segment.last_observation[None])[0])
        running, backwards = last, []
        for reward in reversed(segment.rewards):
            running = reward + model.gamma * running
            backwards.append(running)
        returns += backwards[::-1]
        observations.append(segment.observations)
        expert_part = segment.actions[segment.fork_step :]
        actions += [np.asarray(row).reshape(-1) for row in prefix] + [np.asarray(row).reshape(-1) for row in expert_part]
    observations = th.as_tensor(np.concatenate(observations))
    actions = th.as_tensor(np.stack(actions))
    actions = actions.long().flatten() if isinstance(policy.action_space, spaces.Discrete) else actions.float()
    returns = th.as_tensor(returns, dtype=th.float32)
    with th.no_grad():
        advantages = returns - policy.predict_values(observations).flatten()
        old_log_prob = policy.get_distribution(observations).log_prob(actions)
        mode = policy.get_distribution(observations).mode()
        relative = th.exp(old_log_prob - policy.get_distribution(observations).log_prob(mode))
        relative = relative ** (1 / (mode.shape[1] if mode.dim() > 1 else 1))
    center, spread = rollout.advantages.mean(), rollout.advantages.std()
    if bounded:
        advantages = advantages.clamp(center - 5 * spread, center + 5 * spread)
    if model.normalize_advantage:
        advantages = (advantages - center) / (spread + 1e-8)
    weights = th.ones(len(returns))
    if bounded:
        is_expert = th.cat([th.arange(len(segment)) >= segment.fork_step for segment, _ in rollout.segments])
        weights = th.where((advantages < 0) & is_expert, relative / (relative + 0.1), weights)
    return observations, actions, old_log_prob, advantages, weights, returns


def row_losses(model, policy, rows):
    observations, actions, old_log_prob, advantages, weights, _ = rows
    log_prob = policy.get_distribution(observations).log_prob(actions)
    if isinstance(model, nlf_sb3.PPO):
        ratio = th.exp(log_prob - old_log_prob)
        losses = -th.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    else:
        losses = -advantages * log_prob
    return weights * losses


@pytest.mark.parametrize("label_alpha", [None, 0.3])
@pytest.mark.parametrize("action", ["box", "discrete"])
@pytest.mark.parametrize("injection", ["plain", "bounded", "separate"])
@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_one_update_equals_a_hand_written_step(algorithm, injection, action, label_alpha):
    kwargs = {}
    if label_alpha is not None:
        kwargs = {"alpha": label_alpha, "expert": CallableExpert(EXPERTS[action], label="sample")}
    model = make(algorithm, injected_env(action), injection=replace(as_injection(injection), coef=0.7), **kwargs)
    (rollout,) = learn(model).rollouts
    rows = injected_by_hand(model, rollout, bounded=injection == "bounded")
    n, k = len(rollout), len(rows[0])
    assert k > 10
    scale = 1.0 if label_alpha is None else label_alpha
    (batch,) = batches_of(model, rollout)
    policy_loss, other_terms = sb3_terms(model, rollout, batch)
    loss = scale * policy_loss + other_terms
    if label_alpha is not None:
        labels = th.as_tensor(EXPERTS[action](rollout.observations.numpy()))
        loss = loss - (1 - scale) * rollout.policy.get_distribution(rollout.observations).log_prob(labels).mean()
    if injection == "plain":
        loss = loss + scale * row_losses(model, rollout.policy, rows).sum() / n
    elif injection == "bounded":
        loss = loss + scale * 0.7 * row_losses(model, rollout.policy, rows).mean()
    assert step_by_hand(rollout.policy, loss, model.max_grad_norm) > model.max_grad_norm
    if injection == "separate":
        after_the_agents = twin_of(rollout.policy)
        own_loss = scale * row_losses(model, rollout.policy, rows).sum() / n
        step_by_hand(rollout.policy, own_loss, model.max_grad_norm)
        assert largest_difference(after_the_agents, rollout.policy) > 1e-4, "the second step has to matter"
    assert largest_difference(model.policy, rollout.policy) < 1e-6


@pytest.mark.parametrize("injection", ["plain", "bounded"])
def test_an_epoch_of_minibatches_sees_every_injected_row_once(injection):
    # So small a step that the losses stay where they are: the steps then add up to one.
    settings = {"learning_rate": 1e-3, "max_grad_norm": 1e9, "normalize_advantage": False, "vf_coef": 0.0}
    model = make("PPO", injected_env(), injection=replace(as_injection(injection), coef=2.0), batch_size=16, **settings)
    before = twin_of(model.policy)
    (rollout,) = learn(model).rollouts
    rows = injected_by_hand(model, rollout, bounded=injection == "bounded")
    agent = sum(sb3_terms(model, rollout, batch)[0] for batch in batches_of(model, rollout))
    n, k, n_batches = len(rollout), len(rows[0]), 4
    row_weight = 1 / n if injection == "plain" else 2.0 / k
    step_by_hand(rollout.policy, agent + n_batches * row_weight * row_losses(model, rollout.policy, rows).sum(), None)
    assert largest_difference(before, rollout.policy) > 1e-3
    assert largest_difference(model.policy, rollout.policy) < 0.02 * largest_difference(before, rollout.policy)


@pytest.mark.parametrize("action", ["box", "discrete"])
def test_minibatches_may_be_more_than_injected_rows(action):
    model = make("PPO", injected_env(action, n_envs=1, fork_probability=1.0, max_segment_steps=1), n_steps=40, batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (rollout,) = learn(model).rollouts
    assert 1 <= sum(len(segment) for segment, _ in rollout.segments) < 10
    assert all(th.isfinite(parameter).all() for parameter in model.policy.parameters())
    assert largest_difference(model.policy, rollout.policy) > 1e-4


@pytest.mark.parametrize("injection", ["plain", "bounded", "separate"])
@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_injected_rows_stay_out_of_the_critic(algorithm, injection):
    model = make(algorithm, injected_env(), injection=injection, max_grad_norm=1e9)
    (rollout,) = learn(model).rollouts
    assert rollout.segments
    (batch,) = batches_of(model, rollout)
    policy_loss, other_terms = sb3_terms(model, rollout, batch)
    step_by_hand(rollout.policy, policy_loss + other_terms, None)
    for name, theirs in rollout.policy.state_dict().items():
        difference = (model.policy.state_dict()[name] - theirs).abs().max().item()
        if "value" in name:
            assert difference < 1e-6, name
        elif name.startswith("action_net"):
            assert difference > 1e-4, name


@pytest.mark.parametrize("coef", [1.0, 0.0])
@pytest.mark.parametrize("injection", ["plain", "bounded"])
def test_injected_rows_reach_the_critic_when_asked(injection, coef):
    settings = {"injection": replace(as_injection(injection), coef=coef, vf_coef=0.5)}
    model = make("A2C", injected_env(), max_grad_norm=1e9, learning_rate=1e-2, **settings)
    (rollout,) = learn(model).rollouts
    rows = injected_by_hand(model, rollout, bounded=injection == "bounded")
    (batch,) = batches_of(model, rollout)
    policy_loss, other_terms = sb3_terms(model, rollout, batch)
    row_weight = 1 / len(rollout) if injection == "plain" else coef / len(rows[0])
    losses = row_losses(model, rollout.policy, rows)
    errors = (rollout.policy.predict_values(rows[0]).flatten() - rows[-1]) ** 2
    step_by_hand(rollout.policy, policy_loss + other_terms + row_weight * losses.sum() + 0.5 * errors.mean(), None)
    assert largest_difference(model.policy, rollout.policy) < 1e-6


def test_bounded_rows_have_a_fixed_total_weight():
    """Twice the segments, the same pull: a thousand expert rows don't drown nine of the agent's."""
    model = make("A2C", injected_env(), n_steps=64)
    (rollout,) = learn(model).rollouts
    rows = injected_by_hand(model, rollout, bounded=True)
    scale = AdvantageScale(rollout.advantages.mean().item(), rollout.advantages.std().item(), normalises=False)
    changes = []
    for repeats in (1, 20):
        policy = twin_of(rollout.policy)
        again = nlf_sb3.objectives.injected_rows.InjectionTerm(
            build(
                policy, model.get_env(), rollout.segments * repeats, gamma=model.gamma, bounded=True, agents_advantages=scale
            ),
            model.feedback.adapter.policy_losses,
            n_rows=len(rollout),
            coef=1.0,
            vf_coef=0.0,
            rng=np.random.default_rng(0),
        )
        loss, _ = again(len(rollout))
        changes.append(loss.item())
    assert changes[0] == pytest.approx(row_losses(model, rollout.policy, rows).mean().item(), rel=1e-4)
    assert changes[1] == pytest.approx(changes[0], rel=1e-4)


# --- REINFORCE -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("injection", ["plain", "bounded", "separate"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"normalize_returns": True}, {"baseline": True, "time_limit": "bootstrap", "normalize_returns": True}],
    ids=["raw", "normalised", "baseline"],
)
def test_reinforce_takes_returns_less_the_baseline(settings, injection, reduction):
    model = REINFORCE(
        "MlpPolicy",
        injected_env(),
        **{
            "learning_rate": 0.01,
            "n_episodes": 6,
            "normalize_returns": False,
            "loss_reduction": reduction,
            "max_grad_norm": 0.05,
            "injection": replace(as_injection(injection), coef=0.7),
            "gamma": 0.9,
            "seed": 1,
            "device": "cpu",
            "policy_kwargs": SGD,
            **settings,
        },
    )
    capture = Capture()
    model.learn(1, callback=capture)
    (rollout,) = capture.rollouts
    policy = rollout.policy
    baseline = settings.get("baseline", False)
    observations, actions, returns = [], [], []
    for segment, prefix in rollout.segments:
        bootstraps = baseline and not segment.terminated  # without a baseline nothing bootstraps
        last = float(value(policy, segment.last_observation[None])[0]) if bootstraps else 0.0
        observations.append(segment.observations)
        actions += [*prefix, *segment.actions[segment.fork_step :]]
        returns.append(discounted_returns(segment.rewards, 0.9, last))
    observations, actions = th.as_tensor(np.concatenate(observations)), th.as_tensor(np.stack(actions))
    returns = th.as_tensor(np.concatenate(returns), dtype=th.float32)
    values, log_prob, _ = policy.evaluate_actions(rollout.observations, rollout.actions)
    agent = rollout.returns - (values.detach().flatten() if baseline else 0.0)
    with th.no_grad():
        injected = returns - (policy.predict_values(observations).flatten() if baseline else 0.0)
        distribution = policy.get_distribution(observations)
        relative = th.exp(distribution.log_prob(actions) - distribution.log_prob(distribution.mode()))
        relative = relative ** (1 / actions.reshape(len(actions), -1).shape[1])
    mean, std = agent.mean(), agent.std(correction=0)
    if injection == "bounded":
        injected = injected.clamp(mean - 5 * std, mean + 5 * std)
    if model.normalize_returns:
        agent, injected = (agent - mean) / (std + 1e-8), (injected - mean) / (std + 1e-8)
    weights = th.ones(len(injected))
    if injection == "bounded":
        is_expert = th.cat([th.arange(len(segment)) >= segment.fork_step for segment, _ in rollout.segments])
        weights = th.where((injected < 0) & is_expert, relative / (relative + 0.1), weights)
    n = len(rollout)
    loss = -(agent * log_prob).mean()
    if baseline:
        loss = loss + 0.5 * ((values.flatten() - rollout.returns) ** 2).mean()

    def losses():
        return -weights * injected * policy.get_distribution(observations).log_prob(actions)

    factor = n if reduction == "sum" else 1
    if injection != "separate":
        loss = loss + (losses().sum() / n if injection == "plain" else 0.7 * losses().mean())
    step_by_hand(policy, loss * factor, 0.05)
    if injection == "separate":
        step_by_hand(policy, losses().sum() / n * factor, 0.05)
    assert largest_difference(model.policy, policy) < 1e-6


def test_reinforces_minibatches_of_a_sum_count_each_injected_row_once():
    settings = {"learning_rate": 1e-4, "normalize_returns": False, "loss_reduction": "sum", "max_grad_norm": None}
    model = REINFORCE(
        "MlpPolicy",
        injected_env(),
        n_episodes=6,
        batch_size=2,
        injection="plain",
        seed=1,
        device="cpu",
        policy_kwargs=SGD,
        **settings,
    )
    before = twin_of(model.policy)
    capture = Capture()
    model.learn(1, callback=capture)
    (rollout,) = capture.rollouts
    policy = rollout.policy
    rows = build(
        policy,
        model.get_env(),
        rollout.segments,
        gamma=model.gamma,
        use_critic=False,
        bootstrap_at_time_limit=False,
    )
    _, log_prob, _ = policy.evaluate_actions(rollout.observations, rollout.actions)
    injected_log_prob = policy.get_distribution(rows.rows.observations).log_prob(rows.rows.actions)
    step_by_hand(policy, -(rollout.returns * log_prob).sum() - (rows.returns * injected_log_prob).sum(), None)
    assert largest_difference(model.policy, policy) < 0.02 * largest_difference(before, policy)


# --- real environments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_cartpole_with_its_own_twin_from_the_spec(algorithm):
    env = TrajectoryInjection(gym.make("CartPole-v1"), cartpole_expert)
    model = make(algorithm, env, n_steps=128, batch_size=64) if algorithm == "PPO" else make(algorithm, env, n_steps=16)
    model.learn(256)
    assert model.num_expert_steps > 300, "the expert goes on where the agent falls"


def test_an_environment_that_takes_no_render_mode_has_a_twin():
    def without_render_mode(**kwargs):
        assert "render_mode" not in kwargs
        return ToyEnv(**kwargs)

    gym.register("NLFNoRenderMode-v0", without_render_mode)
    try:
        TrajectoryInjection(gym.make("NLFNoRenderMode-v0"), box_expert)
    finally:
        del gym.registry["NLFNoRenderMode-v0"]


def test_a_discrete_prefix_is_whole_numbers():
    model = make("PPO", injected_env("discrete"))
    (rollout,) = learn(model).rollouts
    rows = build(rollout.policy, model.get_env(), rollout.segments)
    assert rows.rows.actions.dtype == th.int64
    assert rows.rows.actions.shape == (len(rows),)
    expected = [
        action
        for segment, prefix in rollout.segments
        for action in [int(row[0]) for row in prefix] + discrete_expert(segment.observations[segment.fork_step :]).tolist()
    ]
    assert rows.rows.actions.tolist() == expected
