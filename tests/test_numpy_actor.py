"""The NumPy actor: the same distribution as the torch policy, for exactly the policies that it understands."""

import numpy as np
import pytest
import stable_baselines3 as sb3
import torch as th
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticCnnPolicy, ActorCriticPolicy, MultiInputActorCriticPolicy
from torch import nn

from nlf_sb3 import REINFORCE
from nlf_sb3.numpy_actor import numpy_actor
from nlf_sb3.policies import SoftplusGaussianPolicy

FLAT = spaces.Box(-np.inf, np.inf, (3,), np.float32)
BOX = spaces.Box(-10.0, 10.0, (2,), np.float32)
FAMILIES = {
    "gaussian": (ActorCriticPolicy, BOX),
    "softplus": (SoftplusGaussianPolicy, BOX),
    "categorical": (ActorCriticPolicy, spaces.Discrete(4)),
}
NETS = {
    "default": {},
    "ReLU": {"activation_fn": nn.ReLU, "net_arch": [8, 6]},
    "separate": {"net_arch": {"pi": [5], "vf": [7, 7]}},
    "no hidden layer": {"net_arch": []},
    "own features for the critic": {"share_features_extractor": False},
}
SHAPES = {
    "flat": FLAT,
    "matrix": spaces.Box(-1.0, 1.0, (2, 3), np.float32),
    "float64": spaces.Box(-1.0, 1.0, (3,), np.float64),
    "integers": spaces.Box(0, 9, (3,), np.int64),
}


def make_policy(family="gaussian", observation_space=FLAT, seed=0, **kwargs):
    policy_class, action_space = FAMILIES[family]
    th.manual_seed(seed)
    policy = policy_class(observation_space, action_space, lambda _: 1e-2, **kwargs)
    with th.no_grad():  # orthogonal initialisation leaves all means near 0
        for parameter in policy.parameters():
            parameter.add_(0.6 * (th.rand_like(parameter) - 0.5))
    return policy


def parameters_of(policy, observations):
    """The torch distribution's parameters, as one array."""
    with th.no_grad():
        tensor, _ = policy.obs_to_tensor(observations)
        inner = policy.get_distribution(tensor).distribution
    if isinstance(inner, th.distributions.Categorical):
        return inner.probs.numpy()
    return np.concatenate([inner.loc.numpy(), inner.scale.numpy()], axis=1)


def parameters_of_actor(actor, family, observations):
    outputs = actor.outputs(observations)
    if family == "categorical":
        likelihoods = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        return likelihoods / likelihoods.sum(axis=1, keepdims=True)
    mean, std = actor.mean_and_std(outputs)
    return np.concatenate([mean, np.broadcast_to(std, mean.shape)], axis=1)


def assert_same_distribution(actor, policy, family, observations):
    assert parameters_of_actor(actor, family, observations) == pytest.approx(parameters_of(policy, observations), abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("shape", SHAPES)
def test_distribution_parameters_equal_torch_s(family, net, shape):
    space = SHAPES[shape]
    policy = make_policy(family, space, **NETS[net])
    observations = np.random.default_rng(0).uniform(-3, 9, (11, *space.shape)).astype(space.dtype)
    assert_same_distribution(numpy_actor(policy), policy, family, observations)


@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_agree_far_from_the_origin_too(family):
    policy = make_policy(family, activation_fn=nn.ReLU)
    observations = np.array([[1e3, -1e3, 1e3], [-1e3, 1e3, -1e3], [0, 0, 0]], np.float32)
    actual, expected = parameters_of_actor(numpy_actor(policy), family, observations), parameters_of(policy, observations)
    assert np.isfinite(actual).all()
    assert actual == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_it_follows_the_optimiser_without_being_told(family):
    policy = make_policy(family)
    actor = numpy_actor(policy)
    observations = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    before = parameters_of_actor(actor, family, observations)
    for _ in range(3):
        actions = th.ones(5, 2) if family != "categorical" else th.ones(5)
        _, log_prob, _ = policy.evaluate_actions(th.as_tensor(observations), actions)
        policy.optimizer.zero_grad()
        (-log_prob.sum()).backward()
        policy.optimizer.step()
    assert_same_distribution(actor, policy, family, observations)
    assert np.abs(parameters_of_actor(actor, family, observations) - before).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_it_follows_a_loaded_state_without_being_told(family):
    policy, other = make_policy(family), make_policy(family, seed=1)
    actor = numpy_actor(policy)
    policy.load_state_dict(other.state_dict())
    assert_same_distribution(actor, other, family, np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))


