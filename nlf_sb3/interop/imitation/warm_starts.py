"""Start reinforcement learning from a clone: behaviour cloning of a model's own policy, then its critic warmed up."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.foreign_vec_envs import innermost
from nlf_sb3.interop.critic import CRITIC_STEPS, has_critic, warm_up_critic
from nlf_sb3.interop.imitation.behaviour_cloning import BCSettings, train_by_bc
from nlf_sb3.interop.imitation.cloning import as_demonstrations
from nlf_sb3.seeding import derived_generator
from nlf_sb3.segments import Observations
from nlf_sb3.shifted_spaces import check_counts_from_zero
from nlf_sb3.vec_envs import to_policy_observations

Model = TypeVar("Model", bound=OnPolicyAlgorithm)


def warm_start(
    model: Model,
    demonstrations: Demonstrations | Iterable[Any],
    *,
    min_std: float | None = 0.2,
    critic_steps: int | None = None,
    seed: int | None = None,
    progress_bar: bool = False,
    **settings: Any,
) -> Model:
    """
    Clone the demonstrations into a model's policy, and fit its critic to the clone, before ``learn``.

    Behaviour cloning goes through imitation's ``BC``. A critic that knows nothing makes a policy gradient of noise, which
    takes the clone apart in its first updates: so the model then takes ``critic_steps`` steps in its own environment by
    its own ``learn``, in which only parameters that the actor doesn't share are trained, on the returns it meets
    (:func:`~nlf_sb3.interop.critic.warm_up_critic`). Afterwards the policy's optimiser starts anew.

    Demonstrations hold raw observations. They take the way through VecNormalize that the environment's own take.
    Statistics that haven't seen anything yet are first filled from the demonstrations; then they stand still until the
    warm start is over, since to move them is to change the clone. The statistics of rewards move during the critic's
    warm-up. In ``learn`` all of them go on moving, as always; ``vec_normalize.training = False`` keeps them.

    >>> model = warm_start(PPO("MlpPolicy", env), demonstrations).learn(20_000)  # doctest: +SKIP

    :param model: An on-policy model of SB3, sb3-contrib or this package, except RecurrentPPO
    :param demonstrations: Demonstrations, segments, or imitation's trajectories or transitions
    :param min_std: Lower bound of a Gaussian policy's standard deviation, in units of its actions. Maximum likelihood
        lowers it without end, and a policy gradient needs some spread to measure anything. None for no bound.
        Distributions over discrete actions have none.
    :param critic_steps: Environment steps of the critic's warm-up, rounded up to whole rollouts; 0 for none. None for
        :data:`~nlf_sb3.interop.critic.CRITIC_STEPS`, and for 0 where the model has no critic
    :param seed: Orders the rows. None for the model's own
    :param progress_bar: Show one for each of both parts
    :param settings: Of :class:`~nlf_sb3.interop.imitation.behaviour_cloning.BCSettings`: ``n_epochs`` or ``n_batches``,
        ``batch_size``, ``learning_rate``, ``ent_weight``, ``l2_weight``, ``custom_logger``
    :return: The same model
    :raises FeedbackError: If the model can't be cloned into, or rows don't fit its environment
    :raises MissingExtraError: Without imitation
    """
    _check(model, critic_steps)
    bc_settings = BCSettings(min_std=min_std, progress_bar=progress_bar, **settings)
    policy: Any = model.policy
    inner: Any = model if model.env is None else innermost(model.env)  # demonstrations are raw
    check_counts_from_zero(inner.action_space, "action_space")
    check_counts_from_zero(inner.observation_space, "observation_space")
    rows = as_demonstrations(demonstrations, inner.observation_space, inner.action_space)
    rows = rows.checked(inner.observation_space, inner.action_space)
    fill_fresh_statistics(model.get_vec_normalize_env(), rows.observations)
    observations = rows.observations if model.env is None else to_policy_observations(model.env, rows.observations)
    rng = derived_generator(model.seed if seed is None else seed, "warm start")
    train_by_bc(policy, observations, rows, bc_settings, rng)
    # An optimiser that had trained before would step by moments of another policy.
    policy.optimizer = policy.optimizer_class(policy.parameters(), lr=model.lr_schedule(1), **policy.optimizer_kwargs)
    steps = critic_steps if critic_steps is not None else CRITIC_STEPS if has_critic(model) else 0
    if steps:
        warm_up_critic(model, steps, seed=seed, progress_bar=progress_bar)
    return model


def _check(model: Any, critic_steps: int | None) -> None:
    if not isinstance(model, OnPolicyAlgorithm) or not hasattr(model.policy, "evaluate_actions"):
        raise FeedbackError(
            f"warm_start: got {type(model).__name__}, expected an on-policy model such as PPO, with an actor-critic policy."
        )
    if hasattr(model.policy, "lstm_actor"):
        raise FeedbackError(
            f"warm_start: {type(model).__name__} needs whole sequences and a hidden state, and imitation's BC trains single "
            "rows. Use PPO, or teach nlf_sb3.RecurrentPPO by expert=, with a clone of the demonstrations."
        )
    if critic_steps is not None and critic_steps < 0:
        raise ValueError(f"critic_steps: got {critic_steps}, expected a number of steps, or 0 for none.")
    if critic_steps != 0 and model.env is None and (critic_steps or has_critic(model)):
        raise FeedbackError(
            "warm_start: the model has no environment to warm its critic up in. Call set_env, or critic_steps=0."
        )


def fill_fresh_statistics(vec_normalize: VecNormalize | None, observations: Observations) -> None:
    """
    Let a VecNormalize that hasn't seen anything yet see demonstrations.

    :param vec_normalize: It, if there is one
    :param observations: Raw, ``[K, *obs_shape]`` or a dict of such
    """
    if vec_normalize is None or not vec_normalize.norm_obs or not vec_normalize.training:
        return
    statistics: Any = vec_normalize.obs_rms
    pairs: list[tuple[Any, Any]] = [(statistics, observations)]
    if isinstance(statistics, dict):
        assert isinstance(observations, dict)
        pairs = [(statistics[key], observations[key]) for key in statistics]
    # SB3 starts from a count of 1e-4, and a first reset adds one row for each environment.
    if all(one.count < 1 + vec_normalize.num_envs for one, _ in pairs):
        for one, rows in pairs:
            fresh = RunningMeanStd(shape=one.mean.shape)
            fresh.update(np.asarray(rows, dtype=np.float64))
            one.mean, one.var, one.count = fresh.mean, fresh.var, fresh.count
