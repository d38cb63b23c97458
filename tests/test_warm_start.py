"""Behaviour cloning into a model's own policy, and its critic's warm-up."""

import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch as th
from gymnasium import spaces
from helpers import ToyEnv, assert_same_model, box_expert, discrete_expert, parameters_of, watch
from sb3_contrib.common.wrappers import ActionMasker
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecNormalize

import nlf_sb3
from nlf_sb3 import Demonstrations, FeedbackError, MissingExtraError
from nlf_sb3.interop.critic import critic_parameters, warm_up_critic
from nlf_sb3.interop.imitation import warm_start

OBSERVATIONS = np.random.default_rng(0).uniform(-1, 1, (600, 3)).astype(np.float32)
EXPERTS = {"discrete": discrete_expert, "box": box_expert}
SMALL = {"seed": 0, "device": "cpu"}


def rows_for(action="discrete"):
    return Demonstrations(OBSERVATIONS, EXPERTS[action](OBSERVATIONS))


def make_ppo(action="discrete", env=None, **kwargs):
    return stable_baselines3.PPO("MlpPolicy", env or ToyEnv(action), n_steps=32, batch_size=16, **{**SMALL, **kwargs})


MODELS = {
    "SB3 PPO": lambda env: stable_baselines3.PPO("MlpPolicy", env, n_steps=32, batch_size=16, **SMALL),
    "SB3 A2C": lambda env: stable_baselines3.A2C("MlpPolicy", env, **SMALL),
    "contrib TRPO": lambda env: sb3_contrib.TRPO("MlpPolicy", env, n_steps=32, batch_size=16, **SMALL),
    "contrib MaskablePPO": lambda env: sb3_contrib.MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=16, **SMALL),
    "PPO": lambda env: nlf_sb3.PPO("MlpPolicy", env, n_steps=32, batch_size=16, **SMALL),
    "A2C": lambda env: nlf_sb3.A2C("MlpPolicy", env, **SMALL),
    "TRPO": lambda env: nlf_sb3.TRPO("MlpPolicy", env, n_steps=32, batch_size=16, **SMALL),
    "MaskablePPO": lambda env: nlf_sb3.MaskablePPO("MlpPolicy", env, n_steps=32, batch_size=16, **SMALL),
    "REINFORCE": lambda env: nlf_sb3.REINFORCE("MlpPolicy", env, baseline=True, **SMALL),
    "REINFORCE without a critic": lambda env: nlf_sb3.REINFORCE("MlpPolicy", env, **SMALL),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_acts_as_the_rows_do_and_then_learns_on(name):
    env = make_vec_env(lambda: ActionMasker(ToyEnv("discrete"), lambda env: np.ones(3, bool)), n_envs=2, seed=0)
    model = MODELS[name](env)
    steps = 0 if "without" in name else 64
    assert warm_start(model, rows_for(), n_batches=300, learning_rate=3e-3, critic_steps=steps) is model
    actions, _ = model.predict(OBSERVATIONS, deterministic=True)
    assert (actions == discrete_expert(OBSERVATIONS)).mean() > 0.9
    before = parameters_of(model.policy)
    model.learn(130)
    assert not th.equal(parameters_of(model.policy), before)
    if "REINFORCE" not in name:
        assert model.n_steps == model.rollout_buffer.buffer_size == (5 if "A2C" in name else 32)
        assert len(model.rollout_buffer.rewards) == model.n_steps


@pytest.mark.parametrize("action", ["multidiscrete", "multibinary"])
def test_actions_of_several_parts_are_cloned(action):
    actions = np.stack([OBSERVATIONS[:, 0] > 0, OBSERVATIONS[:, 1] > 0.2], axis=1).astype(np.int64)
    model = warm_start(
        make_ppo(action), Demonstrations(OBSERVATIONS, actions), n_batches=300, learning_rate=3e-3, critic_steps=32
    )
    assert (model.predict(OBSERVATIONS, deterministic=True)[0] == actions).mean() > 0.9


