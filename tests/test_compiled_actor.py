"""The compiled actor: the same distribution as the NumPy actor that it copies, for one observation at a time."""

import copy
import pickle

import numpy as np
import pytest
import torch as th
from helpers import ToyEnv, passes_through_torch
from stable_baselines3.common.callbacks import BaseCallback
from test_numpy_actor import FAMILIES, NETS, SHAPES, make_policy, parameters_of

from nlf_sb3 import REINFORCE
from nlf_sb3.compiled_actor import CompiledActor
from nlf_sb3.numpy_actor import numpy_actor
from nlf_sb3.teachers import PolicyExpert

N = 20_000


def compiled(policy, seed=0):
    return CompiledActor(numpy_actor(policy), np.random.default_rng(seed))


def without_noise(policy, family):
    """The same policy, whose samples are as good as its mode."""
    with th.no_grad():
        if family == "gaussian":
            policy.log_std.fill_(-30.0)
        elif family == "softplus":
            policy.action_net.weight[2:] = 0.0
            policy.action_net.bias[2:] = -60.0
        else:
            policy.action_net.weight *= 1e4
            policy.action_net.bias *= 1e4
    return policy


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_without_noise_it_acts_as_the_torch_policy_s_mode(family, net, shape):
    space = SHAPES[shape]
    policy = without_noise(make_policy(family, space, **NETS[net]), family)
    actor = compiled(policy)
    for observation in np.random.default_rng(0).uniform(-3, 9, (7, *space.shape)).astype(space.dtype):
        expected, _ = policy.predict(observation[None], deterministic=True)
        with th.no_grad():
            mode = policy.get_distribution(policy.obs_to_tensor(observation[None])[0]).mode().numpy()
        for action in (actor.act(observation[None]), actor.act(observation[None], deterministic=True)):
            assert action.shape == expected.shape
            assert action == pytest.approx(mode, abs=2e-5)


@pytest.mark.parametrize("family", ["gaussian", "softplus"])
def test_sampled_means_and_deviations_are_the_distribution_s(family):
    policy = make_policy(family)
    observation = np.array([[0.3, -1.0, 2.0]], np.float32)
    actor = compiled(policy)
    drawn = np.concatenate([actor.act(observation) for _ in range(N)]).astype(np.float64)
    mean, std = np.split(parameters_of(policy, observation)[0].astype(np.float64), 2)
    assert (np.abs(drawn.mean(axis=0) - mean) < 4 * std / np.sqrt(N)).all()
    assert (np.abs(drawn.std(axis=0) - std) < 4 * std / np.sqrt(2 * N)).all()
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 4 / np.sqrt(N)
    assert abs(np.corrcoef(drawn[1:, 0], drawn[:-1, 0])[0, 1]) < 4 / np.sqrt(N)  # noise in blocks, still independent


def test_sampled_frequencies_are_the_distribution_s():
    policy = make_policy("categorical")
    observation = np.array([[0.3, -1.0, 2.0]], np.float32)
    actor = compiled(policy)
    drawn = np.concatenate([actor.act(observation) for _ in range(N)])
    probabilities = parameters_of(policy, observation)[0].astype(np.float64)
    frequencies = np.bincount(drawn, minlength=4) / N
    assert (np.abs(frequencies - probabilities) < 4 * np.sqrt(probabilities * (1 - probabilities) / N)).all()
    assert probabilities.max() - probabilities.min() > 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_an_action_once_given_does_not_change_with_the_next(family):
    actor = compiled(make_policy(family))
    actions = [actor.act(np.full((1, 3), step, np.float32)) for step in range(400)]
    again = compiled(make_policy(family))
    assert all(np.array_equal(action, again.act(np.full((1, 3), step, np.float32))) for step, action in enumerate(actions))


