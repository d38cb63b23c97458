"""Name the wrappers between the learner and one of this package's own, in this process or another."""

from __future__ import annotations

import contextlib
import re

import gymnasium as gym
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.foreign_vec_envs import single_environments
from nlf_sb3.vec_envs import KNOWN_WRAPPERS, wrappers_of

_CHANGE_NOTHING = {
    Monitor.__name__,
    gym.wrappers.OrderEnforcing.__name__,
    gym.wrappers.RecordEpisodeStatistics.__name__,
    "PassiveEnvChecker",
    "FeedbackWrapper",
    "TrajectoryInjection",
}


def name_wrappers_around(env: VecEnv, index: int, name: str) -> str:
    """
    :param env: The learner's environment
    :param index: Index of an environment
    :param name: The name of one of its wrappers
    :return: A sentence that names those around it which may change something
    """
    vec_wrappers = [type(wrapper).__name__ for wrapper in wrappers_of(env) if type(wrapper) not in KNOWN_WRAPPERS]
    chain = ""
    with contextlib.suppress(Exception):  # a message has to come, also from a foreign vectorised environment
        listed = single_environments(env)
        chain = str(listed[index] if listed else env.env_method("__str__", indices=[index])[0])
    around, found, _ = chain.partition(f"<{name}")
    names = [one for one in re.findall(r"<(\w+)", around if found else "") if one not in _CHANGE_NOTHING]
    names = vec_wrappers + names
    if not names:
        return "Something between it and the learner changes that."
    return f"{names[0]} is around it." if len(names) == 1 else f"Around it are {', '.join(names)}."
