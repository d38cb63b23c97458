"""A linear-quadratic regulator for MuJoCo's balancing tasks, from the simulator's own linearisation."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution

from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.seeding import derived_generator
from nlf_sb3.segments import Observations
from nlf_sb3.teachers.experts import Expert


class LQRExpert(Expert):
    r"""
    The optimal linear feedback a = -K s around the rest position, with a Gaussian around it if asked.

    For observations that are the positions followed by the velocities, as in InvertedPendulum.

    :param gain: K, ``[action_dim, state_dim]``
    :param action_space: Actions are clipped to its bounds
    :param std: Standard deviation of the actions; 0 acts with the mean and has no distribution
    :param seed: Seed of the generator that draws the noise
    """

    def __init__(self, gain: np.ndarray, action_space: spaces.Box, *, std: float = 0.0, seed: int | None = 0) -> None:
        if not np.isfinite(std) or std < 0:
            raise ValueError(f"std: got {std}, expected a finite number of at least 0.")
        self.gain = np.array(gain, dtype=np.float64)
        self.action_space = action_space
        self.std = std
        self.label = "sample" if std > 0 else "mode"
        self.seed(seed)

    @classmethod
    def from_env(
        cls,
        env: gym.Env,
        *,
        state_cost: float | np.ndarray = 1.0,
        action_cost: float = 0.1,
        std: float = 0.0,
        seed: int | None = 0,
    ) -> LQRExpert:
        """
        Linearise a MuJoCo environment at its initial position and solve for the gain.

        :param env: A Gymnasium MuJoCo environment whose observation is (qpos, qvel)
        :param state_cost: Weight of each state in the quadratic cost, a scalar or ``[state_dim]``
        :param action_cost: Weight of each action in the quadratic cost
        :param std: Standard deviation of the actions
        :param seed: Seed of the generator that draws the noise
        :return: The expert
        :raises FeedbackError: If the environment isn't of that kind, or can't be stabilised
        """
        linalg = require("scipy.linalg", "mujoco", "LQRExpert")
        transition, control = linearise(env)
        n_states, n_actions = control.shape
        cost = np.diag(np.broadcast_to(np.asarray(state_cost, dtype=np.float64), (n_states,)))
        try:
            riccati = linalg.solve_discrete_are(transition, control, cost, action_cost * np.eye(n_actions))
        except (linalg.LinAlgError, ValueError) as error:
            raise FeedbackError(
                f"LQRExpert: no stabilising gain exists for {env} at its initial position ({error}). "
                "Use a trained policy as the expert instead."
            ) from error
        gain = np.linalg.solve(
            action_cost * np.eye(n_actions) + control.T @ riccati @ control, control.T @ riccati @ transition
        )
        assert isinstance(env.action_space, spaces.Box)
        return cls(gain, env.action_space, std=std, seed=seed)

    def seed(self, seed: int | None) -> None:
        self._rng = derived_generator(seed, "LQR expert")

    def act(self, observations: Observations) -> np.ndarray:
        actions = self._mean(observations)
        if self.std > 0:
            actions = actions + self.std * self._rng.standard_normal(actions.shape)
        clipped: np.ndarray = np.clip(actions, self.action_space.low, self.action_space.high)
        return clipped.astype(self.action_space.dtype)

    def distribution(self, observations: Observations) -> Distribution | None:
        if self.std == 0:
            return None
        mean = th.as_tensor(self._mean(observations), dtype=th.float32)
        log_std = th.full((mean.shape[1],), float(np.log(self.std)))
        return DiagGaussianDistribution(mean.shape[1]).proba_distribution(mean, log_std)

    def log_prob(self, observations: Observations, actions: np.ndarray) -> np.ndarray | None:
        distribution = self.distribution(observations)
        return None if distribution is None else distribution.log_prob(th.as_tensor(actions)).numpy()

    def _mean(self, observations: Observations) -> np.ndarray:
        if isinstance(observations, dict) or observations.shape[1] != self.gain.shape[1]:
            shape = "a dict" if isinstance(observations, dict) else f"shape {observations.shape}"
            raise FeedbackError(f"LQRExpert: got {shape}, expected observations [n, {self.gain.shape[1]}] of (qpos, qvel).")
        mean: np.ndarray = -np.asarray(observations, dtype=np.float64) @ self.gain.T
        return mean


def linearise(env: gym.Env) -> tuple[np.ndarray, np.ndarray]:
    r"""
    Discrete-time dynamics :math:`s_{t+1} \approx A s_t + B a_t` of one environment step.

    MuJoCo's finite differences refuse the RK4 integrator, so they are taken on a copy of the model
    set to Euler; one environment step is ``frame_skip`` steps of the simulator,
    :math:`A^k` and :math:`\sum_{i<k} A^i B`.

    :param env: A Gymnasium MuJoCo environment whose observation is (qpos, qvel)
    :return: A ``[state_dim, state_dim]`` and B ``[state_dim, action_dim]``
    :raises FeedbackError: If the environment isn't of that kind
    """
    mujoco: Any = require("mujoco", "mujoco", "LQRExpert")
    base: Any = env.unwrapped
    if not all(hasattr(base, name) for name in ("model", "data", "frame_skip", "init_qpos")):
        raise FeedbackError(f"LQRExpert: {env} is no Gymnasium MuJoCo environment. Use a trained policy or a function.")
    _refuse_rescaling(env)
    n_states = base.model.nq + base.model.nv
    if env.observation_space.shape != (n_states,) or base.model.nq != base.model.nv:
        raise FeedbackError(
            f"LQRExpert: {env} observes {env.observation_space}, expected (qpos, qvel) of {n_states} numbers. "
            "Use LQRExpert(gain, action_space) with a function of your own, or a trained policy."
        )
    model = mujoco.MjModel.from_xml_path(base.fullpath)
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
    data = mujoco.MjData(model)
    data.qpos[:] = base.init_qpos
    data.qvel[:] = 0.0
    mujoco.mj_forward(model, data)
    one_step = np.zeros((n_states, n_states))
    one_control = np.zeros((n_states, model.nu))
    mujoco.mjd_transitionFD(model, data, 1e-6, True, one_step, one_control, None, None)
    transition, control = np.eye(n_states), np.zeros_like(one_control)
    for _ in range(base.frame_skip):
        control = one_step @ control + one_control
        transition = one_step @ transition
    return transition, control


def _refuse_rescaling(env: gym.Env) -> None:
    """The gain is in the simulator's units, so that nothing may stand between it and the agent."""
    inner = env
    while isinstance(inner, gym.Wrapper):
        if isinstance(inner, (gym.ObservationWrapper, gym.ActionWrapper)):
            raise FeedbackError(
                f"LQRExpert: {type(inner).__name__} changes observations or actions, which the simulator's linearisation "
                "doesn't know. Give it the environment without that wrapper."
            )
        inner = inner.env
