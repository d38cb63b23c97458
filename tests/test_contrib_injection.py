"""Injected episodes and takeovers in TRPO, RecurrentPPO and MaskablePPO: their rows, and the update they take part in."""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from contrib_helpers import ALL_EXPERTS, SGD, learn, make, masked_expert, masks_of, vec_env
from contrib_networks import follow, head, log_prob_of, network, ppo_terms, states_along, zero_state
from helpers import discrete_expert, largest_difference, step_by_hand, teacher, watch
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import Demonstrations, FeedbackError, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.adapters.recurrent_rows import states_before_rows
from nlf_sb3.config import as_injection
from nlf_sb3.returns import discounted_returns
from nlf_sb3.teachers import CallableExpert

ENV_IDS = {"box": "NLFToyNarrowBox-v0", "discrete": "NLFToyDiscrete-v0", "masked": "NLFToyMasked-v0"}
BOUND = 0.4
SHARED = {"policy_kwargs": {**SGD, "shared_lstm": True, "enable_critic_lstm": False}}
NO_CRITIC_LSTM = {"policy_kwargs": {**SGD, "enable_critic_lstm": False}}
CASES = {
    "TRPO, box": ("TRPO", "box", {}),
    "TRPO, discrete": ("TRPO", "discrete", {}),
    "MaskablePPO": ("MaskablePPO", "masked", {}),
    "RecurrentPPO, box": ("RecurrentPPO", "box", {}),
    "RecurrentPPO, discrete": ("RecurrentPPO", "discrete", {}),
    "RecurrentPPO, shared LSTM": ("RecurrentPPO", "box", SHARED),
    "RecurrentPPO, critic without LSTM": ("RecurrentPPO", "box", NO_CRITIC_LSTM),
    "RecurrentPPO, two layers": ("RecurrentPPO", "box", {"policy_kwargs": {**SGD, "n_lstm_layers": 2}}),
}
RECURRENT = [case for case in CASES if case.startswith("RecurrentPPO")]
CLIPPED = [case for case in CASES if not case.startswith("TRPO")]
ONE_BATCH = {"n_epochs": 1, "batch_size": 64}
pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")


def injected_env(action, expert=None, *, fork_probability=0.3, n_envs=2, env_kwargs=None, **kwargs):
    def one():
        env = gym.make(ENV_IDS[action], **(env_kwargs or {}))
        return TrajectoryInjection(env, ALL_EXPERTS[action] if expert is None else expert, fork_probability, **kwargs)

    return DummyVecEnv([one] * n_envs)


def build(case, env=None, **kwargs):
    algorithm, action, settings = CASES[case]
    own = {"batch_size": 64} if algorithm == "TRPO" else ONE_BATCH
    defaults = {"n_steps": 32, "learning_rate": 0.1, "gamma": 0.9, "policy_kwargs": SGD, **own}
    return make(algorithm, injected_env(action) if env is None else env, **{**defaults, **settings, **kwargs})


def evaluated_by_hand(rollout, action):
    """
    For each segment, from the networks' layers step by step, with the policy as it collected the rollout.

    :return: V of each row, log pi of each row's action (as proposed), V of the last observation
    """
    policy, results = rollout.policy, []
    for segment, prefix in rollout.segments:
        own = [np.asarray(row).reshape(-1) for row in [*prefix, *segment.actions[segment.fork_step :]]]
        actions = th.as_tensor(np.stack(own))
        observations = th.as_tensor(np.concatenate([segment.observations, segment.last_observation[None]]))
        with th.no_grad():
            if hasattr(policy, "lstm_actor"):
                latent, values, _ = follow(policy, observations, zero_state(policy))
            else:
                latent = policy.mlp_extractor.forward_actor(observations)
                values = policy.value_net(policy.mlp_extractor.forward_critic(observations)).flatten()
            masks = masks_of(segment.observations) if action == "masked" else None
            log_prob = log_prob_of(head(policy, latent[:-1], masks), actions)
        results.append((values[:-1], log_prob, values[-1].item()))
    return results