def test_a_model_without_a_critic_needs_no_warm_up():
    model = warm_start(MODELS["REINFORCE without a critic"](ToyEnv("discrete")), rows_for(), n_batches=1)
    assert model.num_timesteps == 0
    with pytest.raises(FeedbackError, match="baseline=True"):
        warm_up_critic(model, 10)


# --- the actor, the critic and the optimiser ----------------------------------------------------------


class Extractor(BaseFeaturesExtractor):
    """Layers before the policy's own, with what behaves differently in training: batch statistics and dropout."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, 8)
        self.layers = th.nn.Sequential(th.nn.Linear(3, 8), th.nn.BatchNorm1d(8), th.nn.Tanh(), th.nn.Dropout(0.5))

    def forward(self, observations: th.Tensor) -> th.Tensor:
        return self.layers(observations)


@pytest.mark.parametrize("action", EXPERTS)
@pytest.mark.parametrize("shared", [True, False], ids=["shared extractor", "own extractors"])
def test_the_critics_warm_up_changes_values_and_no_action(action, shared):
    model = make_ppo(action, policy_kwargs={"features_extractor_class": Extractor, "share_features_extractor": shared})
    warm_start(model, rows_for(action), n_batches=20, critic_steps=0)
    observations, _ = model.policy.obs_to_tensor(OBSERVATIONS)

    def outputs():
        model.policy.set_training_mode(False)
        with th.no_grad():
            distribution = model.policy.get_distribution(observations).distribution
            actor = distribution.logits if action == "discrete" else th.cat([distribution.mean, distribution.stddev])
            return actor.clone(), model.policy.predict_values(observations)

    actor, values = outputs()
    warm_up_critic(model, 64)
    actor_after, values_after = outputs()
    assert th.equal(actor, actor_after)
    assert not th.allclose(values, values_after, atol=1e-3)
    names = {id(parameter): name for name, parameter in model.policy.named_parameters()}
    critics = {names[id(parameter)].split(".")[0] for parameter in critic_parameters(model)}
    assert critics == {"mlp_extractor", "value_net"} | (set() if shared else {"vf_features_extractor"})


class ThreeSteps(gym.Env):
    """Reward 1 for each of three steps, whatever is done."""

    observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self._observe(), {}

    def step(self, action):
        self.count += 1
        return self._observe(), 1.0, self.count == 3, False, {}

    def _observe(self):
        return np.eye(3, dtype=np.float32)[self.count % 3]


@pytest.mark.parametrize("name", ["SB3 PPO", "A2C", "REINFORCE"])
def test_the_warmed_critic_knows_the_returns(name):
    model = MODELS[name](ThreeSteps())
    records = watch(model)
    warm_up_critic(model, 1_200, learning_rate=1e-2 if name == "REINFORCE" else 1e-3)
    observations, _ = model.policy.obs_to_tensor(np.eye(3, dtype=np.float32))
    values = model.policy.predict_values(observations).detach().flatten()
    expected = [1 + model.gamma + model.gamma**2, 1 + model.gamma, 1.0]
    np.testing.assert_allclose(values, expected, atol=0.1)
    assert any("warm_start/critic_loss" in dump for dump in [*records.dumps, model.logger.name_to_value])


def test_the_optimiser_starts_anew():
    model = make_ppo()
    model.learn(32)
    old = model.policy.optimizer
    assert old.state_dict()["state"]
    warm_start(model, rows_for(), n_batches=5, critic_steps=32)
    assert model.policy.optimizer is not old
    assert not model.policy.optimizer.state_dict()["state"]
    assert model.policy.optimizer.param_groups[0]["lr"] == old.param_groups[0]["lr"]
    assert model.policy.optimizer.param_groups[0]["eps"] == old.param_groups[0]["eps"]
    assert all(parameter.grad is None for parameter in model.policy.parameters())
    assert [id(p) for group in model.policy.optimizer.param_groups for p in group["params"]] == [
        id(p) for p in model.policy.parameters()
    ]


def test_one_seed_gives_one_result():
    first, second = (warm_start(make_ppo("box"), rows_for("box"), n_batches=30, critic_steps=64).learn(64) for _ in range(2))
    assert_same_model(first, second)
    other = warm_start(make_ppo("box"), rows_for("box"), n_batches=30, critic_steps=64, seed=5).learn(64)
    assert not th.equal(parameters_of(first.policy), parameters_of(other.policy))


def test_cloning_leaves_random_generators_alone(untouched_random_state):
    with th.random.fork_rng(devices=[]):
        numpy_state = np.random.get_state()
        model = make_ppo()
        np.random.set_state(numpy_state)
    warm_start(model, rows_for(), n_batches=5, critic_steps=0)


# --- the spread ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "min_std", "lowest"), [(0.0, 0.5, np.log(0.5)), (-3.0, 0.2, -3.0)], ids=["bounded", "already below"]
)
def test_the_spread_stays_above_its_bound(start, min_std, lowest):
    model = make_ppo("box", policy_kwargs={"log_std_init": start})
    warm_start(model, rows_for("box"), n_batches=300, learning_rate=1e-2, min_std=min_std, critic_steps=0)
    log_std = model.policy.log_std.detach().numpy()
    assert (log_std >= lowest - 1e-6).all()
    if start == 0.0:
        np.testing.assert_allclose(log_std, lowest, atol=0.05)  # it was wanted lower


def test_without_a_bound_the_spread_falls():
    model = make_ppo("box")
    warm_start(model, rows_for("box"), n_batches=300, learning_rate=1e-2, min_std=None, critic_steps=0)
    assert float(model.policy.log_std.detach().exp().max()) < 0.15


def test_a_spread_that_the_network_computes_has_no_bound():
    model = nlf_sb3.REINFORCE("SoftplusGaussianPolicy", ToyEnv("box"), **SMALL)
    with pytest.raises(ValueError, match=r"SoftplusGaussianPolicy computes its standard deviation.*min_std=None"):
        warm_start(model, rows_for("box"))
    warm_start(model, rows_for("box"), min_std=None, n_batches=5)


@pytest.mark.parametrize("squash", [False, True], ids=["plain", "squashed"])
def test_generalised_exploration_is_cloned(squash):
    model = make_ppo("box", use_sde=True, policy_kwargs={"squash_output": squash})
    warm_start(model, rows_for("box"), n_batches=300, learning_rate=3e-3, critic_steps=32)
    actions, _ = model.predict(OBSERVATIONS, deterministic=True)
    assert np.abs(actions - box_expert(OBSERVATIONS)).mean() < 0.1


# --- normalisation ------------------------------------------------------------------------------------


def far_rows():
    """Observations far from mean 0 and variance 1, so that it shows whether they were normalised."""
    return Demonstrations(OBSERVATIONS * 5 + 3, discrete_expert(OBSERVATIONS))


def normalised_env():
    return VecNormalize(make_vec_env(lambda: ToyEnv("discrete"), n_envs=2, seed=0))


def test_fresh_statistics_are_filled_from_the_rows_and_stand_still_in_the_warm_up():
    env, rows = normalised_env(), far_rows()
    model = warm_start(make_ppo(env=env), rows, n_batches=300, learning_rate=3e-3, critic_steps=128)
    np.testing.assert_allclose(env.obs_rms.mean, rows.observations.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(env.obs_rms.var, rows.observations.var(axis=0), rtol=1e-5)
    assert env.obs_rms.count == pytest.approx(len(rows), abs=0.01)
    assert env.ret_rms.count > 100  # those of rewards move
    actions, _ = model.predict(env.normalize_obs(rows.observations), deterministic=True)
    assert (actions == rows.actions).mean() > 0.9
    model.learn(64)
    assert env.obs_rms.count > len(rows) + 60  # and go on in learn


def test_statistics_that_have_seen_something_are_kept():
    env = normalised_env()
    model = make_ppo(env=env).learn(64)
    mean, count = env.obs_rms.mean.copy(), env.obs_rms.count
    warm_start(model, far_rows(), n_batches=2, critic_steps=32)
    np.testing.assert_array_equal(env.obs_rms.mean, mean)
    assert env.obs_rms.count == count


def test_dict_observations_are_normalised_too():
    space = spaces.Dict({"a": spaces.Box(-50, 50, (2,), np.float32), "b": spaces.Box(-50, 50, (1,), np.float32)})

    class Parts(gym.ObservationWrapper):
        observation_space = space

        def observation(self, observation):
            return {"a": observation[:2], "b": observation[2:]}

    env = VecNormalize(make_vec_env(lambda: Parts(ToyEnv("discrete")), n_envs=2, seed=0))
    model = stable_baselines3.PPO("MultiInputPolicy", env, n_steps=32, batch_size=16, **SMALL)
    flat = far_rows()
    rows = replace(flat, observations={"a": flat.observations[:, :2], "b": flat.observations[:, 2:]})
    warm_start(model, rows, n_batches=300, learning_rate=3e-3, critic_steps=32)
    np.testing.assert_allclose(env.obs_rms["a"].mean, rows.observations["a"].mean(axis=0), rtol=1e-5)
    actions, _ = model.predict(env.normalize_obs(rows.observations), deterministic=True)
    assert (actions == rows.actions).mean() > 0.9


# --- masks, and what is refused -----------------------------------------------------------------------


def masked_rows():
    """Each row's mask allows its own action alone, so that there is nothing to learn."""
    rows = rows_for()
    return replace(rows, action_masks=np.eye(3, dtype=bool)[rows.actions])


