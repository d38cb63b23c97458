"""Vectorised environments that aren't Stable-Baselines3's own: they train as in SB3, and learn from whoever can be reached."""

from __future__ import annotations

import functools

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch as th
from foreign_envs import ANSWERS, ArrayEnv, BatchedAdapter, ListAdapter, OneArrayExpert
from helpers import assert_same_model, largest_difference
from learners import ALGORITHMS, is_finite, learner
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecCheckNan, VecEnvWrapper, VecNormalize

from nlf_sb3 import Demonstrations, Feedback, FeedbackError, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.foreign_vec_envs import ask_wrappers
from nlf_sb3.teachers import ExpertTeacher

STEPS = 4 * 12 * 3
SB3S = [name for name in ALGORITHMS if name != "REINFORCE"]
THEIRS = {name: getattr(stable_baselines3, name, None) or getattr(sb3_contrib, name) for name in SB3S}
BOX = ArrayEnv("box").action_space


def action_of(algorithm):
    return "masked" if algorithm == "MaskablePPO" else "box"


# --- without feedback ---------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", SB3S)
@pytest.mark.parametrize("wrap", [lambda env: env, lambda env: VecNormalize(VecCheckNan(env))], ids=["bare", "normalised"])
def test_a_batched_simulator_trains_as_in_sb3_bit_for_bit(algorithm, wrap):
    models = [
        learner(algorithm, wrap(BatchedAdapter(action_of(algorithm))), subclass=subclass).learn(STEPS)
        for subclass in (None, THEIRS[algorithm])
    ]
    assert_same_model(*models)


@functools.cache
def trained_by_sb3():
    return learner("PPO", BatchedAdapter(), subclass=stable_baselines3.PPO).learn(STEPS)


@pytest.mark.parametrize("answer", ANSWERS)
def test_whatever_it_answers_about_its_wrappers_it_trains_as_in_sb3(answer):
    assert_same_model(learner("PPO", BatchedAdapter(answer=answer)).learn(STEPS), trained_by_sb3())


@pytest.mark.parametrize("can_say", [True, False])
@pytest.mark.parametrize("shows_envs", [True, False])
@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_single_environments_in_a_foreign_list_train_as_in_sb3(algorithm, can_say, shows_envs):
    models = [
        learner(algorithm, env, subclass=subclass).learn(STEPS)
        for subclass, env in (
            (None, ListAdapter([ArrayEnv] * 2, can_say=can_say, shows_envs=shows_envs)),
            (THEIRS[algorithm], ListAdapter([ArrayEnv] * 2)),
        )
    ]
    assert_same_model(*models)


# --- with an expert or demonstrations -----------------------------------------------------------------


class Seen(OneArrayExpert):
    """Remembers the shapes of what it is shown."""

    def __init__(self, space):
        super().__init__(space)
        self.shapes = []

    def act(self, observations):
        self.shapes.append(observations.shape)
        return super().act(observations)


def distance(model, expert, observations):
    with th.no_grad():
        mean = model.policy.get_distribution(th.as_tensor(observations)).distribution.mean.numpy()
    return float(np.abs(mean - expert.wished(observations)).mean())


OBSERVATIONS = np.random.default_rng(0).uniform(-1, 1, (64, 3)).astype(np.float32)


@pytest.mark.parametrize("answer", ["NotImplementedError", "one for all"])
@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_an_expert_teaches_in_a_batched_simulator(algorithm, answer):
    expert = Seen(BOX)
    model = learner(algorithm, BatchedAdapter(answer=answer), expert=expert, alpha=0.0, learning_rate=0.02)
    before = distance(model, expert, OBSERVATIONS)
    model.learn(10 * STEPS)
    assert distance(model, expert, OBSERVATIONS) < before / 2
    assert set(expert.shapes) == {(4 * 12, 3)}, "a batch of single observations, in the learner's own space"
    assert model.num_expert_queries == 10 * STEPS


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_demonstrations_teach_in_a_batched_simulator(algorithm):
    expert = OneArrayExpert(BOX)
    rows = Demonstrations(OBSERVATIONS, expert.wished(OBSERVATIONS))
    model = learner(algorithm, BatchedAdapter(), demonstrations=rows, alpha=0.0, learning_rate=0.02)
    before = distance(model, expert, OBSERVATIONS)
    model.learn(10 * STEPS)
    assert distance(model, expert, OBSERVATIONS) < before / 2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_takes_an_expert_there(algorithm):
    env = BatchedAdapter(action_of(algorithm))
    model = learner(algorithm, env, expert=OneArrayExpert(env.action_space), alpha=0.5).learn(STEPS)
    assert is_finite(model)
    assert model.num_expert_queries > STEPS / 2