# --- the rows ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_segment_steps", [None, 2])
@pytest.mark.parametrize("case", CASES)
def test_returns_and_advantages_equal_those_by_hand(case, max_segment_steps):
    action = CASES[case][1]
    model = build(case, injected_env(action, max_segment_steps=max_segment_steps), injection="plain")
    (rollout,) = learn(model)
    returns, advantages, bootstraps = [], [], 0
    for (segment, _), (values, _, last_value) in zip(rollout.segments, evaluated_by_hand(rollout, action), strict=True):
        returns.append(discounted_returns(segment.rewards, 0.9, 0.0 if segment.terminated else last_value))
        advantages.append(returns[-1] - values.numpy())
        bootstraps += not segment.terminated
    assert 1 < bootstraps < len(returns), "some of the episodes have to be truncated or cut, and some not"
    assert rollout.injected.returns.numpy() == pytest.approx(np.concatenate(returns), abs=1e-5)
    expected = (np.concatenate(advantages) - rollout.advantages.mean().item()) / rollout.advantages.std().item()
    assert rollout.injected.advantages.numpy() == pytest.approx(expected, abs=1e-4)
    assert (rollout.injected.weights == 1).all()


@pytest.mark.parametrize("case", CASES)
def test_old_log_probabilities_are_the_policys_as_it_collected_them(case):
    model = build(case, injected_env(CASES[case][1], fork_probability=0.2))
    (rollout,) = learn(model)
    rows = rollout.injected
    by_hand = th.cat([log_prob for _, log_prob, _ in evaluated_by_hand(rollout, CASES[case][1])])
    assert th.allclose(rows.old_log_prob, by_hand, atol=1e-5)
    collected = {
        observation.tobytes(): log_prob
        for observation, log_prob in zip(rollout.observations.numpy(), rollout.old_log_prob.tolist(), strict=True)
    }
    start, n_shared, n_clipped = 0, 0, 0
    for segment, prefix in rollout.segments:
        for step in range(segment.fork_step):
            at_collection = collected[segment.observations[step].tobytes()]
            assert rows.old_log_prob[start + step].item() == pytest.approx(at_collection, abs=1e-5)
        n_shared += segment.fork_step
        n_clipped += sum(bool((np.abs(row) > BOUND).any()) for row in prefix)
        start += len(segment)
    assert n_shared > 5
    assert n_clipped > 3 or CASES[case][1] != "box", "proposals outside of the bounds count as they were proposed"


@pytest.mark.parametrize("case", CLIPPED)
def test_ppos_first_ratio_is_one_on_every_injected_row(case):
    model = build(case)
    (rollout,) = learn(model)
    log_prob = rows_before_update(model, rollout).evaluate_all().log_prob
    assert (th.exp(log_prob - rollout.injected.old_log_prob) - 1).abs().max().item() < 1e-5


def rows_before_update(model, rollout):
    """The injected rows, with the policy as it was when it collected the rollout."""
    model.policy.load_state_dict(rollout.policy.state_dict())
    return rollout.injected.rows


# --- hidden states -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", RECURRENT)
def test_hidden_states_of_injected_rows_are_those_of_a_replay_step_by_step(case):
    (rollout,) = learn(build(case, injected_env(CASES[case][1], fork_probability=0.2)))
    policy, segments = rollout.policy, [segment for segment, _ in rollout.segments]
    assert len({len(segment) for segment in segments}) > 2, "episodes of several lengths"
    observations = th.as_tensor(np.concatenate([segment.observations for segment in segments]))
    starts = np.concatenate([np.arange(len(segment)) == 0 for segment in segments])
    came = states_before_rows(policy, observations, starts)
    replayed, _ = states_along(policy, observations, starts, zero_state(policy))
    networks = ["pi", "vf"] if policy.lstm_critic is not None else ["pi"]  # else the critic has no state that matters
    for index, name in enumerate(networks):
        for kind in range(2):
            expected = th.cat([state[index][kind] for state in replayed], dim=1)
            assert th.allclose(getattr(came, name)[kind], expected, atol=1e-6), (name, kind)
    assert came.pi[0].abs().max() > 0.01