def test_masks_reach_the_loss():
    model = MODELS["contrib MaskablePPO"](ToyEnv("discrete"))
    before = parameters_of(model.policy)
    warm_start(model, masked_rows(), n_batches=5, ent_weight=0.0, critic_steps=0)
    assert th.allclose(parameters_of(model.policy), before, atol=1e-6)
    assert "evaluate_actions" not in vars(model.policy)
    warm_start(model, rows_for(), n_batches=5, ent_weight=0.0, critic_steps=0)
    assert not th.allclose(parameters_of(model.policy), before, atol=1e-3)


def test_a_model_that_takes_masks_may_go_without():
    model = MODELS["MaskablePPO"](ToyEnv("discrete"))
    warm_start(model, rows_for(), n_batches=1, critic_steps=32)
    assert model.num_timesteps == 32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sb3_contrib.RecurrentPPO("MlpLstmPolicy", ToyEnv(), n_steps=8, **SMALL), "whole sequences"),
        (
            lambda: stable_baselines3.DQN("MlpPolicy", ToyEnv("discrete"), buffer_size=10, **SMALL),
            "expected an on-policy model",
        ),
    ],
    ids=["RecurrentPPO", "DQN"],
)
def test_models_that_cannot_be_cloned_into_are_refused(make, message):
    with pytest.raises(FeedbackError, match=message):
        warm_start(make(), rows_for())


def test_rows_and_arguments_that_do_not_fit_are_refused(tmp_path):
    model = make_ppo()
    with pytest.raises(FeedbackError, match="takes no action masks"):
        warm_start(model, masked_rows(), n_batches=1)
    with pytest.raises(FeedbackError, match="expected"):
        warm_start(model, rows_for("box"), n_batches=1)
    with pytest.raises(ValueError, match="critic_steps"):
        warm_start(model, rows_for(), critic_steps=-1)
    with pytest.raises(ValueError, match="min_std"):
        warm_start(model, rows_for(), min_std=0.0)
    model.save(tmp_path / "model")
    without_env = stable_baselines3.PPO.load(tmp_path / "model", device="cpu")
    with pytest.raises(FeedbackError, match="no environment"):
        warm_start(without_env, rows_for())
    warm_start(without_env, rows_for(), n_batches=1, critic_steps=0)


def test_without_imitation_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "imitation.algorithms.bc", None)
    with pytest.raises(MissingExtraError, match=r'pip install "nlf-sb3\[imitation\]"'):
        warm_start(make_ppo(), rows_for())
