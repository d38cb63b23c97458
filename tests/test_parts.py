"""The parts of the learner keep their state as plain data, and a model that was saved goes on as if it had not been."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import ToyEnv, assert_same_model, box_expert
from learners import learner
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import nlf_sb3
from nlf_sb3 import PPO, Imitation, Injection, TrainingPhases, TrajectoryInjection
from nlf_sb3.label_weights import TrustGate
from nlf_sb3.schedules import PerformanceSchedule
from nlf_sb3.teachers import CallableExpert, PolicyExpert

ASSETS = Path(nlf_sb3.__file__).parent / "assets"
EXPERTS = sorted(ASSETS.rglob("*.zip"))
EPISODE = 8


class Repeating(gym.Env):
    """All its episodes are the same eight steps, so that one that was reset is one that went on."""

    observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, **kwargs):
        self.steps = 0
        return self.observe(), {}

    def step(self, action):
        reward = 1.0 - float(np.abs(action + 0.2).mean())
        self.steps += 1
        return self.observe(), reward, self.steps == EPISODE, False, {}

    def observe(self):
        return np.array([np.sin(self.steps), np.cos(self.steps)], np.float32)


def repeating():
    return DummyVecEnv([lambda: Monitor(Repeating())])


def half(observations):
    return np.full((len(observations), 2), 0.5, np.float32)


PHASES = TrainingPhases(n_steps=24, batch_size=12, begin=0.4, least_rollouts=1, learning_rate=0.01)
N_STEPS, TOTAL = 8, 400


def in_phases():
    return learner(
        "PPO",
        repeating(),
        n_steps=N_STEPS,
        learning_rate=0.02,
        expert=CallableExpert(half, label="sample"),
        alpha=PerformanceSchedule(5.0, start=0.2, begin_at=0.3, end_at=0.9, window=3),
        imitation=Imitation(weights=[TrustGate(threshold=2.0)]),
        phases=PHASES,
    )


def random_state():
    return th.get_rng_state(), np.random.get_state()


def set_random_state(state):
    th.set_rng_state(state[0])
    np.random.set_state(state[1])


def guided():
    def one():
        return TrajectoryInjection(ToyEnv(), box_expert, 0.3, mode="takeover")

    return learner("A2C", DummyVecEnv([one] * 2), expert=box_expert, injection=Injection("bounded"))


# --- the parts' state ----------------------------------------------------------------------------------


def trained_in_phases():
    model = in_phases()
    model.learn(TOTAL)
    assert model.feedback.phases.phase == PHASES
    return model


PARTS = {
    "statistics": (lambda: guided().learn(48), guided),
    "interventions": (lambda: guided().learn(48), guided),
    "schedule": (trained_in_phases, in_phases),
    "phases": (trained_in_phases, in_phases),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_s_state_goes_through_plain_data_into_a_fresh_one(name):
    make, make_fresh = PARTS[name]
    part, fresh = getattr(make().feedback, name), getattr(make_fresh().feedback, name)
    state = json.dumps(part.state_dict())
    assert state != json.dumps(fresh.state_dict())
    fresh.load_state_dict(json.loads(state))
    assert json.dumps(fresh.state_dict()) == state


def test_statistics_count_on_from_where_they_were():
    model, fresh = guided().learn(48), guided()
    assert 0 < model.num_expert_steps < 48
    assert 0 < model.num_expert_queries <= 48
    fresh.feedback.statistics.load_state_dict(model.feedback.statistics.state_dict())
    assert (fresh.num_expert_steps, fresh.num_expert_queries) == (model.num_expert_steps, model.num_expert_queries)


def test_interventions_keep_to_the_agent_s_scale():
    model, fresh = guided().learn(48), guided()
    nothing, experts = np.zeros(0, np.float32), np.array([100.0, 300.0], np.float32)
    scale = model.feedback.interventions.scale(nothing, experts)
    assert scale != fresh.feedback.interventions.scale(nothing, experts)
    fresh.feedback.interventions.load_state_dict(model.feedback.interventions.state_dict())
    assert scale == fresh.feedback.interventions.scale(nothing, experts)


def test_phases_know_the_sizes_to_go_back_to():
    model, fresh = trained_in_phases(), in_phases()
    fresh.feedback.schedule.load_state_dict(model.feedback.schedule.state_dict())
    fresh.feedback.phases.load_state_dict(model.feedback.phases.state_dict())
    fresh.feedback.phases.next(alpha=0.5)  # the phase is over
    assert (fresh.n_steps, fresh.batch_size) == (N_STEPS, 8)
    assert fresh.feedback.phases.learning_rate() is None


@pytest.mark.parametrize(("make", "make_fresh"), [PARTS["phases"], PARTS["interventions"]])
def test_the_learner_s_state_is_that_of_all_its_parts(make, make_fresh):
    model, fresh = make(), make_fresh()
    state = model.feedback.state_dict()
    fresh.feedback.load_state_dict(state)
    assert set(state) == set(PARTS)
    assert all(state[name] == getattr(fresh.feedback, name).state_dict() for name in PARTS)


# --- a model that was saved ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n_steps", "is_in_phase"), [(40, False), (96, False), (320, True)])
def test_a_model_that_was_saved_goes_on_bit_for_bit(n_steps, is_in_phase, tmp_path):
    model = in_phases()
    model.learn(n_steps)
    assert model.num_timesteps >= n_steps
    assert (model.feedback.phases.phase is not None) is is_in_phase
    assert model.alpha.done > 0
    trust = replace(model.imitation.weights[0])
    assert model.imitation.weights[0].variance > 0

    model.save(tmp_path / "model")
    state = random_state()
    expert = CallableExpert(half, label="sample")
    loaded = PPO.load(tmp_path / "model", env=repeating(), expert=expert, device="cpu")
    assert loaded.alpha == model.alpha
    assert loaded.imitation == model.imitation
    assert json.dumps(loaded.feedback.state_dict()) == json.dumps(model.feedback.state_dict())
    for each in (model, loaded):
        set_random_state(state)
        each.learn(240, reset_num_timesteps=False)
    assert loaded.num_timesteps == model.num_timesteps
    assert loaded.alpha == model.alpha
    assert loaded.imitation.weights[0] == model.imitation.weights[0] != trust
    assert json.dumps(loaded.feedback.state_dict()) == json.dumps(model.feedback.state_dict())
    assert_same_model(loaded, model)


# --- experts that are shipped ----------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXPERTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_shipped_expert_loads_and_acts(path):
    env_id = "InvertedPendulum-v5" if path.parent == ASSETS else path.parent.name
    if env_id not in gym.registry:
        pytest.skip(f"Gymnasium {gym.__version__} has no {env_id}")
    env = gym.make(env_id)
    # NumPy doesn't read what later releases of its have pickled.
    own = {"observation_space": env.observation_space, "action_space": env.action_space}
    expert = PolicyExpert.load(path, custom_objects=own)
    observations = np.zeros((3, *expert.policy.observation_space.shape), np.float32)
    actions = expert.act(observations)
    assert all(action in env.action_space for action in actions)
    assert np.array_equal(PolicyExpert.load(path, custom_objects=own).act(observations), actions)


def test_experts_are_shipped():
    assert len(EXPERTS) >= 17