def test_a_reinforce_agent_samples_from_what_it_has_learned(numpy_actors):
    model = REINFORCE("MlpPolicy", "Line-v0", seed=0, n_episodes=2, learning_rate=0.05).learn(60)
    observations = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    assert_same_distribution(numpy_actors[-1], model.policy, "categorical", observations)


@pytest.mark.parametrize("family", ["gaussian", "softplus"])
def test_sampled_means_and_deviations_are_the_distribution_s(family):
    n = 20_000
    policy = make_policy(family)
    observation = np.array([[0.3, -1.0, 2.0]], np.float32)
    drawn = numpy_actor(policy).act(np.repeat(observation, n, axis=0), np.random.default_rng(0)).astype(np.float64)
    mean, std = np.split(parameters_of(policy, observation)[0].astype(np.float64), 2)
    assert drawn.shape == (n, 2)
    assert (np.abs(drawn.mean(axis=0) - mean) < 4 * std / np.sqrt(n)).all()
    assert (np.abs(drawn.std(axis=0) - std) < 4 * std / np.sqrt(2 * n)).all()
    assert abs(np.corrcoef(drawn.T)[0, 1]) < 4 / np.sqrt(n)


def test_sampled_frequencies_are_the_distribution_s():
    n = 20_000
    policy = make_policy("categorical")
    observation = np.array([[0.3, -1.0, 2.0]], np.float32)
    drawn = numpy_actor(policy).act(np.repeat(observation, n, axis=0), np.random.default_rng(0))
    probabilities = parameters_of(policy, observation)[0].astype(np.float64)
    frequencies = np.bincount(drawn, minlength=4) / n
    assert drawn.shape == (n,)
    assert (np.abs(frequencies - probabilities) < 4 * np.sqrt(probabilities * (1 - probabilities) / n)).all()
    assert probabilities.max() - probabilities.min() > 0.05  # or a uniform sampler would pass


@pytest.mark.parametrize("family", FAMILIES)
def test_the_rows_of_a_batch_are_drawn_each_from_its_own_distribution(family):
    policy = make_policy(family)
    observations = np.repeat(np.array([[3.0, -3.0, 3.0], [-3.0, 3.0, -3.0]], np.float32), 4000, axis=0)
    drawn = numpy_actor(policy).act(observations, np.random.default_rng(0)).astype(np.float64).reshape(2, 4000, -1)
    expected = parameters_of(policy, observations[[0, -1]])
    if family == "categorical":
        expected = (expected * np.arange(4)).sum(axis=1, keepdims=True)
    assert drawn.mean(axis=1) == pytest.approx(expected[:, : drawn.shape[2]], abs=0.07)
    assert np.abs(expected[0] - expected[1]).max() > 0.15


@pytest.mark.parametrize("family", FAMILIES)
def test_the_deterministic_action_is_the_policy_s_mode_and_draws_nothing(family):
    policy = make_policy(family)
    rng = np.random.default_rng(0)
    state = rng.bit_generator.state
    observations = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    with th.no_grad():
        expected = policy.get_distribution(th.as_tensor(observations)).mode().numpy()
    assert numpy_actor(policy).act(observations, rng, deterministic=True) == pytest.approx(expected, abs=1e-5)
    assert rng.bit_generator.state == state


@pytest.mark.parametrize("family", FAMILIES)
def test_samples_depend_on_the_given_generator_alone(family, untouched_random_state):
    before, global_numpy = th.get_rng_state(), np.random.get_state()
    policy = make_policy(family)
    th.set_rng_state(before)
    np.random.set_state(global_numpy)
    observations = np.zeros((30, 3), np.float32)
    actor = numpy_actor(policy)
    first = actor.act(observations, np.random.default_rng(4))
    assert np.array_equal(actor.act(observations, np.random.default_rng(4)), first)
    assert not np.array_equal(actor.act(observations, np.random.default_rng(5)), first)


class _OwnForward(ActorCriticPolicy):
    """A user's subclass may do anything in its forward pass."""

    def _get_action_dist_from_latent(self, latent_pi):
        return super()._get_action_dist_from_latent(2 * latent_pi)


class _Doubling(sb3.common.torch_layers.BaseFeaturesExtractor):
    def __init__(self, observation_space):
        super().__init__(observation_space, 3)

    def forward(self, observations):
        return 2 * observations


IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)
NOT_UNDERSTOOD = {
    "CNN": (ActorCriticCnnPolicy, IMAGE, BOX, {}),
    "flattened image": (ActorCriticPolicy, IMAGE, BOX, {}),
    "gSDE": (ActorCriticPolicy, FLAT, BOX, {"use_sde": True}),
    "squashed gSDE": (ActorCriticPolicy, FLAT, BOX, {"use_sde": True, "squash_output": True}),
    "dict observations": (MultiInputActorCriticPolicy, spaces.Dict({"a": FLAT, "b": FLAT}), BOX, {}),
    "discrete observations": (ActorCriticPolicy, spaces.Discrete(5), BOX, {}),
    "custom subclass": (_OwnForward, FLAT, BOX, {}),
    "ELU": (ActorCriticPolicy, FLAT, BOX, {"activation_fn": nn.ELU}),
    "LeakyReLU": (ActorCriticPolicy, FLAT, spaces.Discrete(3), {"activation_fn": nn.LeakyReLU}),
    "own features extractor": (ActorCriticPolicy, FLAT, BOX, {"features_extractor_class": _Doubling}),
    "multi discrete": (ActorCriticPolicy, FLAT, spaces.MultiDiscrete([2, 3]), {}),
    "multi binary": (ActorCriticPolicy, FLAT, spaces.MultiBinary(3), {}),
}


@pytest.mark.parametrize("name", NOT_UNDERSTOOD)
def test_a_policy_that_it_does_not_understand_gets_no_actor(name):
    policy_class, observation_space, action_space, kwargs = NOT_UNDERSTOOD[name]
    assert numpy_actor(policy_class(observation_space, action_space, lambda _: 1e-3, **kwargs)) is None


def test_a_policy_that_was_changed_after_it_was_made_gets_no_actor():
    normed = make_policy()
    normed.action_net = nn.utils.weight_norm(normed.action_net)  # fills its weight anew before each pass
    assert numpy_actor(normed) is None
    replaced = make_policy()
    make = replaced._get_action_dist_from_latent
    replaced._get_action_dist_from_latent = lambda latent_pi: make(2 * latent_pi)
    assert numpy_actor(replaced) is None


HOOKED = ("", "action_net", "features_extractor", "mlp_extractor", "mlp_extractor.policy_net", "mlp_extractor.policy_net.0")


@pytest.mark.parametrize("name", HOOKED, ids=lambda name: name or "policy")
@pytest.mark.parametrize("register", ["register_forward_hook", "register_forward_pre_hook"])
def test_a_policy_with_a_hook_anywhere_gets_no_actor(name, register):
    hooked = make_policy()
    assert numpy_actor(hooked) is not None
    hook = getattr(hooked.get_submodule(name), register)(lambda module, inputs, outputs=None: None)
    assert numpy_actor(hooked) is None
    hook.remove()
    assert numpy_actor(hooked) is not None


def test_a_reinforce_agent_acts_as_hooks_on_containers_have_it():
    model = REINFORCE("MlpPolicy", "Line-v0", seed=0, n_episodes=2)
    with th.no_grad():
        model.policy.action_net.weight.copy_(th.stack([th.zeros(64), th.ones(64)]))
    model.policy.mlp_extractor.policy_net.register_forward_hook(lambda module, inputs, outputs: 0 * outputs + 1)
    taken = []

    def keep(step, _):
        taken.append(int(step["actions"][0]))
        return len(taken) < 20

    model.learn(100, callback=keep)
    assert taken == [1] * 20


@pytest.mark.parametrize("algorithm", [sb3.SAC, sb3.TD3])
def test_off_policy_actors_get_no_actor(algorithm):
    assert numpy_actor(algorithm("MlpPolicy", "Pendulum-v1", buffer_size=10).policy) is None


def test_a_policy_on_another_device_gets_no_actor():
    assert numpy_actor(make_policy().to("meta")) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_reinforce_learns_the_same_way_with_and_without_it(family, numpy_actors):
    """Only the random stream differs: from equal rollouts both compute equal log-probabilities."""
    policy = "SoftplusGaussianPolicy" if family == "softplus" else "MlpPolicy"
    env_kwargs = {"env_kwargs": {"action": "discrete" if family == "categorical" else "box"}}
    env = sb3.common.env_util.make_vec_env("Line-v0", 2, **env_kwargs)
    dtypes = []

    def look(local, _):
        assert local["actions"].shape == (2, *env.action_space.shape)
        dtypes.append(local["actions"].dtype)
        return True

    for sample_with_numpy in (False, True):
        REINFORCE(policy, env, seed=0, sample_with_numpy=sample_with_numpy).learn(1, callback=look)
        assert bool(numpy_actors) is sample_with_numpy
    assert None not in numpy_actors
    assert len(set(dtypes)) == 1