@pytest.mark.parametrize("case", RECURRENT)
def test_every_injected_row_alone_is_evaluated_from_its_own_past(case):
    model = build(case)
    (rollout,) = learn(model)
    rows = rows_before_update(model, rollout)
    by_hand = evaluated_by_hand(rollout, CASES[case][1])
    values, log_prob = (th.cat([part[index] for part in by_hand]) for index in range(2))
    with th.no_grad():
        alone = [rows.evaluate(np.array([row])) for row in range(len(rows))]
    assert th.allclose(th.cat([row.log_prob for row in alone]), log_prob, atol=1e-5)
    assert th.allclose(th.cat([row.values for row in alone]), values, atol=1e-5)


# --- masks -------------------------------------------------------------------------------------------


def test_masks_travel_with_the_rows_of_a_segment():
    (rollout,) = learn(build("MaskablePPO"))
    observations = np.concatenate([segment.observations for segment, _ in rollout.segments])
    assert np.array_equal(rollout.injected.rows.action_masks, masks_of(observations))
    assert not rollout.injected.rows.action_masks.all()


def unmasked_labels():
    return {"env": DummyVecEnv([lambda: FeedbackWrapper(vec_env("masked").envs[0], teacher(discrete_expert))] * 2)}


def unmasked_segments():
    return {"env": injected_env("masked", discrete_expert, env_kwargs={"is_strict": False})}


def unmasked_expert():
    return {"env": vec_env("masked"), "expert": discrete_expert}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (unmasked_labels, r"label: that of environment \d, rollout step \d+, is \d, which the action mask forbids"),
        (unmasked_segments, r"environment \d, step \d+: trajectory injection, .*expert action: it is \d, which .* forbids"),
        (unmasked_expert, r"expert CallableExpert, step \d+: .*environment \d, rollout step \d+, is \d, which .* forbids"),
    ],
)
def test_actions_that_a_mask_forbids_are_refused_by_name(source, message):
    with pytest.raises(FeedbackError, match=message):
        learn(build("MaskablePPO", **source()))


@pytest.mark.parametrize("source", [unmasked_labels, unmasked_segments])
def test_actions_that_a_mask_forbids_are_counted_and_skipped_if_asked(source):
    model = build("MaskablePPO", on_error="skip", alpha=0.3, **source())
    watch(model)
    (rollout,) = learn(model)
    assert model.logger.name_to_value["feedback/skipped"] > 0
    for segment, _ in rollout.segments:
        own = slice(segment.fork_step, None)
        masks = masks_of(segment.observations[own])
        assert masks[np.arange(len(masks)), segment.actions[own]].all()
    assert all(th.isfinite(parameter).all() and parameter.abs().max() < 1e3 for parameter in model.policy.parameters())


def test_demonstrations_that_their_masks_forbid_are_refused():
    observations = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    demonstrations = Demonstrations(observations, discrete_expert(observations), action_masks=masks_of(observations))
    with pytest.raises(FeedbackError, match=r"demonstrations: row \d+ is \d, which the action mask forbids"):
        build("MaskablePPO", demonstrations=demonstrations)


def test_segments_that_lack_the_masks_which_the_agent_has_are_refused():
    def masked_from_outside():
        injected = TrajectoryInjection(gym.make("NLFToyDiscrete-v0"), masked_expert, 0.3)
        return ActionMasker(injected, lambda env: masks_of(env.unwrapped.state.astype(np.float32)[None])[0])

    model = build("MaskablePPO", DummyVecEnv([masked_from_outside] * 2))
    with pytest.raises(FeedbackError, match=r"environment \d, step \d+: expert segment: no action masks.* ActionMasker"):
        learn(model)


def test_without_masking_nothing_is_forbidden():
    model = build("MaskablePPO", injected_env("discrete"), alpha=0.3, expert=discrete_expert)
    (rollout,) = learn(model, use_masking=False)
    assert rollout.segments
    assert rollout.injected.rows.action_masks is None


