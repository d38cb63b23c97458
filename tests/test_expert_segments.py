"""Forked episodes imitated in the place of being injected: the expert's own steps are demonstrations of their rollout."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from helpers import EXPERTS, Capture, ToyEnv, batches_of, largest_difference, sb3_terms, step_by_hand
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nlf_sb3
from nlf_sb3 import Imitation, Injection, LabelReplay, TrajectoryInjection

SGD = {"optimizer_class": th.optim.SGD, "net_arch": [16]}
ENV_IDS = {"box": "NLFToyNarrowBox-v0", "discrete": "NLFToyDiscrete-v0"}
ALGORITHMS = {"A2C": {"use_rms_prop": False}, "PPO": {"batch_size": 64, "n_epochs": 1}}
assert ToyEnv is not None  # registers them


def forked(action):
    return DummyVecEnv([lambda: TrajectoryInjection(gym.make(ENV_IDS[action]), EXPERTS[action], 0.3)] * 2)


def make(algorithm, env, **kwargs):
    settings = {"n_steps": 32, "learning_rate": 0.1, "max_grad_norm": 0.05, "seed": 2, "device": "cpu", "policy_kwargs": SGD}
    settings |= {"alpha": 0.3, "injection": Injection(segments="imitate"), **ALGORITHMS[algorithm], **kwargs}
    return getattr(nlf_sb3, algorithm)("MlpPolicy", env, **settings)


def one_rollout(model):
    capture = Capture()
    model.learn(model.n_steps * model.n_envs, callback=capture)
    return capture.rollouts[-1]


def experts_steps(rollout):
    """Raw observations and actions from each fork on."""
    segments = [segment for segment, _ in rollout.segments]
    observations = np.concatenate([segment.observations[segment.fork_step :] for segment in segments])
    return observations, np.concatenate([segment.actions[segment.fork_step :] for segment in segments])


def step_on(model, rollout, observations, actions):
    """alpha L_PG + (1 - alpha) L_IL, with the mean of -log pi over the expert's steps as the latter."""
    policy = rollout.policy
    (batch,) = batches_of(model, rollout)
    policy_loss, other_terms = sb3_terms(model, rollout, batch)
    actions = th.as_tensor(actions).long() if actions.ndim == 1 else th.as_tensor(actions, dtype=th.float32)
    imitation = -policy.get_distribution(th.as_tensor(observations)).log_prob(actions).mean()
    norm = step_by_hand(policy, 0.3 * policy_loss + 0.7 * imitation + other_terms, model.max_grad_norm)
    assert norm > model.max_grad_norm, "clipping has to be active"
    return imitation.item()


@pytest.mark.parametrize("action", ENV_IDS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_step_is_the_joint_loss_written_by_hand(algorithm, action):
    model = make(algorithm, forked(action))
    rollout = one_rollout(model)
    assert any(segment.fork_step > 0 for segment, _ in rollout.segments), "a shared prefix has to be left out"
    imitation = step_on(model, rollout, *experts_steps(rollout))
    assert largest_difference(model.policy, rollout.policy) < 1e-6
    logged = model.logger.name_to_value
    assert logged["train/imitation_loss"] == pytest.approx(imitation, abs=1e-5)
    assert logged["train/alpha"] == 0.3
    assert "injection/advantage_mean" not in logged


def test_observations_are_normalised_as_the_agents_are():
    env = VecNormalize(forked("box"), clip_obs=1.2, norm_reward=False)
    model = make("A2C", env)
    rollout = one_rollout(model)
    observations, actions = experts_steps(rollout)
    step_on(model, rollout, env.normalize_obs(observations).astype(np.float32), actions)
    assert largest_difference(model.policy, rollout.policy) < 1e-6


def test_they_are_remembered():
    model = make("A2C", forked("box"), imitation=Imitation(replay=LabelReplay(1_000)))
    rollout = one_rollout(model)
    observations, actions = experts_steps(rollout)
    assert len(model.feedback.labelling.memory) == len(actions)
    kept = model.feedback.labelling.memory.draw(len(actions), np.random.default_rng(0))
    assert sorted(kept.observations.tolist()) == sorted(observations.tolist())


def test_without_imitation_they_do_nothing():
    models = [make("A2C", forked("box"), alpha=1.0), make("A2C", DummyVecEnv([lambda: gym.make(ENV_IDS["box"])] * 2))]
    models[0].learn(64)
    assert models[0].logger.name_to_value.get("train/imitation_loss") is None


def test_the_setting_is_saved_and_checked(tmp_path):
    model = make("A2C", forked("box"))
    model.save(tmp_path / "model")
    assert nlf_sb3.A2C.load(tmp_path / "model").injection.segments == "imitate"
    with pytest.raises(ValueError, match=r"Injection.segments: got 'both', expected one of 'inject', 'imitate'"):
        Injection(segments="both")


def test_a_recurrent_policy_refuses_steps_without_a_past():
    pytest.importorskip("sb3_contrib")
    with pytest.raises(ValueError, match=r"injection.segments: got 'imitate'"):
        nlf_sb3.RecurrentPPO("MlpLstmPolicy", forked("box"), injection=Injection(segments="imitate"))


def test_trpo_has_them_in_its_batch():
    pytest.importorskip("sb3_contrib")
    model = nlf_sb3.TRPO(
        "MlpPolicy", forked("box"), n_steps=32, alpha=0.3, injection=Injection(segments="imitate"), seed=2, device="cpu"
    )
    before = one_rollout(model)
    observations, actions = experts_steps(before)

    def likelihood(policy):
        distribution = policy.get_distribution(th.as_tensor(observations))
        return distribution.log_prob(th.as_tensor(actions, dtype=th.float32)).mean().item()

    assert model.logger.name_to_value["train/imitation_loss"] == pytest.approx(-likelihood(before.policy), abs=1e-5)
    assert likelihood(model.policy) > likelihood(before.policy)
