"""Small environments, experts and a hand-written update, shared by the tests of the algorithms."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import CategoricalDistribution, DiagGaussianDistribution
from stable_baselines3.common.logger import KVWriter, Logger
from torch.nn import functional

from nlf_sb3 import Feedback
from nlf_sb3.teachers import Expert

OBS_DIM = 3
OUR_ARGUMENTS = {
    *("alpha", "expert", "demonstrations", "interpreter", "auxiliary_losses", "max_expert_queries"),
    *("on_error", "log_gradients", "imitation", "injection", "phases"),
}
"""Arguments that each algorithm has beside its original's."""
PENDULUM = "InvertedPendulum-v5" if "InvertedPendulum-v5" in gym.registry else "InvertedPendulum-v4"


class ToyEnv(gym.Env):
    """
    A noisy walk whose episodes have random lengths and random kinds of end, all of it from the reset seed.

    :param action: "box" (two dimensions, narrow bounds), "discrete", "multidiscrete" or "multibinary"
    :param lengths: Shortest and longest episode
    :param ends: "terminated", "truncated" or "both"
    :param bound: Half the width of the Box
    """

    def __init__(
        self,
        action: str = "box",
        lengths: tuple[int, int] = (3, 9),
        ends: str = "both",
        bound: float = 1.0,
        render_mode: str | None = None,
    ):
        self.observation_space = spaces.Box(-10.0, 10.0, (OBS_DIM,), np.float32)
        self.action_space = {
            "box": spaces.Box(-bound, bound, (2,), np.float32),
            "discrete": spaces.Discrete(3),
            "multidiscrete": spaces.MultiDiscrete([3, 2]),
            "multibinary": spaces.MultiBinary(2),
        }[action]
        self.lengths = lengths
        self.ends = ends

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self.length = int(self.np_random.integers(self.lengths[0], self.lengths[1] + 1))
        terminates = bool(self.np_random.integers(2))
        self.terminates = {"terminated": True, "truncated": False, "both": terminates}[self.ends]
        self.state = self.np_random.uniform(-1, 1, OBS_DIM)
        self.step_count = 0
        return self.state.astype(np.float32), {}

    def step(self, action: Any):
        push = float(np.sum(action))
        self.state = 0.8 * self.state + 0.3 * np.tanh([push, -push, 0.5]) + 0.2 * self.np_random.standard_normal(OBS_DIM)
        self.step_count += 1
        ended = self.step_count >= self.length
        reward = 1.0 - float(np.abs(self.state).sum()) + 0.3 * push
        return self.state.astype(np.float32), reward, ended and self.terminates, ended and not self.terminates, {}


gym.register("NLFToyNarrowBox-v0", ToyEnv, kwargs={"bound": 0.4})
gym.register("NLFToyDiscrete-v0", ToyEnv, kwargs={"action": "discrete"})


class ScriptEnv(gym.Env):
    """
    Episodes of given lengths, one after another; observations tell who, which episode and which step.

    :param name: First component of every observation
    :param lengths: Lengths of the episodes, cycled
    :param action: "box" or "discrete"
    :param truncates: Whether episodes end at a time limit instead of terminating
    """

    def __init__(self, name: int, lengths: list[int], action: str = "discrete", truncates: bool = False):
        self.observation_space = spaces.Box(-1e3, 1e3, (3,), np.float32)
        self.action_space = spaces.Discrete(2) if action == "discrete" else spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.name, self.lengths, self.truncates = name, lengths, truncates
        self.episode = -1

    def _observation(self) -> np.ndarray:
        return np.array([self.name, self.episode, self.step_count], dtype=np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.episode += 1
        self.step_count = 0
        return self._observation(), {}

    def step(self, action: Any):
        reward = script_reward(self.name, self.episode, self.step_count)
        self.step_count += 1
        ended = self.step_count == self.lengths[self.episode % len(self.lengths)]
        return self._observation(), reward, ended and not self.truncates, ended and self.truncates, {}


def script_reward(name: float, episode: float, step: float) -> float:
    return float(1.0 + 0.5 * name - 0.3 * episode + 0.1 * step * step)


# --- experts: functions of the observation alone, so that a test can ask them again ------------------


def box_expert(observations: np.ndarray) -> np.ndarray:
    """An interior point of ToyEnv's Box, whatever its bound is (at least 0.4)."""
    return 0.35 * np.tanh(np.asarray(observations)[:, :2] * [1.0, -2.0]).astype(np.float32)


def discrete_expert(observations: np.ndarray) -> np.ndarray:
    observations = np.asarray(observations)
    return (observations[:, 0] > 0).astype(np.int64) + (observations[:, 1] > 0.2).astype(np.int64)


EXPERTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"box": box_expert, "discrete": discrete_expert}


