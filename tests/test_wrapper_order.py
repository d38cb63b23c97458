"""Wrappers around this package's own that would turn an expert's actions or episodes into others are refused by name."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import RescaleAction, TimeLimit
from helpers import ToyEnv, box_expert, teacher
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnvWrapper, VecFrameStack, VecMonitor

from nlf_sb3 import PPO, Demonstrations, Feedback, FeedbackError, FeedbackWrapper, Injection, TrajectoryInjection


class Flip(gym.ActionWrapper):
    def action(self, action):
        return -action


class Same(gym.ActionWrapper, gym.RewardWrapper, gym.ObservationWrapper):
    def action(self, action):
        return action

    def reward(self, reward):
        return reward

    def observation(self, observation):
        return observation


class Double(gym.ObservationWrapper):
    def observation(self, observation):
        return 2 * observation


class Less(gym.RewardWrapper):
    def reward(self, reward):
        return float(reward) - 1


StickyAction = getattr(gym.wrappers, "StickyAction", Flip)  # which Gymnasium 1.0 brought


def rescale(env):
    return RescaleAction(env, np.float32(-2.0), np.float32(2.0))


def sticky(env):
    return StickyAction(env, 0.5)


def limited(env):
    return TimeLimit(env, 3)


INNER = {
    "feedback": lambda: FeedbackWrapper(ToyEnv(), teacher(box_expert)),
    "fork": lambda: TrajectoryInjection(ToyEnv(), box_expert, twin=ToyEnv),
    "takeover": lambda: TrajectoryInjection(ToyEnv(), box_expert, mode="takeover"),
}


def learner(env, **kwargs):
    return PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", seed=0, **kwargs)


CHANGE_ACTIONS = (Flip, rescale) if StickyAction is Flip else (Flip, rescale, sticky)


@pytest.mark.parametrize(
    ("inner", "outer"),
    [(inner, outer) for inner in INNER for outer in CHANGE_ACTIONS] + [("fork", outer) for outer in (Double, Less, limited)],
)
def test_what_changes_the_expert_s_part_must_be_inside(inner, outer):
    env = DummyVecEnv([lambda: Monitor(outer(INNER[inner]()))])
    name = {rescale: "RescaleAction", sticky: "StickyAction", limited: "TimeLimit"}.get(outer, outer.__name__)
    with pytest.raises(FeedbackError, match=rf"(FeedbackWrapper|TrajectoryInjection).*{name} is around it.* inside"):
        learner(env).learn(16)


def same_bounds(env):
    return RescaleAction(env, np.float32(-1.0), np.float32(1.0))


@pytest.mark.parametrize("inner", ["feedback", "takeover"])
@pytest.mark.parametrize("outer", [Same, same_bounds])
def test_what_could_change_a_step_and_does_not_is_allowed(inner, outer):
    model = learner(DummyVecEnv([lambda: outer(INNER[inner]())])).learn(32)
    assert model.num_expert_queries + model.num_expert_steps > 0


def test_what_is_known_to_change_nothing_of_a_fork_is_allowed():
    limit = 5
    env = gym.make("NLFToyNarrowBox-v0", max_episode_steps=limit)
    fork = TrajectoryInjection(env, box_expert)
    model = learner(DummyVecEnv([lambda: TimeLimit(same_narrow_bounds(fork), limit)])).learn(48)
    assert model.num_expert_steps > 0
    with pytest.raises(FeedbackError, match="TimeLimit is around it"):
        learner(DummyVecEnv([lambda: TimeLimit(fork, limit - 1)]))


def same_narrow_bounds(env):
    return RescaleAction(env, env.action_space.low, env.action_space.high)


class Clips(gym.RewardWrapper):
    """Changes rewards that the learner may never get, and the expert does."""

    def reward(self, reward):
        return min(float(reward), 1e3)


def test_what_may_change_an_expert_s_rewards_alone_is_refused_unless_they_are_not_used():
    env = DummyVecEnv([lambda: Clips(INNER["fork"]())])
    with pytest.raises(FeedbackError, match="TrajectoryInjection: Clips is around it"):
        learner(env)
    assert learner(env, injection=Injection(segments="imitate")).learn(48).num_expert_steps > 0


@pytest.mark.parametrize(
    ("inner", "outer"), [(inner, outer) for inner in ("feedback", "takeover") for outer in (Double, Less, limited)]
)
def test_what_leaves_actions_alone_may_be_around(inner, outer):
    model = learner(DummyVecEnv([lambda: outer(INNER[inner]())])).learn(32)
    assert model.num_expert_queries + model.num_expert_steps > 0


def test_another_space_is_seen_in_other_processes_too():
    env = SubprocVecEnv([lambda: rescale(FeedbackWrapper(ToyEnv(), teacher(box_expert)))])
    try:
        with pytest.raises(
            FeedbackError, match=r"FeedbackWrapper: RescaleAction is around it. So the learner acts in Box\(-2.0"
        ):
            learner(env)
    finally:
        env.close()


def test_an_environment_that_is_set_later_is_checked_before_the_first_step():
    model = learner(DummyVecEnv([ToyEnv]))
    model.env = DummyVecEnv([lambda: Same(rescale(INNER["feedback"]()))])
    with pytest.raises(FeedbackError, match="Around it are Same, RescaleAction"):
        model.learn(16)
    assert model.num_timesteps == 0


class VecRescale(VecEnvWrapper):
    def __init__(self, venv):
        super().__init__(venv, action_space=spaces.Box(-0.5, 0.5, (2,), np.float32))

    def reset(self):
        return self.venv.reset()

    def step_async(self, actions):
        self.venv.step_async(2 * actions)

    def step_wait(self):
        return self.venv.step_wait()


class RescalesMonitor(VecMonitor):
    """Of a type that is known to leave observations alone, which says nothing of actions."""

    def __init__(self, venv):
        super().__init__(venv)
        self.action_space = spaces.Box(-0.5, 0.5, (2,), np.float32)

    def step_async(self, actions):
        self.venv.step_async(2 * actions)


@pytest.mark.parametrize("inner", INNER)
def test_a_wrapper_of_a_vectorised_environment_with_another_action_space_is_refused_by_name(inner):
    env = VecMonitor(VecRescale(VecMonitor(DummyVecEnv([INNER[inner]]))))
    with pytest.raises(FeedbackError, match=r"(FeedbackWrapper|TrajectoryInjection): VecRescale is around it.*Box\(-0.5"):
        learner(env)


def shown():
    return Demonstrations(np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32))


@pytest.mark.parametrize("wrapper", [VecRescale, RescalesMonitor])
@pytest.mark.parametrize("told", [lambda: {"expert": box_expert}, lambda: {"demonstrations": shown()}])
def test_an_expert_s_actions_are_refused_where_the_learner_acts_in_another_space(wrapper, told):
    env = VecMonitor(wrapper(DummyVecEnv([ToyEnv])))
    with pytest.raises(FeedbackError, match=rf"environments' own actions, Box\(-1.0.*Box\(-0.5.*{wrapper.__name__}"):
        learner(env, **told())
    learner(env).learn(16)  # as SB3 does, without anything that an action could mean


class Says(ToyEnv):
    """Brings labels of its own."""

    def step(self, action):
        *rest, info = super().step(action)
        return *rest, {**info, "feedback": Feedback(expert_action=np.full(2, 0.3, np.float32))}


@pytest.mark.parametrize("wrapper", [VecRescale, RescalesMonitor])
def test_labels_of_the_environments_are_refused_where_the_learner_acts_in_another_space(wrapper):
    assert learner(VecMonitor(DummyVecEnv([Says]))).learn(16).num_expert_queries == 16
    with pytest.raises(FeedbackError, match=rf"labels act in the environments' own.*Box\(-1.0.*Box\(-0.5.*{wrapper.__name__}"):
        learner(VecMonitor(wrapper(DummyVecEnv([Says])))).learn(16)


class NegatingMonitor(VecMonitor):
    def step_async(self, actions):
        self.venv.step_async(-actions)


class DoublingMonitor(VecMonitor):
    def step_wait(self):
        observations, *rest = super().step_wait()
        return 2 * observations, *rest


class NamedMonitor(VecMonitor):
    name = "mine"


@pytest.mark.parametrize("wrapper", [NegatingMonitor, DoublingMonitor])
@pytest.mark.parametrize("told", [lambda: {"expert": box_expert}, lambda: {"demonstrations": shown()}])
def test_wrappers_of_sb3_that_take_steps_in_another_way_are_not_known(wrapper, told):
    env = DummyVecEnv([ToyEnv])
    with pytest.raises(FeedbackError, match=wrapper.__name__):
        learner(wrapper(env), **told()).learn(16, callback=lambda *_: pytest.fail("took a step"))
    learner(NamedMonitor(env), **told()).learn(16)


@pytest.mark.parametrize("around", ["unknown", "stack"])
def test_demonstrations_whose_observations_can_not_be_repeated_are_refused_before_the_first_step(around):
    class Doubles(VecEnvWrapper):
        def reset(self):
            return 2 * self.venv.reset()

        def step_wait(self):
            observations, *rest = self.venv.step_wait()
            return 2 * observations, *rest

    env = DummyVecEnv([ToyEnv])
    env = Doubles(env) if around == "unknown" else VecFrameStack(env, 2)
    with pytest.raises(FeedbackError, match="Doubles" if around == "unknown" else "VecFrameStack"):
        learner(env, demonstrations=shown()).learn(16, callback=lambda *_: pytest.fail("took a step"))
    learner(env, demonstrations=shown(), alpha=1.0).learn(16)  # imitates nothing


def test_settings_that_were_changed_after_construction_are_checked_before_the_first_step():
    model = learner(DummyVecEnv([ToyEnv]))
    model.expert = box_expert
    assert model.learn(16).num_expert_queries == 16
    model.alpha = 2.0
    with pytest.raises(ValueError, match="alpha"):
        model.learn(16)