@pytest.mark.parametrize("family", FAMILIES)
def test_copies_are_actors_of_their_own(family):
    actor = compiled(make_policy(family))
    copies = [copy.deepcopy(actor), pickle.loads(pickle.dumps(actor))]
    expected = [actor.act(np.full((1, 3), step, np.float32)) for step in range(5)]
    for other in copies:
        assert all(np.array_equal(other.act(np.full((1, 3), step, np.float32)), expected[step]) for step in range(5))


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_loaded_expert_answers_one_row_as_it_answers_many(deterministic, tmp_path):
    model = REINFORCE("SoftplusGaussianPolicy", ToyEnv(), seed=0, n_episodes=2, device="cpu").learn(20)
    model.save(tmp_path / "expert.zip")
    single, batched = (PolicyExpert.load(tmp_path / "expert.zip", deterministic=deterministic) for _ in range(2))
    observation = np.array([[0.3, -1.0, 2.0]], np.float32)
    rows = np.concatenate([single.act(observation) for _ in range(3000)])
    batch = batched.act(np.repeat(observation, 3000, axis=0))
    assert rows.shape == batch.shape
    spread = batch.std(axis=0) / np.sqrt(3000)
    assert (np.abs(rows.mean(axis=0) - batch.mean(axis=0)) < 6 * spread + 1e-5).all()
    assert rows.std(axis=0) == pytest.approx(batch.std(axis=0), rel=0.08, abs=1e-5)
    single.seed(4)
    first = single.act(observation)
    single.seed(4)
    assert np.array_equal(single.act(observation), first)


def test_a_copy_of_an_expert_goes_on_with_the_same_numbers(tmp_path):
    REINFORCE("MlpPolicy", ToyEnv(), seed=0, n_episodes=2, device="cpu").save(tmp_path / "expert.zip")
    expert = PolicyExpert.load(tmp_path / "expert.zip")
    observation = np.array([[0.3, -1.0, 2.0]], np.float32)
    for _ in range(3):
        expert.act(observation)
    copies = [copy.deepcopy(expert), pickle.loads(pickle.dumps(expert))]
    expected = [expert.act(observation) for _ in range(600)]  # into the next blocks of noise
    for other in copies:
        assert all(np.array_equal(other.act(observation), action) for action in expected)


def test_an_observation_of_another_size_is_refused_as_in_a_batch():
    policy = make_policy()
    for act in (compiled(policy).act, lambda rows: numpy_actor(policy).act(rows, np.random.default_rng(0))):
        with pytest.raises(ValueError, match=r"shape|align"):
            act(np.zeros((1, 1), np.float32))


def test_experts_that_take_torch_or_follow_their_policy_are_asked_for_by_name(tmp_path):
    model = REINFORCE("MlpPolicy", ToyEnv(bound=5.0), seed=0, n_episodes=2, device="cpu")
    model.save(tmp_path / "expert.zip")
    observation = np.array([[0.3, -1.0, 2.0]], np.float32)
    for use_numpy in (True, False):
        expert = PolicyExpert.load(tmp_path / "expert.zip", use_numpy=use_numpy)
        assert passes_through_torch(expert.policy, lambda expert=expert: expert.act(observation)) is not use_numpy
    following = PolicyExpert(model, deterministic=True)
    before = following.act(observation)
    with th.no_grad():
        model.policy.action_net.bias.add_(0.5)
    assert following.act(observation) == pytest.approx(before + 0.5, abs=1e-5)


@pytest.fixture
def compiled_actors(monkeypatch):
    """Those that REINFORCE has made so far."""
    made = []

    class Kept(CompiledActor):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr("nlf_sb3.algorithms.plain_reinforce.CompiledActor", Kept)
    return made


class _ModesBeforeEachStep(BaseCallback):
    """The mode of the compiled actor of a rollout, beside that of the policy that acts in it."""

    def __init__(self, compiled_actors):
        super().__init__()
        self.compiled_actors = compiled_actors
        self.differences = []

    def _on_step(self):
        policy, observation = self.model.policy, self.locals["new_obs"]
        with th.no_grad():
            mode = policy.get_distribution(policy.obs_to_tensor(observation)[0]).mode().numpy()
        copied = self.compiled_actors[-1].act(observation, deterministic=True)
        self.differences.append(np.abs(copied - mode).max())
        return True


def test_reinforce_copies_its_policy_anew_after_every_update(compiled_actors):
    model = REINFORCE("MlpPolicy", ToyEnv(), seed=0, n_episodes=2, learning_rate=0.1, device="cpu")
    callback = _ModesBeforeEachStep(compiled_actors)
    model.learn(100, callback=callback)
    assert model._n_updates > 5
    assert max(callback.differences) < 1e-5


def test_several_environments_are_asked_in_one_batch(compiled_actors, numpy_actors):
    from stable_baselines3.common.env_util import make_vec_env

    REINFORCE("MlpPolicy", make_vec_env(lambda: ToyEnv(), 2), seed=0, n_episodes=2, device="cpu").learn(20)
    assert numpy_actors[-1] is not None
    assert compiled_actors == []
