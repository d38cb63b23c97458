"""Wrappers that change an action in place, lose or repeat infos, or work in small units: steps are compared all the same."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from helpers import ToyEnv, box_expert, discrete_expert
from learners import learner
from odd_wrappers import INNER, DropsInfos, forked, labelled, refuse, taken_over
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnvWrapper

from nlf_sb3 import Feedback, FeedbackError, FeedbackWrapper, TrajectoryInjection


class NegatesInPlace(gym.Wrapper):
    def step(self, action):
        action *= -1
        return self.env.step(action)


class WritesLater(gym.Wrapper):
    """Changes the array that it got when the environment has acted already."""

    def step(self, action):
        returned = self.env.step(action)
        action[...] = 0
        return returned


class NegatesAllInPlace(VecEnvWrapper):
    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        actions *= -1
        self.venv.step_async(actions)

    def step_wait(self):
        return self.venv.step_wait()


class Inverts(gym.Wrapper):
    """Of two choices the other one, in place."""

    def step(self, action):
        action[:] = 1 - action
        return self.env.step(action)


class NewInfos(gym.Wrapper):
    def step(self, action):
        *rest, _ = self.env.step(action)
        return *rest, {"note": 1}


class KeepsRecords(gym.Wrapper):
    """Passes on what it knows by name."""

    def step(self, action):
        *rest, info = self.env.step(action)
        known = ("feedback", "expert_segment", "executed_action")
        return *rest, {key: info[key] for key in known if key in info}


class OneInfo(gym.Wrapper):
    """Gathers all that an episode's infos hold in one."""

    def reset(self, **kwargs):
        observation, self.info = self.env.reset(**kwargs)
        return observation, self.info

    def step(self, action):
        *rest, info = self.env.step(action)
        self.info.update(info)
        return *rest, self.info


@pytest.mark.parametrize("inner", INNER)
def test_an_action_that_is_changed_in_place_is_refused(inner):
    refuse(learner("PPO", DummyVecEnv([lambda: NegatesInPlace(INNER[inner]())] * 2)), "the learner's action", "NegatesInPlace")


@pytest.mark.parametrize("algorithm", ["A2C", "TRPO", "REINFORCE", "RecurrentPPO"])
def test_every_algorithm_refuses_it(algorithm):
    env = NegatesAllInPlace(DummyVecEnv([labelled] * 2))
    refuse(learner(algorithm, env), "the learner's action", "NegatesAllInPlace")


def test_squashed_actions_too():
    env = DummyVecEnv([lambda: NegatesInPlace(labelled(ToyEnv(bound=0.4)))])
    refuse(learner("PPO", env, use_sde=True, policy_kwargs={"squash_output": True}), "the learner's action")


@pytest.mark.parametrize("algorithm", ["A2C", "PPO", "TRPO", "REINFORCE", "MaskablePPO"])
def test_actions_of_several_choices_too(algorithm):
    def one():
        env = ActionMasker(ToyEnv("multibinary"), lambda env: np.ones(4, bool))
        return Inverts(labelled(env, lambda observations: np.zeros((len(observations), 2), int)))

    refuse(learner(algorithm, DummyVecEnv([one])), "the learner's action", "Inverts")


@pytest.mark.parametrize("inner", INNER)
def test_an_array_that_is_changed_after_the_step_changes_nothing(inner):
    model = learner("PPO", DummyVecEnv([lambda: WritesLater(INNER[inner]())] * 2)).learn(96)
    assert model.num_expert_queries + model.num_expert_steps > 0


@pytest.mark.parametrize("inner", ["takeover", "guide", "labels on takeovers", "takeovers with labels"])
@pytest.mark.parametrize("outer", [NewInfos, DropsInfos, KeepsRecords])
def test_an_expert_never_acts_without_the_learner_s_knowledge(inner, outer):
    model = learner("PPO", DummyVecEnv([lambda: outer(INNER[inner]())]))
    refuse(model, "TrajectoryInjection of environment 0", "would pass for the learner's own", f"{outer.__name__} is around it")


def test_nor_where_the_infos_are_lost_inside_a_wrapper_of_ours():
    refuse(learner("PPO", DummyVecEnv([lambda: labelled(NewInfos(taken_over("guide")))])), "would pass for the learner's own")


@pytest.mark.parametrize("inner", ["labels", "fork"])
def test_labels_and_episodes_that_can_not_be_compared_are_warned_of_once(inner):
    with pytest.warns(UserWarning, match="it can't be told whether .* KeepsRecords is around it") as caught:
        learner("PPO", DummyVecEnv([lambda: KeepsRecords(INNER[inner]())])).learn(48)
    assert sum("can't be told" in str(one.message) for one in caught) == 1
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*can't be told")
        learner("PPO", DummyVecEnv([lambda: OneInfo(INNER[inner]())])).learn(48)


