"""Steps a second over the number of environments and the width of the network."""

from __future__ import annotations

from functools import partial
from operator import itemgetter
from typing import Any

import stable_baselines3
from stable_baselines3.common.env_util import make_vec_env

import nlf_sb3
from nlf_sb3.experiments.bench.records import Figure, Numbers, Trial, scaled
from nlf_sb3.experiments.bench.timing import timed
from nlf_sb3.experiments.protocols import ENV_ID, expert_path
from nlf_sb3.teachers import PolicyExpert

ENVIRONMENTS = (1, 4, 16, 64)
WIDTHS = (16, 64, 256, 1024)
_ENVIRONMENTS_OF_WIDTHS = 4
_WIDTH_OF_ENVIRONMENTS = 64
"""SB3's own."""
_MINIBATCH = 64
"""SB3's own too."""
_MINIBATCHES = 16
"""Of a rollout, fewer than by default."""
_LEARNERS = {"ppo": "PPO, expert=", "sb3_ppo": "SB3's PPO", "reinforce": "REINFORCE, expert="}


def steps_per_second(n_envs: int, width: int, seed: int, scale: float) -> Numbers:
    """
    :param n_envs: Environments
    :param width: Units of each of two layers
    :param seed: Seed of every learner
    :param scale: Factor on the steps
    :return: Steps a second of each learner
    """
    # As many rows whatever the number of environments, so that an update costs as much.
    rows = _MINIBATCH * scaled(_MINIBATCHES, scale)
    # Orthogonal weights take seconds to draw for the widest, and none to train.
    policy_kwargs = {"net_arch": [width, width], "ortho_init": False}
    shared: dict[str, Any] = {"policy_kwargs": policy_kwargs, "seed": seed, "device": "cpu"}
    numbers: Numbers = {}
    for name in _LEARNERS:
        env = make_vec_env(ENV_ID, n_envs)
        labels: dict[str, Any] = {} if name == "sb3_ppo" else {"expert": PolicyExpert.load(expert_path(), seed=seed)}
        model: Any
        if name == "reinforce":
            model = nlf_sb3.REINFORCE("MlpPolicy", env, **shared, **labels)
        else:
            package = stable_baselines3 if name == "sb3_ppo" else nlf_sb3
            model = package.PPO("MlpPolicy", env, n_steps=rows // n_envs, batch_size=_MINIBATCH, **shared, **labels)
        elapsed, _ = timed(partial(model.learn, rows))
        numbers[name] = model.num_timesteps / elapsed.seconds
        env.close()
    return numbers


def trials() -> list[Trial]:
    """The part ``scaling``: no more than three repeats, since nothing is to be reached."""
    by_number = [(n, _WIDTH_OF_ENVIRONMENTS, f"{n} env{'s' if n > 1 else ''}") for n in ENVIRONMENTS]
    by_width = [(_ENVIRONMENTS_OF_WIDTHS, w, f"width {w}, {_ENVIRONMENTS_OF_WIDTHS} envs") for w in WIDTHS]
    return [_trial(*setting, warm_up=setting is by_number[0]) for setting in (*by_number, *by_width)]


def _trial(n_envs: int, width: int, setting: str, *, warm_up: bool) -> Trial:
    figures = [Figure(f"{learner}, {setting}", "steps/s", itemgetter(key)) for key, learner in _LEARNERS.items()]
    return Trial(setting, partial(steps_per_second, n_envs, width), tuple(figures), warm_up, most_repeats=3)
