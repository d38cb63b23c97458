"""The paper's injection as a script would write it in PyTorch, step by step: what the library's is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch as th
from stable_baselines3.common.policies import BasePolicy
from torch import nn
from torch.distributions import Normal

from nlf_sb3.experiments.protocols import ENV_ID, expert_path
from nlf_sb3.teachers import PolicyExpert

GAMMA = 0.99
LEARNING_RATE = 1e-4
FORK_PROBABILITY = 0.4


class GaussianMLP(nn.Module):
    """
    16 and 32 tanh units, a mean and a softplus standard deviation.

    :param n_inputs: Size of an observation
    :param n_actions: Size of an action
    """

    def __init__(self, n_inputs: int, n_actions: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, 16), nn.Tanh(), nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 2 * n_actions)
        )

    def forward(self, observation: th.Tensor) -> Normal:
        """
        :param observation: ``[n_inputs]``
        :return: The distribution of actions
        """
        mean, spread = self.layers(observation).chunk(2, dim=-1)
        return Normal(mean, nn.functional.softplus(spread) + 1e-6)


@dataclass
class Played:
    """
    One trajectory.

    :param actions: As they were proposed
    :param log_probs: The agent's, each with its graph
    :param rewards: The environment's
    """

    actions: list[th.Tensor] = field(default_factory=list)
    log_probs: list[th.Tensor] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)

    def step(self, env: gym.Env, policy: GaussianMLP, observation: th.Tensor, action: th.Tensor | None) -> tuple[Any, bool]:
        """Take a step: the agent's own where no action is given. Returns the next observation and whether it was the last."""
        distribution = policy(observation)
        action = distribution.sample() if action is None else action
        self.actions.append(action)
        self.log_probs.append(distribution.log_prob(action).sum())
        box: Any = env.action_space
        next_observation, reward, terminated, truncated, _ = env.step(np.clip(action.numpy(), box.low, box.high))
        self.rewards.append(float(reward))
        return as_tensor(next_observation), terminated or truncated


def as_tensor(observation: np.ndarray) -> th.Tensor:
    """An observation as the networks take it."""
    return th.as_tensor(observation, dtype=th.float32)


def policy_loss(played: Played) -> th.Tensor:
    """
    >>> policy_loss(Played(log_probs=[th.tensor(-1.0), th.tensor(-2.0)], rewards=[1.0, 10.0]))
    tensor(30.9000)

    :param played: A trajectory
    :return: The sum of -G_t log pi(a_t|s_t), returns as they are
    """
    returns, future = [], 0.0
    for reward in reversed(played.rewards):
        future = reward + GAMMA * future
        returns.append(future)
    return -(th.stack(played.log_probs) * th.tensor(returns[::-1])).sum()


class DirectInjection:
    """
    Agent, expert, and an environment for each of them.

    :param seed: Seed of the networks, the actions, the forks, and of every episode's start
    """

    def __init__(self, seed: int) -> None:
        th.manual_seed(seed)
        self.seed = seed
        self.env, self.twin = gym.make(ENV_ID), gym.make(ENV_ID)
        box: Any = self.env.observation_space
        self.policy = GaussianMLP(box.shape[0], 1)
        self.optimizer = th.optim.AdamW(self.policy.parameters(), lr=LEARNING_RATE)
        self.expert: BasePolicy = PolicyExpert.load(expert_path()).policy
        self.expert_outputs: list[tuple[th.Tensor, ...]] = []
        """The earlier implementation kept these for the whole run, and with them every step's graph: this was its memory."""
        self.rng = np.random.default_rng(seed)
        self.returns: list[float] = []
        self.expert_returns: list[float] = []
        self.steps = 0

    def train(self, episodes: int) -> None:
        """
        :param episodes: The agent's
        """
        for _ in range(episodes):
            fork_step = int(self.rng.geometric(FORK_PROBABILITY)) - 1
            agents = self._play_agent()
            self._update(agents)
            self.returns.append(sum(agents.rewards))
            if len(agents.rewards) > fork_step:
                experts = self._play_expert(agents.actions[:fork_step])
                self._update(experts)
                self.expert_returns.append(sum(experts.rewards))

    def _play_agent(self) -> Played:
        played, ended = Played(), False
        observation = as_tensor(self.env.reset(seed=self.seed)[0])
        while not ended:
            observation, ended = played.step(self.env, self.policy, observation, None)
        self.steps += len(played.rewards)
        return played

    def _play_expert(self, prefix: list[th.Tensor]) -> Played:
        """Replay the agent's steps in the twin, and let the expert go on."""
        played, ended = Played(), False
        observation = as_tensor(self.twin.reset(seed=self.seed)[0])
        while not ended:
            if len(played.actions) < len(prefix):
                action = prefix[len(played.actions)]
            else:
                outputs = self.expert(observation[None])
                self.expert_outputs.append(outputs)
                action = outputs[0].detach()[0]
            observation, ended = played.step(self.twin, self.policy, observation, action)
        self.steps += len(played.rewards)
        return played

    def _update(self, played: Played) -> None:
        self.optimizer.zero_grad()
        policy_loss(played).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
