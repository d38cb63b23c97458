"""Refuse wrappers if a space or type shows that they turn an expert's actions or episodes into others."""

from __future__ import annotations

import gymnasium as gym
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import ask_wrappers, single_environments
from nlf_sb3.receiving.wrappers_around import name_wrappers_around
from nlf_sb3.vec_envs import wrappers_of
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection

_CHANGE_STEPS = (gym.ActionWrapper, gym.ObservationWrapper, gym.wrappers.TimeLimit)
_CHANGE_EPISODES = (*_CHANGE_STEPS, gym.RewardWrapper)


def check_wrapper_order(env: VecEnv, *, is_told_actions: bool, pays_segments: bool) -> None:
    """
    Raise if a space of a wrapper, or around forks its type, shows that it changes what one of ours, or an expert, hands out.

    Labels and takeovers are actions of the environment that our wrapper sees; a forked episode is one of it. An expert and
    demonstrations act in the environments' own space. Wrappers with another space must be inside. Changes of a step in
    the same spaces, :class:`~nlf_sb3.receiving.step_check.StepCheck` sees.

    :param env: The learner's environment
    :param is_told_actions: Whether the learner has an expert or demonstrations
    :param pays_segments: Whether the rewards of forked episodes train
    :raises FeedbackError: With the wrapper's name
    """
    if is_told_actions:
        other = other_actions(env)
        if other is not None:
            raise FeedbackError(f"expert= and demonstrations= act in {other}")
    for wrapper in (FeedbackWrapper, TrajectoryInjection):
        for index, action_space in ask_wrappers(env, wrapper, _name_of_space(wrapper)).items():
            # Feedback on texts has no expert action, and TokenLevel makes texts of the learner's tokens.
            if action_space != env.action_space and not isinstance(action_space, gym.spaces.Text):
                what = f"So the learner acts in {env.action_space}, it in {action_space}, and"
                raise FeedbackError(_message(env, index, wrapper, what))
    for index, one in enumerate(single_environments(env)):
        _check_forks(env, index, one, _CHANGE_EPISODES if pays_segments else _CHANGE_STEPS)


def other_actions(env: VecEnv) -> str | None:
    """
    :param env: The learner's environment
    :return: How the environments' actions differ from the learner's, after "act in"; None where no wrapper changes their space
    """
    changing = [one for one in wrappers_of(env) if one.action_space != one.venv.action_space]
    if not changing:
        return None
    return (
        f"the environments' own actions, {changing[-1].venv.action_space}, and the learner in {env.action_space}: "
        f"{type(changing[0]).__name__} is between them. Put a Gymnasium wrapper that does the same inside the environment "
        "instead, and give actions in its space."
    )


def _check_forks(env: VecEnv, index: int, one: gym.Env, changing: tuple[type[gym.Wrapper], ...]) -> None:
    """
    Raise on wrappers around a fork that may change an expert's episode.

    Their types have to tell: a limit that the learner doesn't reach, or a clip of rewards that it doesn't get, shows in
    none of its steps, and would change the expert's.
    """
    outermost = one
    outer: list[gym.Wrapper] = []
    while isinstance(one, gym.Wrapper):
        if isinstance(one, TrajectoryInjection) and one.injection_mode == "fork":
            what = ""
            if outermost.observation_space != one.observation_space:
                what = f"So the learner observes {outermost.observation_space}, it {one.observation_space}, and"
            if what or any(isinstance(wrapper, changing) and not _changes_nothing(wrapper) for wrapper in outer):
                raise FeedbackError(_message(env, index, type(one), what or "So"))
        outer.append(one)
        one = one.env


def _changes_nothing(wrapper: gym.Wrapper) -> bool:
    """Whether a wrapper of Gymnasium's is set so that it leaves all as it is."""
    if type(wrapper) in (gym.wrappers.RescaleAction, gym.wrappers.ClipAction):
        return bool(wrapper.action_space == wrapper.env.action_space)
    if type(wrapper) is gym.wrappers.TimeLimit and wrapper.spec is not None and wrapper.env.spec is not None:
        own, inner = wrapper.spec.max_episode_steps, wrapper.env.spec.max_episode_steps
        return own is not None and inner is not None and own >= inner
    return False


def _name_of_space(wrapper: type[gym.Wrapper]) -> str:
    return "nlf_sb3_feedback_space" if wrapper is FeedbackWrapper else "nlf_sb3_injection_space"


def _message(env: VecEnv, index: int, wrapper: type, what: str) -> str:
    name = wrapper.__name__
    return (
        f"{name}: {name_wrappers_around(env, index, name)} {what} an expert's actions or episodes would mean others "
        f"than the learner's. Put wrappers that change actions, observations, rewards or time limits inside {name}."
    )
