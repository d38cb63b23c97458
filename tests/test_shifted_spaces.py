"""Spaces that count from another number than 0, which Stable-Baselines3 ignores: refused where feedback names a choice."""

import inspect

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
from gymnasium import spaces
from helpers import assert_same_model
from learners import ALGORITHMS, learner
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import PPO, Demonstrations, Feedback, FeedbackError, FeedbackWrapper, MaskablePPO, TrajectoryInjection
from nlf_sb3.interop.imitation import clone, warm_start
from nlf_sb3.teachers import ExpertTeacher, ScoreTeacher
from nlf_sb3.text import RuleInterpreter

VECTOR = spaces.Box(-1, 1, (2,), np.float32)
SHIFTED = [spaces.Discrete(3, start=1), spaces.Discrete(3, start=-1)]
if "start" in inspect.signature(spaces.MultiDiscrete).parameters:  # since Gymnasium 1.0
    SHIFTED.append(spaces.MultiDiscrete([3, 2], start=[0, 4]))
REFUSED = r"counts from start=.*Stable-Baselines3 ignores start.*Leave start away"


class Env(gym.Env):
    def __init__(self, action, observation=VECTOR, feedback=None):
        self.action_space, self.observation_space, self.feedback = action, observation, feedback

    def action_masks(self):
        return np.ones(5 if isinstance(self.action_space, spaces.MultiDiscrete) else 3, dtype=bool)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def _observation(self):
        zero = np.zeros(self.observation_space.shape, self.observation_space.dtype)
        return zero if self.observation_space.shape else 0

    def step(self, action):
        self.steps += 1
        info = {} if self.feedback is None else {"feedback": self.feedback}
        return self._observation(), float(np.sum(action)), self.steps >= 5, False, info


def answers(space):
    return lambda observations: np.stack([space.sample() for _ in observations])


@pytest.mark.parametrize("action", SHIFTED, ids=str)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_an_expert_of_a_shifted_space_is_refused_when_the_model_is_made(algorithm, action):
    with pytest.raises(FeedbackError, match="action_space: .*" + REFUSED):
        learner(algorithm, DummyVecEnv([lambda: Env(action)]), expert=answers(action))


@pytest.mark.parametrize("action", SHIFTED, ids=str)
def test_so_are_demonstrations_teachers_that_are_experts_and_experts_who_act(action):
    shown = Demonstrations(np.zeros((2, 2), np.float32), np.stack([action.sample() for _ in range(2)]))
    with pytest.raises(FeedbackError, match=REFUSED):
        PPO("MlpPolicy", Env(action), demonstrations=shown)
    teachers = [ScoreTeacher(lambda step: 1.0), ExpertTeacher(answers(action))]
    with pytest.raises(FeedbackError, match=REFUSED):
        MaskablePPO("MlpPolicy", FeedbackWrapper(Env(action), teachers))
    for mode in ("fork", "takeover"):
        twin = {"twin": lambda: Env(action)} if mode == "fork" else {}
        with pytest.raises(FeedbackError, match=REFUSED):
            PPO("MlpPolicy", TrajectoryInjection(Env(action), answers(action), 0.3, mode=mode, **twin))
    with pytest.raises(FeedbackError, match=REFUSED):
        PPO("MlpPolicy", Env(action), interpreter=RuleInterpreter(action))


def test_a_label_that_comes_unannounced_is_refused_at_its_step():
    env = Env(SHIFTED[0], feedback=Feedback(expert_action=1))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=8)
    with pytest.raises(FeedbackError, match="environment 0, step 1: action_space: .*" + REFUSED):
        model.learn(8)


def test_observations_that_count_from_another_number_are_refused_too():
    of_dict = spaces.Dict({"vector": VECTOR, "kind": spaces.Discrete(4, start=2)})
    for policy, space in (("MlpPolicy", spaces.Discrete(4, start=1)), ("MultiInputPolicy", of_dict)):
        with pytest.raises(FeedbackError, match=r"observation_space.*start=[12].*ignores start"):
            PPO(policy, Env(spaces.Discrete(3), space), expert=lambda observations: np.zeros(len(observations), int))


def test_a_model_that_is_loaded_is_refused_with_its_expert(tmp_path):
    sb3.PPO("MlpPolicy", Env(SHIFTED[0])).save(tmp_path / "model")
    with pytest.raises(FeedbackError, match=REFUSED):
        PPO.load(tmp_path / "model", expert=answers(SHIFTED[0]))


def shown(action, observation):
    observations = np.stack([observation.sample() for _ in range(4)])
    return Demonstrations(observations, np.stack([action.sample() for _ in range(4)]))


@pytest.mark.parametrize(
    ("action", "observation", "name"),
    [
        *((action, VECTOR, "action_space") for action in SHIFTED),
        (spaces.Discrete(3), spaces.Discrete(4, start=1), "observation_space"),
    ],
    ids=str,
)
def test_clones_and_warm_starts_refuse_them_and_leave_the_model_as_it_was(action, observation, name):
    env, rows = DummyVecEnv([lambda: Env(action, observation)]), shown(action, observation)
    for given in ({"env": env}, {"observation_space": observation, "action_space": action}):
        with pytest.raises(FeedbackError, match=f"{name}: .*" + REFUSED):
            clone(rows, **given, n_epochs=1)
    model = sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0, device="cpu")
    with pytest.raises(FeedbackError, match=f"{name}: .*" + REFUSED):
        warm_start(model, rows, n_epochs=1, critic_steps=8)
    assert_same_model(model, sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0, device="cpu"))


def test_clones_and_warm_starts_take_spaces_that_count_from_zero():
    action, observation = spaces.Discrete(3), spaces.Discrete(4)
    rows = Demonstrations(np.array([0, 1, 2, 3] * 20), np.array([0, 2, 1, 2] * 20))
    env = DummyVecEnv([lambda: Env(action, observation)])
    expert = clone(rows, env, n_epochs=60, deterministic=True, learning_rate=1e-2)
    np.testing.assert_array_equal(expert.act(np.arange(4)), [0, 2, 1, 2])
    model = sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=8, seed=0, device="cpu")
    warm_start(model, rows, n_epochs=60, learning_rate=1e-2, critic_steps=8)
    np.testing.assert_array_equal(model.predict(np.arange(4), deterministic=True)[0], [0, 2, 1, 2])


@pytest.mark.parametrize("action", SHIFTED, ids=str)
def test_without_labels_they_train_as_in_sb3_and_scores_are_no_labels(action):
    settings = {"n_steps": 16, "batch_size": 8, "seed": 0, "device": "cpu"}
    ours, theirs = (package("MlpPolicy", Env(action), **settings).learn(32) for package in (PPO, sb3.PPO))
    assert_same_model(ours, theirs)
    scored = FeedbackWrapper(Env(action), ScoreTeacher(lambda step: float(np.sum(step.action))), score_as_reward="replace")
    assert_same_model(PPO("MlpPolicy", scored, **settings).learn(32), theirs)