@pytest.mark.parametrize("wrap", [VecNormalize, VecCheckNan])
def test_an_expert_sees_the_simulator_s_own_observations_through_sb3_s_wrappers(wrap):
    expert = Seen(BOX)
    assert is_finite(learner("PPO", wrap(BatchedAdapter()), expert=expert).learn(STEPS))
    assert set(expert.shapes) == {(4 * 12, 3)}


def test_demonstrations_of_another_shape_are_refused_with_the_space_of_one_environment():
    rows = Demonstrations(np.zeros((5, 4), np.float32), np.zeros((5, 2), np.float32))
    with pytest.raises(FeedbackError, match=r"\(5, 3\)"):
        learner("PPO", BatchedAdapter(), demonstrations=rows)


def test_a_warm_start_takes_a_batched_simulator():
    interop = pytest.importorskip("nlf_sb3.interop.imitation")
    pytest.importorskip("imitation")
    expert = OneArrayExpert(BOX)
    model = learner("PPO", BatchedAdapter(), learning_rate=0.01)
    before = distance(model, expert, OBSERVATIONS)
    interop.warm_start(model, Demonstrations(OBSERVATIONS, expert.wished(OBSERVATIONS)), n_epochs=10, batch_size=32)
    assert distance(model, expert, OBSERVATIONS) < before


class Labels(BatchedAdapter):
    """Brings labels of 0.5 in its infos, and then writes into their array."""

    def step_wait(self):
        *rest, infos = super().step_wait()
        labels = np.full((self.num_envs, 2), 0.5, np.float32)
        for label, info in zip(labels, infos, strict=True):
            info["feedback"] = Feedback(expert_action=label)
        labels[:] = -1.0
        return *rest, infos


@pytest.mark.parametrize("algorithm", ["REINFORCE", "A2C", "PPO"])
def test_labels_that_a_simulator_puts_into_its_infos_teach(algorithm):
    model = learner(algorithm, Labels(), alpha=0.0, learning_rate=0.02).learn(10 * STEPS)
    assert model.num_expert_queries >= 10 * STEPS
    with th.no_grad():
        mean = model.policy.get_distribution(th.as_tensor(OBSERVATIONS)).distribution.mean.numpy()
    assert np.abs(mean - 0.5).mean() < 0.1


