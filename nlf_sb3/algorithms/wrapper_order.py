"""Refuse wrappers whose types or spaces show that they turn an expert's actions or episodes into others."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.algorithms.vec_envs import wrappers_of
from nlf_sb3.errors import FeedbackError
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection

_CHANGE_ACTIONS = (gym.ActionWrapper,)
_CHANGE_EPISODES = (gym.ActionWrapper, gym.ObservationWrapper, gym.RewardWrapper, gym.wrappers.TimeLimit)


def check_wrapper_order(env: VecEnv, *, is_told_actions: bool) -> None:
    """
    Raise if the type or a space of a wrapper shows that it changes what one of ours, or an expert, hands out.

    Labels and takeovers are actions of the environment that our wrapper sees; a forked episode is one of it. An expert and
    demonstrations act in the environments' own space. Wrappers that change actions (and for forks observations, rewards or
    time limits) must be inside. What only a step shows, :class:`~nlf_sb3.algorithms.step_check.StepCheck` sees.

    :param env: The learner's environment
    :param is_told_actions: Whether the learner has an expert or demonstrations
    :raises FeedbackError: With the wrapper's name
    """
    changing = [one for one in wrappers_of(env) if one.action_space != one.venv.action_space]
    if changing and is_told_actions:
        outer = changing[0]
        raise FeedbackError(
            f"expert= and demonstrations= act in the environments' own actions, {changing[-1].venv.action_space}, and the "
            f"learner in {env.action_space}: {type(outer).__name__} is between them. Put a Gymnasium wrapper that does the "
            "same inside the environment instead, and give actions in its space."
        )
    for wrapper in (FeedbackWrapper, TrajectoryInjection):
        for action_space in ask_wrappers(env, wrapper, _name_of_space(wrapper)):
            # Feedback on texts has no expert action, and TokenLevel makes texts of the learner's tokens.
            if action_space != env.action_space and not isinstance(action_space, gym.spaces.Text):
                named = f"{type(changing[0]).__name__} is around it: " if changing else ""
                raise FeedbackError(_message(wrapper, f"{named}the learner acts in {env.action_space}, it in {action_space}"))
    for one in getattr(env.unwrapped, "envs", []):
        _check_chain(one)


def ask_wrappers(env: VecEnv, wrapper: type[gym.Wrapper], name: str) -> list[Any]:
    """
    :param env: A vectorised environment
    :param wrapper: The wrapper that is asked
    :param name: An attribute that no other wrapper has
    :return: Its value in each environment that has the wrapper
    """
    wrapped = [index for index, is_wrapped in enumerate(env.env_is_wrapped(wrapper)) if is_wrapped]
    return env.env_method("get_wrapper_attr", name, indices=wrapped) if wrapped else []


def _check_chain(env: gym.Env) -> None:
    outer: list[gym.Wrapper] = []
    while isinstance(env, gym.Wrapper):
        if isinstance(env, (FeedbackWrapper, TrajectoryInjection)):
            is_fork = isinstance(env, TrajectoryInjection) and env.injection_mode == "fork"
            for one in outer:
                if isinstance(one, _CHANGE_EPISODES if is_fork else _CHANGE_ACTIONS) and not _clips_alone(one):
                    raise FeedbackError(_message(type(env), f"{type(one).__name__} is around it"))
            if is_fork and outer and outer[0].observation_space != env.observation_space:
                what = f"the learner observes {outer[0].observation_space}, it {env.observation_space}"
                raise FeedbackError(_message(type(env), what))
        outer.append(env)
        env = env.env


def _clips_alone(env: gym.Wrapper) -> bool:
    """Whether a wrapper clips to the bounds that the learner clips to by itself."""
    return type(env) is gym.wrappers.ClipAction and env.action_space == env.env.action_space


def _name_of_space(wrapper: type[gym.Wrapper]) -> str:
    return "feedback_action_space" if wrapper is FeedbackWrapper else "injection_action_space"


def _message(wrapper: type, what: str) -> str:
    return (
        f"{wrapper.__name__}: {what}, so that an expert's actions or episodes would mean others than the learner's. Put "
        f"wrappers that change actions, observations, rewards or time limits inside {wrapper.__name__}."
    )