def cartpole_expert(observations: np.ndarray) -> np.ndarray:
    """Balances CartPole for 500 steps: leans against angle and angular velocity, drifts back to the middle."""
    x, v, angle, velocity = np.asarray(observations).T
    return (angle + 0.4 * velocity + 0.05 * x + 0.1 * v > 0).astype(np.int64)


def pendulum_expert(observations: np.ndarray) -> np.ndarray:
    """A linear controller that balances InvertedPendulum."""
    gains = np.array([0.5, 8.0, 0.8, 1.5])
    return np.clip(np.asarray(observations) @ gains, -3.0, 3.0)[:, None].astype(np.float32)


class GaussianExpert(Expert):
    """A Gaussian expert with a known mean and standard deviation."""

    label = "sample"
    stds = np.array([0.3, 0.6], dtype=np.float32)

    def __init__(self) -> None:
        self.seed(0)

    def seed(self, seed: int | None) -> None:
        self.rng = np.random.default_rng(seed)

    def mean(self, observations: np.ndarray) -> np.ndarray:
        return box_expert(observations)

    def act(self, observations: np.ndarray) -> np.ndarray:
        noise = self.rng.standard_normal((len(observations), 2))
        return np.clip(self.mean(observations) + self.stds * noise, -1, 1).astype(np.float32)

    def distribution(self, observations: np.ndarray) -> DiagGaussianDistribution:
        mean = th.as_tensor(self.mean(observations))
        log_std = th.log(th.as_tensor(self.stds)).expand_as(mean)
        return DiagGaussianDistribution(2).proba_distribution(mean, log_std)


class CategoricalExpert(Expert):
    """A categorical expert with known probabilities."""

    label = "sample"

    def logits(self, observations: np.ndarray) -> np.ndarray:
        return np.asarray(observations) @ np.array([[1.0, 0.0, -1.0], [0.5, -0.5, 0.0], [0.0, 0.3, 0.6]], dtype=np.float32)

    def act(self, observations: np.ndarray) -> np.ndarray:
        return self.logits(observations).argmax(axis=1)

    def distribution(self, observations: np.ndarray) -> CategoricalDistribution:
        return CategoricalDistribution(3).proba_distribution(th.as_tensor(self.logits(observations), dtype=th.float32))


def teacher(
    expert: Callable[[np.ndarray], np.ndarray],
    *,
    labels: Callable[[np.ndarray], bool] = lambda observation: True,
    weight: Callable[[np.ndarray], float] = lambda observation: 1.0,
    label: str = "sample",
) -> Callable[[Any], Feedback | None]:
    """A teacher that labels the observations that ``labels`` picks."""

    def teach(transition: Any) -> Feedback | None:
        observation = transition.observation
        if not labels(observation):
            return None
        return Feedback(expert_action=expert(observation[None])[0], label=label, weight=weight(observation))

    return teach


# --- capturing a rollout, and the update by hand ------------------------------------------------------


@dataclass
class Rollout:
    """What an update starts from, flat in SB3's order (env by env), and a twin of the policy before it."""

    policy: Any
    observations: th.Tensor
    actions: th.Tensor
    rewards: th.Tensor
    advantages: th.Tensor
    returns: th.Tensor
    old_log_prob: th.Tensor
    values: th.Tensor
    label_kinds: np.ndarray
    numpy_state: Any
    segments: list[Any]

    def __len__(self) -> int:
        return len(self.actions)

    def policy_actions(self) -> th.Tensor:
        if isinstance(self.policy.action_space, spaces.Discrete):
            return self.actions.long().flatten()
        return self.actions.float()


def twin_of(policy: Any) -> Any:
    """A policy with the same parameters and optimiser state, built anew: gSDE's noise can't be deep-copied."""
    arguments = policy._get_constructor_parameters()
    if hasattr(policy, "lstm_actor"):  # sb3-contrib's recurrent policies leave these out
        n_layers, _, hidden_size = policy.lstm_hidden_state_shape
        arguments |= {"n_lstm_layers": n_layers, "lstm_hidden_size": hidden_size}
        arguments |= {name: getattr(policy, name) for name in ("shared_lstm", "enable_critic_lstm", "lstm_kwargs")}
    with th.random.fork_rng(devices=[]):
        twin = policy.__class__(**arguments)
    twin.load_state_dict(policy.state_dict())
    twin.optimizer.load_state_dict(copy.deepcopy(policy.optimizer.state_dict()))  # else both would share the moments
    twin.set_training_mode(True)
    return twin


def passes_through_torch(policy: Any, act: Callable[[], Any]) -> bool:
    """Whether a function asks torch for a policy's actions."""
    passed: list[bool] = []
    handle = policy.action_net.register_forward_pre_hook(lambda *_: passed.append(True))
    act()
    handle.remove()
    return bool(passed)