class DictAdapter(BatchedAdapter):
    """Observes dicts."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.observation_space = gym.spaces.Dict({"walk": self.observation_space})

    def reset(self):
        return {"walk": super().reset()}

    def step_wait(self):
        observations, *rest, infos = super().step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = {"walk": info["terminal_observation"]}
        return {"walk": observations}, *rest, infos


@pytest.mark.parametrize("algorithm", ["REINFORCE", "PPO"])
def test_an_expert_teaches_a_learner_that_observes_dicts(algorithm):
    model = learner(algorithm, DictAdapter(), expert=OneArrayExpert(BOX), alpha=0.5).learn(STEPS)
    assert is_finite(model)
    assert model.num_expert_queries > STEPS / 2


def test_a_saved_model_goes_on_in_another_such_simulator(tmp_path):
    expert = OneArrayExpert(BOX)
    model = learner("PPO", BatchedAdapter(), expert=expert).learn(STEPS)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", env=BatchedAdapter(answer="one for all"), expert=expert)
    loaded.learn(STEPS, reset_num_timesteps=False)
    assert loaded.num_expert_queries == 2 * STEPS


# --- with single environments that can be reached ------------------------------------------------------


def taken_over(mode="takeover"):
    own = {"fork_probability": 0.3} if mode == "takeover" else {"guide_steps": 2}
    return TrajectoryInjection(ArrayEnv(), OneArrayExpert(BOX), mode=mode, **own)


def labelled():
    return FeedbackWrapper(ArrayEnv(), ExpertTeacher(OneArrayExpert(BOX), probability=0.5))


def forked():
    return TrajectoryInjection(ArrayEnv(), OneArrayExpert(BOX), 0.4, twin=ArrayEnv)


@functools.cache
def trained_in_dummy(make, algorithm):
    return learner(algorithm, DummyVecEnv([make] * 2)).learn(STEPS)


@pytest.mark.parametrize("can_say", [True, False])
@pytest.mark.parametrize(
    "make", [taken_over, functools.partial(taken_over, "guide"), labelled], ids=["takeover", "guide", "labels"]
)
@pytest.mark.parametrize("algorithm", ["REINFORCE", "A2C", "PPO"])
def test_takeovers_and_labels_teach_what_they_teach_in_a_dummy_vec_env(algorithm, make, can_say):
    model = learner(algorithm, ListAdapter([make] * 2, can_say=can_say)).learn(STEPS)
    expected = trained_in_dummy(make, algorithm)
    assert_same_model(model, expected)
    assert model.num_expert_steps == expected.num_expert_steps
    assert model.num_expert_steps + model.num_expert_queries > 0


@pytest.mark.parametrize("algorithm", ["REINFORCE", "PPO"])
def test_forks_teach_the_same_where_the_wrapper_can_be_asked(algorithm):
    model = learner(algorithm, ListAdapter([forked] * 2, can_say=True)).learn(STEPS)
    assert_same_model(model, trained_in_dummy(forked, algorithm))
    assert model.num_expert_steps > 0


@pytest.mark.parametrize("algorithm", ["REINFORCE", "PPO"])
def test_forks_teach_from_the_second_on_where_it_can_t(algorithm):
    model = learner(algorithm, ListAdapter([forked] * 2)).learn(2 * STEPS)
    without = learner(algorithm, ListAdapter([ArrayEnv] * 2)).learn(2 * STEPS)
    assert largest_difference(model.policy, without.policy) > 1e-4
    assert model.num_expert_steps > STEPS / 2


def test_a_schedule_is_told_of_progress_through_a_foreign_list():
    told = []

    def probability(remaining):
        told.append(remaining)
        return 0.3

    def one():
        return TrajectoryInjection(ArrayEnv(), OneArrayExpert(BOX), probability, mode="takeover")

    env = ListAdapter([one], can_say=True)
    told.clear()
    learner("PPO", env).learn(48)
    assert told[-1] == pytest.approx(0.25)


def test_settings_that_don_t_go_with_takeovers_are_refused_at_the_first_where_nobody_could_ask():
    with pytest.raises(FeedbackError, match=r"injection.separate_step: got True, which is for forked episodes"):
        learner("PPO", ListAdapter([taken_over]), injection="separate").learn(STEPS)


class Negates(gym.ActionWrapper):
    def action(self, action):
        return -action


def test_a_wrong_order_of_wrappers_is_refused_where_the_list_can_be_seen():
    with pytest.raises(FeedbackError, match="Negates is around it"):
        learner("PPO", ListAdapter([lambda: Negates(labelled())])).learn(STEPS)


def test_a_wrong_order_is_refused_by_its_first_step_where_nothing_can_be_seen():
    with pytest.raises(FeedbackError, match="the learner's action"):
        learner("PPO", ListAdapter([lambda: Negates(labelled())], shows_envs=False)).learn(STEPS)


# --- where there are none ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["fork", "takeover"])
@pytest.mark.parametrize(
    "make", [BatchedAdapter, lambda: ListAdapter([ArrayEnv]), lambda: gym.vector.SyncVectorEnv([ArrayEnv] * 2)]
)
def test_injection_into_a_vectorised_environment_is_refused_by_name(mode, make):
    env = make()
    words = f"TrajectoryInjection goes around a single environment, and {type(env).__name__} steps"
    with pytest.raises(FeedbackError, match=words) as caught:
        TrajectoryInjection(env, OneArrayExpert(BOX), mode=mode)
    assert "give the algorithm expert= or demonstrations=" in str(caught.value)


def test_feedback_around_a_vectorised_environment_is_refused_by_name():
    with pytest.raises(FeedbackError, match="FeedbackWrapper goes around a single environment, and BatchedAdapter steps 4"):
        FeedbackWrapper(BatchedAdapter(), lambda transition: None)


# --- arrays that each step writes into -----------------------------------------------------------------


class OneArray(VecEnvWrapper):
    """Hands out observations in one array of its own."""

    def reset(self):
        self.array = self.venv.reset().copy()
        return self.array

    def step_wait(self):
        observations, *rest = self.venv.step_wait()
        self.array[...] = observations
        return self.array, *rest


@pytest.mark.parametrize(
    "settings",
    [{}, {"baseline": True}, {"expert": OneArrayExpert(BOX), "alpha": 0.5}],
    ids=["alone", "with a baseline", "with an expert"],
)
def test_reinforce_learns_the_same_from_arrays_that_are_written_into(settings):
    models = [learner("REINFORCE", BatchedAdapter(in_place=in_place), **settings).learn(STEPS) for in_place in (True, False)]
    assert_same_model(*models)
    models = [learner("REINFORCE", wrap(DummyVecEnv([ArrayEnv] * 2))).learn(STEPS) for wrap in (OneArray, VecCheckNan)]
    assert_same_model(*models)


# --- answers ------------------------------------------------------------------------------------------


def test_answers_are_known_by_their_environment_s_index():
    def labelled():
        return FeedbackWrapper(ArrayEnv(), lambda transition: None)

    env = DummyVecEnv([ArrayEnv, labelled, ArrayEnv, labelled])
    assert ask_wrappers(env, FeedbackWrapper, "nlf_sb3_feedback_space") == {1: BOX, 3: BOX}
    assert ask_wrappers(env, TrajectoryInjection, "nlf_sb3_injection_mode") == {}


def test_a_worker_that_is_gone_is_no_environment_without_feedback():
    env = SubprocVecEnv([ArrayEnv] * 2, start_method="fork")
    for process in env.processes:
        process.terminate()
        process.join()
    with pytest.raises((EOFError, ConnectionError)):
        learner("PPO", env)
