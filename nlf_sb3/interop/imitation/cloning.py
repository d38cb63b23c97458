"""A policy cloned from recorded rows, as an expert."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy, MultiInputActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.interop.imitation.behaviour_cloning import BCSettings, train_by_bc
from nlf_sb3.interop.imitation.from_imitation import to_demonstrations
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.segments import ExpertSegment
from nlf_sb3.shifted_spaces import check_counts_from_zero
from nlf_sb3.teachers.policy_expert import PolicyExpert

if TYPE_CHECKING:
    from imitation.data.types import Trajectory, TransitionsMinimal


def clone(
    demonstrations: Demonstrations | ExpertSegment | Trajectory | TransitionsMinimal | Iterable[Any],
    env: gym.Env | VecEnv | None = None,
    *,
    observation_space: spaces.Space | None = None,
    action_space: spaces.Space | None = None,
    policy_class: type[ActorCriticPolicy] | None = None,
    policy_kwargs: dict[str, Any] | None = None,
    deterministic: bool = False,
    seed: int | None = 0,
    device: th.device | str = "cpu",
    **settings: Any,
) -> PolicyExpert:
    """
    Behavioural cloning through imitation's ``BC``: an expert that interpolates between the rows it learned from.

    It answers everywhere, and well where rows like them were recorded; away from those its errors compound, as every
    clone's do. What it has over :class:`~nlf_sb3.teachers.NearestStateExpert` is a distribution, constant memory, and an
    answer between the rows.

    :param demonstrations: Demonstrations, segments, or imitation's trajectories or transitions, with raw observations
    :param env: Where they come from; only its spaces are used. Or give both spaces.
    :param observation_space: Space of the observations, without ``env``
    :param action_space: Space of the actions, without ``env``
    :param policy_class: SB3's ``ActorCriticPolicy`` by default, and its ``MultiInputActorCriticPolicy`` for dicts
    :param policy_kwargs: As in SB3
    :param deterministic: Act with the mode instead of a sample
    :param seed: Seed of the network, of the order of the rows and of the expert's samples
    :param device: Where to train
    :param settings: Of :class:`~nlf_sb3.interop.imitation.behaviour_cloning.BCSettings`: ``n_epochs`` or ``n_batches``,
        ``batch_size``, ``learning_rate``, ``ent_weight``, ``l2_weight``, ``min_std``, ``progress_bar``, ``custom_logger``
    :return: The expert; its ``policy`` is an SB3 policy
    :raises FeedbackError: If rows don't fit the spaces, or carry action masks, which this policy doesn't take
    :raises MissingExtraError: Without imitation
    """
    bc_settings = BCSettings(**settings)
    observation_space, action_space = _spaces(env, observation_space, action_space)
    check_counts_from_zero(action_space, "action_space")
    check_counts_from_zero(observation_space, "observation_space")
    rows = as_demonstrations(demonstrations, observation_space, action_space).checked(observation_space, action_space)
    if policy_class is None:
        policy_class = MultiInputActorCriticPolicy if isinstance(observation_space, spaces.Dict) else ActorCriticPolicy
    with th.random.fork_rng(devices=[]):
        network_seed = derived_seed(seed, "cloned network")
        _ = th.seed() if network_seed is None else th.manual_seed(network_seed)
        # BC brings an optimiser of its own: the policy's has nothing to learn at.
        policy = policy_class(observation_space, action_space, lambda _: 0.0, **(policy_kwargs or {})).to(device)
        observations: Any = rows.observations
        train_by_bc(policy, observations, rows, bc_settings, derived_generator(seed, "cloning"))
    return PolicyExpert(policy, deterministic=deterministic, seed=seed)


def as_demonstrations(records: Any, observation_space: spaces.Space, action_space: spaces.Space) -> Demonstrations:
    """
    :param records: Demonstrations, segments, or imitation's trajectories or transitions
    :param observation_space: Of the raw observations
    :param action_space: Of the actions
    :return: Their rows
    :raises FeedbackError: If they are something else, or don't fit the spaces
    """
    if isinstance(records, Demonstrations):
        return records
    if isinstance(records, ExpertSegment):
        return Demonstrations.from_segments([records])
    if not hasattr(records, "acts"):
        records = list(records)
        if records and all(isinstance(record, ExpertSegment) for record in records):
            return Demonstrations.from_segments(records)
    return to_demonstrations(records, observation_space=observation_space, action_space=action_space)


def _spaces(
    env: gym.Env | VecEnv | None, observation_space: spaces.Space | None, action_space: spaces.Space | None
) -> tuple[spaces.Space, spaces.Space]:
    if env is not None:
        inner: Any = innermost(env) if isinstance(env, VecEnv) else env  # demonstrations are raw
        observation_space, action_space = observation_space or inner.observation_space, action_space or inner.action_space
    if observation_space is None or action_space is None:
        raise FeedbackError("clone: got no environment and not both spaces, expected env or both spaces. Pass env=.")
    return observation_space, action_space