class Capture(BaseCallback):
    """Keeps every rollout as it was right before its update."""

    def __init__(self) -> None:
        super().__init__()
        self.rollouts: list[Rollout] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        if hasattr(buffer, "episodes"):
            rows = np.concatenate(buffer.episodes)
            steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size

            def flat(name: str) -> np.ndarray:
                return getattr(buffer, name)[steps, envs].copy()
        else:

            def flat(name: str) -> np.ndarray:
                array = getattr(buffer, name)
                return array.swapaxes(0, 1).reshape(-1, *array.shape[2:]).copy()

        names = ("observations", "actions", "rewards", "advantages", "returns", "log_probs", "values")
        tensors = [th.as_tensor(flat(name)) for name in names]
        self.rollouts.append(
            Rollout(
                twin_of(self.model.policy),
                *tensors,
                label_kinds=flat("label_kinds") if hasattr(buffer, "label_kinds") else np.zeros(0),
                numpy_state=np.random.get_state(),
                segments=list(getattr(buffer, "segments", [])),
            )
        )


def step_by_hand(policy: Any, loss: th.Tensor, max_grad_norm: float | None) -> float:
    """Backward, clip, step; returns the gradient's norm before clipping."""
    policy.optimizer.zero_grad()
    loss.backward()
    norm = th.sqrt(sum((p.grad**2).sum() for p in policy.parameters() if p.grad is not None))
    if max_grad_norm is not None and norm > max_grad_norm:
        for parameter in policy.parameters():
            if parameter.grad is not None:
                parameter.grad *= max_grad_norm / (norm + 1e-6)
    policy.optimizer.step()
    return float(norm)


def sb3_terms(model: Any, rollout: Rollout, batch: np.ndarray) -> tuple[th.Tensor, th.Tensor]:
    """SB3's policy loss on a minibatch, and its entropy and value terms with their coefficients, by the papers."""
    rows = th.as_tensor(batch)
    values, log_prob, entropy = rollout.policy.evaluate_actions(rollout.observations[rows], rollout.policy_actions()[rows])
    advantages = rollout.advantages[rows]
    if model.normalize_advantage:
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    if hasattr(model, "clip_range"):
        ratio = th.exp(log_prob - rollout.old_log_prob[rows])
        clip = model.clip_range(1.0)
        policy_loss = -th.min(advantages * ratio, advantages * ratio.clamp(1 - clip, 1 + clip)).mean()
    else:
        policy_loss = -(advantages * log_prob).mean()
    entropy_loss = log_prob.mean() if entropy is None else -entropy.mean()
    value_loss = functional.mse_loss(values.flatten(), rollout.returns[rows])
    return policy_loss, model.ent_coef * entropy_loss + model.vf_coef * value_loss


def batches_of(model: Any, rollout: Rollout) -> list[np.ndarray]:
    """The minibatches that SB3 will draw: one permutation of NumPy's global generator for each epoch."""
    generator = np.random.RandomState()
    generator.set_state(rollout.numpy_state)
    size = getattr(model, "batch_size", len(rollout))
    batches = []
    for _ in range(getattr(model, "n_epochs", 1)):
        order = generator.permutation(len(rollout))
        batches += [order[start : start + size] for start in range(0, len(order), size)]
    return batches


def parameters_of(policy: Any) -> th.Tensor:
    return th.cat([parameter.detach().flatten() for parameter in policy.parameters()])


def largest_difference(first: Any, second: Any) -> float:
    return float((parameters_of(first) - parameters_of(second)).abs().max())


def assert_same_model(first: Any, second: Any) -> None:
    """Equal parameters and optimiser state, bit for bit."""
    for (name, mine), (other_name, theirs) in zip(
        first.policy.state_dict().items(), second.policy.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert th.equal(mine, theirs), name
    states = [model.policy.optimizer.state_dict()["state"] for model in (first, second)]
    assert states[0].keys() == states[1].keys()
    for key, state in states[0].items():
        for entry, value in state.items():
            assert th.equal(th.as_tensor(value), th.as_tensor(states[1][key][entry])), (key, entry)


# --- the logger ---------------------------------------------------------------------------------------


class Records(KVWriter):
    """Every dump of a logger, in order."""

    def __init__(self) -> None:
        self.dumps: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.dumps.append(dict(key_values))

    def close(self) -> None:
        pass


def watch(model: Any) -> Records:
    """
    Everything that a model will log. An update's values are dumped at the end of the next rollout; the last one's
    stay in ``model.logger.name_to_value``.
    """
    records = Records()
    model.set_logger(Logger(folder=None, output_formats=[records]))
    return records


WITHOUT_NLF_SB3 = """
import sys


class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "nlf_sb3":
            raise ImportError("nlf_sb3 is not installed here")


sys.meta_path.insert(0, Block())
try:
    import nlf_sb3
except ImportError:
    pass
else:
    sys.exit("nlf_sb3 was not blocked")
"""
"""The start of a script for another process, in which this package can't be imported."""
