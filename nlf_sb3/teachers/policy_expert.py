"""A trained SB3 or sb3-contrib policy as an expert, with its normalisation statistics and its own generator."""

from __future__ import annotations

import copy
import inspect
import io
import os
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecNormalize

from nlf_sb3.compiled_actor import CompiledActor
from nlf_sb3.densities import log_rescaling
from nlf_sb3.distributions import masked
from nlf_sb3.errors import FeedbackError
from nlf_sb3.numpy_actor import numpy_actor
from nlf_sb3.seeding import derived_generator
from nlf_sb3.segments import Observations
from nlf_sb3.teachers.experts import Expert, n_rows
from nlf_sb3.teachers.policy_spaces import may_hold_the_same
from nlf_sb3.teachers.saved_policies import load_policy, load_statistics, of_rows


class PolicyExpert(Expert):
    """
    A trained policy as an expert.

    Its samples come from a generator of its own, so that asking it leaves the learner's random
    stream as it was. Samples of an unbounded Gaussian are clipped to the action space, as SB3 does
    wherever it acts. It follows its policy as that is trained; one made by :meth:`load` has a policy of its own, and is the
    faster for taking it as final. In a Box of integers its answers are cast to integers, as NumPy casts: towards 0.

    :param model: A model or a policy of SB3 or sb3-contrib
    :param deterministic: Act with the mode instead of a sample (the labels then say so)
    :param vec_normalize: The statistics that the policy was trained with. Taken from the model's own
        environment where that has them.
    :param seed: Seed of the generator that draws its samples
    :param use_numpy: Act through NumPy where the policy is a plain MLP on the CPU; it has the same
        distribution and another random stream (:mod:`nlf_sb3.numpy_actor`)
    :raises FeedbackError: For recurrent policies, which need more than an observation
    """

    def __init__(
        self,
        model: BaseAlgorithm | BasePolicy,
        *,
        deterministic: bool = False,
        vec_normalize: VecNormalize | None = None,
        seed: int | None = 0,
        use_numpy: bool = True,
    ) -> None:
        policy = model.policy if isinstance(model, BaseAlgorithm) else model
        if hasattr(policy, "lstm_actor"):
            raise FeedbackError(
                "PolicyExpert: a recurrent policy needs its hidden state beside the observation. "
                "Wrap it in a function that keeps the state, or use a policy without recurrence."
            )
        if vec_normalize is None and isinstance(model, BaseAlgorithm):
            vec_normalize = model.get_vec_normalize_env()
        self.policy = policy
        self.vec_normalize = vec_normalize
        self.deterministic = deterministic
        self.label = "mode" if deterministic or not _samples(policy) else "sample"
        self._actor = numpy_actor(policy) if use_numpy else None
        space = policy.action_space
        self._action_shape = (-1, *(space.shape or ()))
        # With a row's dimension: NumPy takes longer where it has to broadcast one.
        self._bounds = (space.low[None], space.high[None]) if isinstance(space, spaces.Box) else None
        self._compiled: CompiledActor | None = None
        self.seed(seed)

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        *,
        deterministic: bool = False,
        vec_normalize: VecNormalize | str | pathlib.Path | None = None,
        seed: int | None = 0,
        custom_objects: dict[str, Any] | None = None,
        use_numpy: bool = True,
    ) -> PolicyExpert:
        """
        Load the policy out of a saved model, whichever SB3 or sb3-contrib algorithm saved it.

        :param path: What ``model.save`` wrote
        :param deterministic: Act with the mode instead of a sample
        :param vec_normalize: Statistics, or the file that ``VecNormalize.save`` wrote
        :param seed: Seed of the generator that draws its samples
        :param custom_objects: As in SB3's ``load``
        :param use_numpy: As in the constructor; single observations are answered from a copy of the weights besides
        :raises FeedbackError: With the file and its field, where the policy can't be made of it
        :return: The expert, on the CPU. Should you train its ``policy`` after all, make a ``PolicyExpert`` of that.
        """
        if isinstance(path, (str, pathlib.Path)) and not any(map(os.path.exists, (path, f"{path}.zip"))):
            mend = f"Save a model there with model.save (the pendulum's expert: nlf-sb3 train-expert --out {path})."
            raise FileNotFoundError(f"PolicyExpert.load: there is no {path}. {of_rows(path) or mend}")
        with th.random.fork_rng(devices=[]):  # building networks draws from torch's global generator
            policy = load_policy(path, custom_objects)
        from_file = isinstance(vec_normalize, (str, pathlib.Path))
        statistics: Any = load_statistics(vec_normalize) if from_file else vec_normalize  # type: ignore[arg-type]
        expert = cls(policy, deterministic=deterministic, vec_normalize=statistics, seed=seed, use_numpy=use_numpy)
        expert._compile()  # nobody trains this policy
        return expert

    def check_spaces(self, observation_space: spaces.Space, action_space: spaces.Space) -> None:
        """
        :param observation_space: Space of the raw observations
        :param action_space: Space of the actions
        :raises FeedbackError: If the policy's own spaces are of another kind or shape; bounds are left to each action
        """
        own = self.policy.observation_space, self.policy.action_space
        for what, its, given in zip(("observations", "actions"), own, (observation_space, action_space), strict=True):
            if not may_hold_the_same(its, given):
                raise FeedbackError(
                    f"expert: {type(self.policy).__name__} was trained on {what} of {its}, and the environment's are of "
                    f"{given}. Use an expert for this environment, or a function that translates between the two."
                )

    def seed(self, seed: int | None) -> None:
        generator = th.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        self._rng_state = generator.get_state()
        self._rng = derived_generator(seed, "policy expert")
        if self._compiled is not None:
            self._compile()

    def _compile(self) -> None:
        self._compiled = None if self._actor is None else CompiledActor(self._actor, self._rng)

    def act(self, observations: Observations) -> np.ndarray:
        return self._act(observations)

    def act_within(self, observations: Observations, action_masks: np.ndarray) -> np.ndarray:
        if self._takes_masks():
            return self._act(observations, action_masks=action_masks)
        return self._act(observations)

    def _act(self, observations: Observations, **masks: np.ndarray) -> np.ndarray:
        space = self.policy.action_space
        if self._actor is not None and not masks:
            inputs: Any = self._policy_scale(observations)
            if self._compiled is not None and len(inputs) == 1:
                actions = self._compiled.act(inputs, self.deterministic)
            else:
                actions = self._actor.act(inputs, self._rng, self.deterministic)
            if self._bounds is not None:
                actions = np.minimum(np.maximum(actions.reshape(self._action_shape), self._bounds[0]), self._bounds[1])
            return actions.astype(space.dtype, copy=False)
        with self._own_random_stream():
            self._draw_exploration(n_rows(observations))
            actions, _ = self.policy.predict(
                self._policy_scale(observations),  # type: ignore[arg-type]
                deterministic=self.deterministic,
                **masks,  # type: ignore[arg-type]
            )
        actions = np.asarray(actions).reshape(n_rows(observations), *(space.shape or ()))
        if isinstance(space, spaces.Box):  # unscaling rounds, by a bit beyond the bounds
            actions = np.clip(actions, space.low, space.high)
        return actions.astype(space.dtype, copy=False)

    def _draw_exploration(self, rows: int) -> None:
        """gSDE keeps its noise until it is drawn anew; a sample of the policy is one of the noise too."""
        for module in (self.policy, getattr(self.policy, "actor", None)):
            if getattr(module, "use_sde", False) and hasattr(module, "reset_noise"):
                module.reset_noise(rows)  # type: ignore[union-attr, operator]
                return

    def distribution(self, observations: Observations) -> Distribution | None:
        policy: Any = self.policy
        if self.deterministic or not hasattr(policy, "get_distribution"):
            return None
        policy.set_training_mode(False)
        with th.no_grad():
            tensor, _ = policy.obs_to_tensor(self._policy_scale(observations))
            # The policy keeps one distribution object and refills it at each forward pass.
            distribution: Distribution = copy.copy(policy.get_distribution(tensor))
        return distribution

    def log_prob(self, observations: Observations, actions: np.ndarray) -> np.ndarray | None:
        return self._log_prob(self.distribution(observations), actions)

    def log_density(
        self, observations: Observations, actions: np.ndarray, action_masks: np.ndarray | None = None
    ) -> np.ndarray | None:
        distribution = self.distribution(observations)
        if distribution is not None and action_masks is not None and self._takes_masks():
            distribution = masked(distribution, action_masks)
        log_prob = self._log_prob(distribution, actions)
        if log_prob is None or not self.policy.squash_output:
            return log_prob
        space: Any = self.policy.action_space
        return log_prob - log_rescaling(space)  # type: ignore[no-any-return]

    def _log_prob(self, distribution: Distribution | None, actions: np.ndarray) -> np.ndarray | None:
        """log pi_E of environment-scale actions, in the policy's scale."""
        if distribution is None:
            return None
        if self.policy.squash_output:
            actions = self.policy.scale_action(actions.astype(np.promote_types(actions.dtype, np.float32), copy=False))
        is_discrete = isinstance(self.policy.action_space, spaces.Discrete)
        rows = actions.reshape(-1) if is_discrete else actions.reshape(len(actions), -1).astype(np.float32)
        tensor = th.as_tensor(rows, device=self.policy.device)
        with th.no_grad():
            return distribution.log_prob(tensor).cpu().numpy()

    def _takes_masks(self) -> bool:
        return "action_masks" in inspect.signature(self.policy.predict).parameters

    def _policy_scale(self, observations: Observations) -> Observations:
        return observations if self.vec_normalize is None else self.vec_normalize.normalize_obs(observations)

    @contextmanager
    def _own_random_stream(self) -> Iterator[None]:
        learner_state = th.get_rng_state()
        th.set_rng_state(self._rng_state)
        try:
            yield
        finally:
            self._rng_state = th.get_rng_state()
            th.set_rng_state(learner_state)


def _samples(policy: BasePolicy) -> bool:
    """Whether ``predict(deterministic=False)`` draws from a distribution (SAC's family samples in its actor)."""
    return hasattr(policy, "get_distribution") or hasattr(getattr(policy, "actor", None), "get_action_dist_params")