def test_a_label_that_comes_again_with_later_steps_is_refused():
    env = DummyVecEnv([lambda: OneInfo(labelled(labels=lambda observation: observation[0] > 0))])
    refuse(learner("PPO", env), "FeedbackWrapper", "holds what it gave at an earlier step", "OneInfo is around it")


def test_so_is_a_takeover():
    refuse(learner("PPO", DummyVecEnv([lambda: OneInfo(taken_over("guide"))])), "holds what it gave at an earlier step")


def test_so_is_a_forked_episode():
    class Kept(OneInfo):
        def reset(self, **kwargs):
            observation, info = self.env.reset(**kwargs)
            self.info = {**getattr(self, "info", {}), **info}
            return observation, self.info

    refuse(learner("PPO", DummyVecEnv([lambda: Kept(forked())])), "holds what it gave at an earlier step", "Kept")


class Executes(ToyEnv):
    """Has an entry of its own by a name that ours have too."""

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "executed_action": np.full(2, 7.0)}


@pytest.mark.parametrize("mode", ["takeover", "guide"])
def test_an_entry_of_the_environment_s_is_no_takeover(mode):
    own = {"fork_probability": 0.3, "max_segment_steps": 1} if mode == "takeover" else {"guide_steps": 2}
    env = DummyVecEnv([lambda: TrajectoryInjection(labelled(Executes()), box_expert, mode=mode, **own)])
    model = learner("PPO", env).learn(48)
    assert 0 < model.num_expert_steps < 48
    assert model.num_expert_queries == 48


class Small(gym.Env):
    """Actions, observations and rewards of a millionth."""

    observation_space = spaces.Box(-1e-6, 1e-6, (2,), np.float32)
    action_space = spaces.Box(-1e-6, 1e-6, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.np_random.uniform(-1e-6, 1e-6, 2).astype(np.float32), {}

    def step(self, action):
        self.count += 1
        return self.np_random.uniform(-1e-6, 1e-6, 2).astype(np.float32), 1e-6, False, self.count == 5, {}


def expert_in_millionths(observations):
    return np.clip(observations, -1e-6, 1e-6).astype(np.float32)


def test_small_actions_are_compared_in_their_own_unit():
    class Half(gym.Wrapper):
        def step(self, action):
            return self.env.step(action / 2)

    def one():
        return labelled(Small(), expert_in_millionths)

    refuse(learner("PPO", DummyVecEnv([lambda: Half(one())])), "the learner's action", "Half")
    assert learner("PPO", DummyVecEnv([one])).learn(24).num_expert_queries == 24


def test_small_rewards_and_observations_too():
    class Rewards(gym.Wrapper):
        def step(self, action):
            observation, reward, *rest = self.env.step(action)
            return observation, 3 * reward, *rest

    class Observations(gym.Wrapper):
        def step(self, action):
            observation, *rest = self.env.step(action)
            return observation / 2, *rest

    def one():
        return TrajectoryInjection(Small(), expert_in_millionths, 0.3, twin=Small)

    refuse(learner("PPO", DummyVecEnv([lambda: Rewards(one())])), "it returned the reward")
    refuse(learner("PPO", DummyVecEnv([lambda: Observations(one())])), "its observation holds")
    assert learner("PPO", DummyVecEnv([one])).learn(48).num_expert_steps > 0


def test_a_skip_shows_in_the_first_step():
    class Twice(gym.Wrapper):
        def step(self, action):
            self.env.step(action)
            return self.env.step(action)

    env = DummyVecEnv([lambda: Twice(labelled(ToyEnv("discrete", lengths=(9, 9)), discrete_expert))])
    with pytest.raises(FeedbackError, match=r"step 1: FeedbackWrapper .* it took 2 steps where the learner took 1"):
        learner("A2C", env, n_steps=1).learn(4)


def test_other_feedback_than_ours_needs_no_mark():
    class Says(ToyEnv):
        def step(self, action):
            *rest, info = super().step(action)
            return *rest, {**info, "feedback": Feedback(expert_action=np.zeros(2, np.float32))}

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*can't be told")
        assert learner("PPO", DummyVecEnv([Says])).learn(24).num_expert_queries == 24
    inside = DummyVecEnv([lambda: FeedbackWrapper(Says(), lambda step: None)])  # whose teacher says nothing
    assert learner("PPO", inside).learn(24).num_expert_queries == 24