def test_recurrent_ppo_refuses_demonstrations():
    observations = np.zeros((3, 3), np.float32)
    with pytest.raises(FeedbackError, match=r"demonstrations: .*no past"):
        build("RecurrentPPO, box", demonstrations=Demonstrations(observations, np.zeros((3, 2), np.float32)))


# --- the update --------------------------------------------------------------------------------------


def injected_losses(rollout, action, chosen):
    """PPO's loss of some injected rows, each unbroken part of an episode from the state that it had there."""
    policy, rows = rollout.policy, rollout.injected
    observations, actions = rows.rows.observations[chosen], rows.rows.actions[chosen]
    if hasattr(policy, "lstm_actor"):
        starts = np.concatenate([np.arange(len(segment)) == 0 for segment, _ in rollout.segments])
        states, _ = states_along(policy, rows.rows.observations, starts, zero_state(policy))
        begins = starts[chosen] | (np.diff(chosen, prepend=-2) != 1)
        parts = np.split(chosen, np.flatnonzero(begins)[1:])
        latent = th.cat([follow(policy, rows.rows.observations[part], states[part[0]])[0] for part in parts])
    else:
        latent = policy.mlp_extractor.forward_actor(observations)
    masks = masks_of(observations) if action == "masked" else None
    ratio = th.exp(log_prob_of(head(policy, latent, masks), actions) - rows.old_log_prob[chosen])
    advantages = rows.advantages[chosen]
    return -rows.weights[chosen] * th.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)


def deals(model, rollout, batches):
    """For each minibatch of B out of N rows its share of the K injected rows: K B / N of them, each once in an epoch."""
    n, k = len(rollout), len(rollout.injected)
    is_recurrent = hasattr(rollout.policy, "lstm_actor")
    served, shares = 0, []
    for batch in batches:
        if served == 0:  # episodes stay in their order, from some row on
            generator = rollout.feedback_rng
            order = np.roll(np.arange(k), -int(generator.integers(k))) if is_recurrent else generator.permutation(k)
        shares.append(order[served * k // n : (served + len(batch)) * k // n])
        served = (served + len(batch)) % n
    return shares


@pytest.mark.parametrize("alpha", [None, 0.3])
@pytest.mark.parametrize("injection", ["plain", "bounded", "separate"])
@pytest.mark.parametrize("batches", [ONE_BATCH, {"n_epochs": 2, "batch_size": 24}], ids=["whole", "minibatches"])
@pytest.mark.parametrize("case", ["MaskablePPO", "RecurrentPPO, box", "RecurrentPPO, shared LSTM"])
def test_an_update_equals_steps_by_hand_and_the_critic_sees_no_injected_row(case, batches, injection, alpha):
    action = CASES[case][1]
    expert = None if alpha is None else CallableExpert(ALL_EXPERTS[action], label="sample")
    settings = {"injection": replace(as_injection(injection), coef=0.7), "max_grad_norm": 0.05, "expert": expert}
    model = build(case, alpha=alpha or 0.5, **settings, **batches)
    (rollout,) = learn(model)
    outputs, n, k = network(model, [rollout]), len(rollout), len(rollout.injected)
    scale, row_weight = alpha or 1.0, 0.7 / k if injection == "bounded" else 1 / n
    minibatches = outputs.batches()
    for batch, share in zip(minibatches, deals(model, rollout, minibatches), strict=True):
        values, distribution = outputs(batch)
        policy_loss, other_terms = ppo_terms(model, rollout, batch, values, distribution)
        loss = scale * policy_loss + other_terms
        if alpha is not None:
            labels = ALL_EXPERTS[action](rollout.observations[batch].numpy())
            loss = loss - (1 - alpha) * log_prob_of(distribution, labels).mean()
        if injection != "separate":
            loss = loss + scale * row_weight * n / len(batch) * injected_losses(rollout, action, share).sum()
        assert step_by_hand(rollout.policy, loss, 0.05) > 0.05
    if injection == "separate":
        step_by_hand(rollout.policy, scale * row_weight * injected_losses(rollout, action, np.arange(k)).sum(), 0.05)
    assert largest_difference(model.policy, rollout.policy) < 1e-6
