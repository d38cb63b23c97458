"""REINFORCE on whole episodes, as Stable-Baselines3 might have it: without feedback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch.nn import functional

from nlf_sb3.algorithms.skip_value_net import skip_value_net
from nlf_sb3.buffers import DictEpisodeBuffer, EpisodeBuffer
from nlf_sb3.compiled_actor import CompiledActor
from nlf_sb3.foreign_vec_envs import hands_out_copies
from nlf_sb3.infos import copy_value
from nlf_sb3.losses import policy_gradient_loss
from nlf_sb3.numpy_actor import numpy_actor
from nlf_sb3.policies import SoftplusGaussianPolicy
from nlf_sb3.seeding import derived_generator

SelfReinforce = TypeVar("SelfReinforce", bound="PlainREINFORCE")


class PlainREINFORCE(OnPolicyAlgorithm):
    r"""
    REINFORCE (Williams, 1992): minimises :math:`-G_t \log \pi(a_t|s_t)` over whole episodes.

    With several environments an update takes the next ``n_episodes`` episodes to end, whichever
    environments they end in; episodes under way go on into the next update, so that their first
    steps were taken by the policy before it.

    :param policy: ``"MlpPolicy"``, ``"CnnPolicy"``, ``"MultiInputPolicy"``,
        ``"SoftplusGaussianPolicy"`` or a policy class
    :param env: As in SB3. Its episodes must end.
    :param learning_rate: As in SB3
    :param n_episodes: Episodes for each update
    :param batch_size: Episodes for each optimiser step; None for all of them
    :param gamma: Discount factor
    :param normalize_returns: Bring returns to mean 0 and standard deviation 1 over each update's rows
    :param baseline: Subtract a learned value function from the returns, and train it
    :param time_limit: ``"horizon"``: the return ends at the time limit. ``"bootstrap"``: it goes on with
        the value of the state there, which needs ``baseline=True``.
    :param loss_reduction: ``"mean"`` or ``"sum"`` of the loss over an optimiser step's rows
    :param ent_coef: Weight of the entropy bonus
    :param vf_coef: Weight of the baseline's loss
    :param max_grad_norm: Gradient clipping; None for none
    :param rollout_buffer_class: An :class:`~nlf_sb3.buffers.EpisodeBuffer`, whose ``add`` takes None for values and
        log-probabilities (see ``sample_with_numpy``)
    :param rollout_buffer_kwargs: Its arguments
    :param stats_window_size: As in SB3
    :param tensorboard_log: As in SB3
    :param policy_kwargs: As in SB3
    :param verbose: As in SB3
    :param seed: As in SB3
    :param device: As in SB3
    :param sample_with_numpy: Sample actions without torch where the policy is a plain MLP on the CPU
        (:mod:`nlf_sb3.numpy_actor`): the same distribution, several times faster, another random stream. With one
        environment it samples from a copy of the weights made at the start of each rollout: a callback that changes
        the policy within one is heard in the next. Rollouts then have no values and log-probabilities at each step:
        a callback finds None for them among its locals.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {  # type: ignore[assignment]
        "MlpPolicy": ActorCriticPolicy,
        "CnnPolicy": ActorCriticCnnPolicy,
        "MultiInputPolicy": MultiInputActorCriticPolicy,
        "SoftplusGaussianPolicy": SoftplusGaussianPolicy,
    }
    rollout_buffer: Any
    """An :class:`~nlf_sb3.buffers.EpisodeBuffer`."""
    skip_value_net: bool = True
    """Whether the value network is skipped where there is no baseline. False evaluates it, with the same result."""
    _initial_capacity = 1024

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        n_episodes: int = 8,
        batch_size: int | None = None,
        gamma: float = 0.99,
        normalize_returns: bool = True,
        baseline: bool = False,
        time_limit: Literal["horizon", "bootstrap"] = "horizon",
        loss_reduction: Literal["mean", "sum"] = "mean",
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float | None = 0.5,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: th.device | str = "auto",
        sample_with_numpy: bool = True,
        _init_setup_model: bool = True,
    ) -> None:
        super().__init__(
            policy,
            env,
            learning_rate=learning_rate,
            n_steps=self._initial_capacity,
            gamma=gamma,
            gae_lambda=1.0,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,  # type: ignore[arg-type]
            use_sde=False,
            sde_sample_freq=-1,
            rollout_buffer_class=rollout_buffer_class,
            rollout_buffer_kwargs=rollout_buffer_kwargs,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
        )
        self.n_episodes = n_episodes
        self.batch_size = batch_size
        self.normalize_returns = normalize_returns
        self.baseline = baseline
        self.time_limit = time_limit
        self.loss_reduction = loss_reduction
        self.sample_with_numpy = sample_with_numpy
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._check_arguments()
        if self.rollout_buffer_class is None:
            is_dict = isinstance(self.observation_space, spaces.Dict)
            self.rollout_buffer_class = DictEpisodeBuffer if is_dict else EpisodeBuffer
        super()._setup_model()
        self._actor = numpy_actor(self.policy) if self.sample_with_numpy else None
        self._compiled: CompiledActor | None = None
        self._action_shape = (-1, *(self.action_space.shape or ()))
        self._bounds: tuple[np.ndarray, np.ndarray] | None = None
        if isinstance(self.action_space, spaces.Box):  # of the actions' own shape: NumPy broadcasts at a price
            low, high = self.action_space.low, self.action_space.high
            self._bounds = np.stack([low] * self.n_envs), np.stack([high] * self.n_envs)

    def set_random_seed(self, seed: int | None = None) -> None:
        """
        As in SB3; the generator that samples actions in NumPy is seeded too.

        :param seed: As in SB3
        """
        super().set_random_seed(seed)
        self._sampling_rng = derived_generator(seed, "actions")

    def _excluded_save_params(self) -> list[str]:
        own = ["_actor", "_compiled", "_action_shape", "_bounds", "_sampling_rng", "return_statistics"]
        return [*super()._excluded_save_params(), *own]

    def _check_arguments(self) -> None:
        for name, value in (("n_episodes", self.n_episodes), ("batch_size", self.batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name}: got {value}, expected at least 1.")
        if self.time_limit not in ("horizon", "bootstrap") or self.loss_reduction not in ("mean", "sum"):
            raise ValueError(
                f"got time_limit={self.time_limit!r}, loss_reduction={self.loss_reduction!r}; "
                "expected 'horizon' or 'bootstrap', and 'mean' or 'sum'."
            )
        if self.time_limit == "bootstrap" and not self.baseline:
            raise ValueError("time_limit='bootstrap' needs a value function. Pass baseline=True, or use time_limit='horizon'.")
        if self.rollout_buffer_class is not None and not issubclass(self.rollout_buffer_class, EpisodeBuffer):
            raise ValueError(f"rollout_buffer_class: got {self.rollout_buffer_class.__name__}, expected an EpisodeBuffer.")

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback,
        rollout_buffer: RolloutBuffer,
        n_rollout_steps: int,
    ) -> bool:
        """
        Collect until ``n_episodes`` more episodes have ended.

        :param env: The training environment
        :param callback: As in SB3
        :param rollout_buffer: The buffer of episodes to fill
        :param n_rollout_steps: Not used: episodes are counted, not steps
        :return: False if the callback stopped it
        """
        assert self._last_obs is not None
        assert self._last_episode_starts is not None
        assert isinstance(rollout_buffer, EpisodeBuffer)
        self._actor = numpy_actor(self.policy) if self.sample_with_numpy else None
        if self._needs_networks():
            self.policy.set_training_mode(False)
        self._compiled = CompiledActor(self._actor, self._sampling_rng) if self._actor and env.num_envs == 1 else None
        rollout_buffer.reset()
        callback.on_rollout_start()
        # Others than SB3's may write each step into the same arrays.
        kept: Callable[[Any], Any] = (lambda rows: rows) if hands_out_copies(env) else copy_value
        self._last_obs = kept(self._last_obs)
        while rollout_buffer.n_episodes < self.n_episodes:
            actions, values, log_probs = self._sample_actions(self._last_obs)
            clipped_actions = self._to_environment_scale(actions)  # callbacks find it by this name in every algorithm
            new_obs, rewards, dones, infos = env.step(clipped_actions)
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                # This step is not kept. The next rollout must neither act on its observation nor join its episode.
                self._last_obs, self._last_episode_starts = new_obs, np.ones(env.num_envs, dtype=bool)  # type: ignore[assignment]
                return False
            self._update_info_buffer(infos, dones)
            if self.time_limit == "bootstrap":
                self._bootstrap_truncated(rewards, dones, infos)
            rollout_buffer.add(self._last_obs, actions, rewards, self._last_episode_starts, values, log_probs)
            if True in dones.tolist():
                for index in np.flatnonzero(dones):
                    rollout_buffer.end_episode(int(index))
            self._last_obs, self._last_episode_starts = kept(new_obs), kept(dones)
        self._compute_advantages(rollout_buffer)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _needs_networks(self) -> bool:
        """Whether a rollout passes through torch's networks: switching their mode takes as long as a few steps."""
        return self._actor is None or self.baseline

    def _sample_actions(self, observations: Any) -> tuple[np.ndarray, th.Tensor | None, th.Tensor | None]:
        """Actions, values and log-probabilities; with NumPy sampling the latter two are left for the rollout's end."""
        if self._actor is not None:
            compiled = self._compiled
            actions = self._actor.act(observations, self._sampling_rng) if compiled is None else compiled.act(observations)
            return actions.reshape(self._action_shape), None, None
        with th.no_grad():
            tensors = self.policy(obs_as_tensor(observations, self.device))
        return tensors[0].cpu().numpy(), tensors[1], tensors[2]

    def _to_environment_scale(self, actions: np.ndarray) -> np.ndarray:
        if self._bounds is None:
            executed: np.ndarray = actions.copy()  # an environment may change its actions in place
            return executed
        return np.minimum(np.maximum(actions, self._bounds[0]), self._bounds[1])  # type: ignore[no-any-return]

    def _bootstrap_truncated(self, rewards: np.ndarray, dones: np.ndarray, infos: list[dict[str, Any]]) -> None:
        """Add the discounted value of the state at a time limit to the last reward, as SB3 does."""
        for index in np.flatnonzero(dones):
            terminal_observation = infos[index].get("terminal_observation")
            if terminal_observation is not None and infos[index].get("TimeLimit.truncated", False):
                last_obs, _ = self.policy.obs_to_tensor(terminal_observation)
                with th.no_grad():
                    rewards[index] += self.gamma * self.policy.predict_values(last_obs).item()

    def _compute_advantages(self, buffer: EpisodeBuffer) -> None:
        rows = buffer.row_indices()
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size
        if self.baseline and self._actor is not None:
            observations, _ = self.policy.obs_to_tensor(buffer.take_rows(buffer.observations, rows))
            with th.no_grad():
                buffer.values[steps, envs] = self.policy.predict_values(observations).cpu().numpy().flatten()
        buffer.compute_episode_returns(bootstrap_at_takeover=self.baseline)
        advantages = buffer.returns[steps, envs]
        if self.baseline:
            advantages = advantages - buffer.values[steps, envs]
        is_own = ~buffer.executed[steps, envs]
        own = advantages[is_own] if is_own.any() else advantages
        self.return_statistics = float(own.mean()), float(own.std())
        if self.normalize_returns:
            mean, std = self.return_statistics
            advantages = (advantages - mean) / (std + 1e-8)
        buffer.advantages[steps, envs] = advantages

    def train(self) -> None:
        """Update the policy on the episodes collected, in batches of whole episodes."""
        if self._needs_networks() or not self.policy.training:
            self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        reduce = th.mean if self.loss_reduction == "mean" else th.sum
        for data in self.rollout_buffer.get(self.batch_size):
            actions = data.actions.long().flatten() if isinstance(self.action_space, spaces.Discrete) else data.actions
            with contextlib.nullcontext() if self.baseline or not self.skip_value_net else skip_value_net(self.policy):
                values, log_prob, entropy = self.policy.evaluate_actions(data.observations, actions)
            policy_loss = reduce(policy_gradient_loss(log_prob, data.advantages))
            assert entropy is not None
            entropy_loss = -reduce(entropy)
            loss = policy_loss + self.ent_coef * entropy_loss
            value_loss = None
            if self.baseline:
                value_loss = reduce(functional.mse_loss(values.flatten(), data.returns, reduction="none"))
                loss = loss + self.vf_coef * value_loss
            self.policy.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if self.max_grad_norm is not None:
                th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
        self._n_updates += 1
        self._record_losses(policy_loss, entropy_loss, value_loss)

    def _record_losses(self, policy_loss: th.Tensor, entropy_loss: th.Tensor, value_loss: th.Tensor | None) -> None:
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/policy_loss", policy_loss.item())
        self.logger.record("train/entropy_loss", entropy_loss.item())
        if value_loss is not None:
            buffer = self.rollout_buffer
            rows = buffer.row_indices()
            values, returns = buffer.take_rows(buffer.values, rows), buffer.take_rows(buffer.returns, rows)
            self.logger.record("train/value_loss", value_loss.item())
            self.logger.record("train/explained_variance", explained_variance(values, returns))
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", th.exp(self.policy.log_std).mean().item())

    def learn(
        self: SelfReinforce,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 10,
        tb_log_name: str = "REINFORCE",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfReinforce:
        """
        As in SB3; the last update completes its episodes, so that a few more steps may be taken.

        :param total_timesteps: As in SB3
        :param callback: As in SB3
        :param log_interval: Updates between two logs
        :param tb_log_name: As in SB3
        :param reset_num_timesteps: As in SB3
        :param progress_bar: As in SB3
        :return: The trained model
        """
        return super().learn(total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar)
