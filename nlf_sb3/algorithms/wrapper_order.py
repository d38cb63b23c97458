"""Refuse wrappers around this package's own that would turn an expert's actions or episodes into others."""

from __future__ import annotations

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import ask_wrappers, innermost, single_environments
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection

_CHANGE_ACTIONS = (gym.ActionWrapper,)
_CHANGE_EPISODES = (gym.ActionWrapper, gym.ObservationWrapper, gym.RewardWrapper, gym.wrappers.TimeLimit)


def check_wrapper_order(env: VecEnv | None) -> None:
    """
    Raise if a wrapper around one of ours changes what it hands out.

    Labels and takeovers are actions of the environment that our wrapper sees; a forked episode is one of it. Wrappers
    that change actions (and for forks observations, rewards or time limits) must be inside. In other processes, only a
    difference of spaces can be seen.

    :param env: The learner's environment
    :raises FeedbackError: With the wrapper's name
    """
    if env is None:
        return
    inner = innermost(env)
    for wrapper in (FeedbackWrapper, TrajectoryInjection):
        for action_space in ask_wrappers(env, wrapper, _name_of_space(wrapper)):
            # Feedback on texts has no expert action, and TokenLevel makes texts of the learner's tokens.
            if action_space != inner.action_space and not isinstance(action_space, gym.spaces.Text):
                raise FeedbackError(_message(wrapper, f"the learner acts in {inner.action_space}, it in {action_space}"))
    for one in single_environments(env):
        _check_chain(one)


def _check_chain(env: gym.Env) -> None:
    outer: list[gym.Wrapper] = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, (FeedbackWrapper, TrajectoryInjection)):
            is_fork = isinstance(env, TrajectoryInjection) and env.injection_mode == "fork"
            for one in outer:
                if isinstance(one, _CHANGE_EPISODES if is_fork else _CHANGE_ACTIONS):
                    raise FeedbackError(_message(type(env), f"{type(one).__name__} is around it"))
            if is_fork and outer and outer[0].observation_space != env.observation_space:
                what = f"the learner observes {outer[0].observation_space}, it {env.observation_space}"
                raise FeedbackError(_message(type(env), what))
        outer.append(env)
        env = env.env


def _name_of_space(wrapper: type[gym.Wrapper]) -> str:
    return "nlf_sb3_feedback_space" if wrapper is FeedbackWrapper else "nlf_sb3_injection_space"


def _message(wrapper: type, what: str) -> str:
    return (
        f"{wrapper.__name__}: {what}, so that an expert's actions or episodes would mean others than the learner's. Put "
        f"wrappers that change actions, observations, rewards or time limits inside {wrapper.__name__}."
    )
