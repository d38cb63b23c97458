"""Boxes of integers, halves and doubles, and of unusual shapes: labels, forks and policies that act as experts."""

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
from gymnasium import spaces
from learners import ALGORITHMS, NO_BOX, is_finite, learner
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import PPO, Demonstrations, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.action_names import ActionNames
from nlf_sb3.teachers import ExpertTeacher, PolicyExpert

BOXES = {
    "integers": spaces.Box(0, 10, (2,), np.int32),
    "bytes": spaces.Box(0, 255, (2,), np.uint8),
    "small integers": spaces.Box(-3, 4, (2, 2), np.int8),
    "halves": spaces.Box(-0.5, 2.0, (2,), np.float16),
    "doubles": spaces.Box(-0.5, 2.0, (2,), np.float64),
    "one number": spaces.Box(-0.5, 2.0, (), np.float32),
}
OBSERVATIONS = spaces.Box(-1, 1, (3,), np.float32)


class Env(gym.Env):
    """Keeps what it was handed."""

    observation_space = OBSERVATIONS

    def __init__(self, space):
        self.action_space, self.handed = space, []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), {}

    def step(self, action):
        self.handed.append(np.array(action))
        self.steps += 1
        reward = float(np.mean(action))
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), reward, self.steps == 6, False, {}


def expert_of(space):
    return lambda observations: np.stack([np.asarray(space.high) for _ in observations])


def is_forked_right(algorithm, space):
    env = TrajectoryInjection(Env(space), expert_of(space), 0.3, twin=lambda: Env(space))
    model = learner(algorithm, DummyVecEnv([lambda: env]))
    logged = {}
    record = model._update_info_buffer
    forks = []

    def look(infos, dones=None):
        forks.extend(info["expert_segment"].fork_step for info in infos if "expert_segment" in info)
        record(infos, dones)

    model._update_info_buffer = look
    model.learn(60)
    logged = model.logger.name_to_value
    assert max(forks) > 0
    assert "injection/dropped" not in logged
    assert len(forks) == logged["injection/segments"]
    return is_finite(model)


@pytest.mark.parametrize("name", BOXES)
def test_forked_episodes_are_kept_whatever_the_numbers_are(name):
    assert is_forked_right("PPO", BOXES[name])


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in NO_BOX])
def test_integers_fork_in_every_algorithm(algorithm):
    assert is_forked_right(algorithm, BOXES["integers"])


@pytest.mark.parametrize("settings", [{"mode": "takeover"}, {"mode": "guide", "guide_steps": 4}], ids=["takeover", "guide"])
@pytest.mark.parametrize("injection", ["plain", "bounded"])
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name not in NO_BOX])
def test_an_expert_who_acts_far_away_in_bytes_leaves_parameters_finite(algorithm, injection, settings):
    space = BOXES["bytes"]
    own = {"fork_probability": 0.3, **settings} if settings["mode"] == "takeover" else settings
    env = DummyVecEnv([lambda: TrajectoryInjection(Env(space), expert_of(space), **own)] * 2)
    given = {"baseline": True} if algorithm == "REINFORCE" else {}
    model = learner(algorithm, env, injection=injection, learning_rate=3e-3, **given).learn(240)
    assert 0 < model.num_expert_steps < model.num_timesteps
    assert is_finite(model)


@pytest.mark.parametrize("name", BOXES)
def test_a_policy_that_acts_as_expert_answers_the_same_through_numpy_and_in_the_dtype_of_the_space(name, tmp_path):
    space = BOXES[name]
    model = sb3.PPO("MlpPolicy", Env(space), seed=1, device="cpu")
    model.policy.action_net.bias.data[:] = 3.7  # away from 0, and no whole number
    model.save(tmp_path / "model")
    observations = np.random.default_rng(0).uniform(-1, 1, (20, 3)).astype(np.float32)
    ways = [
        PolicyExpert(model, deterministic=True, use_numpy=True),
        PolicyExpert(model, deterministic=True, use_numpy=False),
        PolicyExpert.load(tmp_path / "model", deterministic=True),
    ]
    answers = [way.act(observations) for way in ways]
    answers.append(np.concatenate([ways[2].act(row[None]) for row in observations]))
    for answer in answers:
        assert answer.dtype == space.dtype
        assert answer.shape == (20, *space.shape)
        assert all(space.contains(action) for action in answer)
        np.testing.assert_allclose(answer, answers[0], rtol=1e-5)


@pytest.mark.parametrize("use_numpy", [True, False])
@pytest.mark.parametrize("name", ["integers", "halves"])
def test_such_an_expert_labels_steps_shows_rows_and_acts(name, use_numpy):
    space = BOXES[name]
    expert = PolicyExpert(sb3.PPO("MlpPolicy", Env(space), device="cpu"), use_numpy=use_numpy)
    shown = np.zeros((4, 3), np.float32)
    settings = {"n_steps": 24, "batch_size": 24, "n_epochs": 1, "device": "cpu"}
    for env, given in (
        (Env(space), {"expert": expert}),
        (Env(space), {"demonstrations": Demonstrations(shown, expert.act(shown))}),
        (FeedbackWrapper(Env(space), ExpertTeacher(expert)), {}),
        (TrajectoryInjection(Env(space), expert, 0.3, mode="takeover"), {}),
    ):
        model = PPO("MlpPolicy", env, **settings, **given).learn(24)
        assert is_finite(model)
        assert model.num_expert_queries + model.num_expert_steps + len(model.demonstrations or ()) > 0


def test_a_label_of_halves_is_what_a_squashed_policy_would_have_to_propose():
    space = spaces.Box(-0.3, 0.7, (2,), np.float16)
    labels = np.array([[0.1, 0.2]], np.float16)
    trained = PPO(
        "MlpPolicy",
        Env(space),
        expert=lambda observations: np.repeat(labels, len(observations), axis=0),
        alpha=0.0,
        use_sde=True,
        policy_kwargs={"squash_output": True},
        n_steps=64,
        n_epochs=20,
        learning_rate=3e-2,
        seed=0,
        device="cpu",
    ).learn(256)
    action, _ = trained.predict(np.zeros(3, np.float32), deterministic=True)
    np.testing.assert_allclose(action, labels[0], atol=0.05)


def test_targets_in_a_box_of_integers_are_rounded():
    names = ActionNames(BOXES["integers"])
    np.testing.assert_array_equal(names.unflatten(np.array([[3.7, 11.2]])), [[4, 10]])
