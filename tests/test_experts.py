"""Experts: functions, trained policies of every algorithm, and the pendulum's linear-quadratic regulator."""

import io
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3 as sb3
import torch as th
from gymnasium import spaces
from helpers import PENDULUM
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from nlf_sb3 import REINFORCE, Demonstrations, Feedback, FeedbackError, FeedbackWrapper
from nlf_sb3.teachers import CallableExpert, Expert, ExpertTeacher, LQRExpert, PolicyExpert, Transition, as_expert
from nlf_sb3.teachers.lqr import linearise

OBSERVATIONS = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)


def line(action="box", **kwargs):
    return gym.make("Line-v0", action=action, **kwargs)


def train_a_little(model):
    """Moves the parameters away from where any seed would put them."""
    with th.no_grad():
        for parameter in model.policy.parameters():
            parameter.add_(0.2 * (th.rand_like(parameter) - 0.5))
    return model


# --- functions ------------------------------------------------------------------------------------


def test_a_function_acts_on_the_whole_batch_at_once():
    calls = []
    expert = as_expert(lambda observations: calls.append(len(observations)) or -observations[:, :1])
    assert np.array_equal(expert.act(OBSERVATIONS), -OBSERVATIONS[:, :1])
    assert calls == [7]


@pytest.mark.parametrize("observations", [OBSERVATIONS, {"a": OBSERVATIONS, "b": OBSERVATIONS[:, 0]}], ids=["array", "dict"])
def test_an_unbatched_function_gets_one_observation_at_a_time(observations):
    expert = CallableExpert(lambda o: (o["a"] if isinstance(o, dict) else o)[:1] * 2, batched=False)
    assert np.array_equal(expert.act(observations), OBSERVATIONS[:, :1] * 2)


def test_a_function_has_neither_distribution_nor_log_probability():
    expert = as_expert(lambda o: o)
    assert expert.distribution(OBSERVATIONS) is None
    assert expert.log_prob(OBSERVATIONS, OBSERVATIONS) is None
    expert.seed(3)


def test_an_expert_stays_itself_and_models_and_policies_become_experts():
    expert = CallableExpert(lambda o: o)
    model = sb3.A2C("MlpPolicy", line())
    assert as_expert(expert) is expert
    assert as_expert(model).policy is model.policy
    assert as_expert(model.policy).policy is model.policy


@pytest.mark.parametrize("expert", ["expert.zip", 3, None, np.zeros(3)])
def test_what_can_t_act_is_no_expert_and_a_file_name_is_told_how_to_load(expert):
    with pytest.raises(FeedbackError, match=r"expert: got .*expected an Expert, .*PolicyExpert\.load\(path\)") as caught:
        as_expert(expert)
    assert type(expert).__name__ in str(caught.value)


# --- trained policies -----------------------------------------------------------------------------

SAVED = {
    "A2C": (sb3.A2C, "box", {"policy_kwargs": {"net_arch": [5]}}),
    "A2C discrete": (sb3.A2C, "discrete", {"policy_kwargs": {"net_arch": {"pi": [5], "vf": [6]}, "ortho_init": False}}),
    "PPO": (sb3.PPO, "box", {"policy_kwargs": {"activation_fn": th.nn.ELU}}),
    "PPO gSDE": (sb3.PPO, "box", {"use_sde": True}),
    "PPO multi discrete": (sb3.PPO, "multi_discrete", {}),
    "PPO multi binary": (sb3.PPO, "multi_binary", {}),
    "SAC": (sb3.SAC, "box", {"buffer_size": 10}),
    "SAC gSDE": (sb3.SAC, "box", {"buffer_size": 10, "use_sde": True}),
    "TD3": (sb3.TD3, "box", {"buffer_size": 10, "policy_kwargs": {"net_arch": [8]}}),
    "DQN": (sb3.DQN, "discrete", {"buffer_size": 10}),
    "TRPO": (sb3_contrib.TRPO, "discrete", {}),
    "MaskablePPO": (sb3_contrib.MaskablePPO, "discrete", {}),
    "TQC": (sb3_contrib.TQC, "box", {"buffer_size": 10, "policy_kwargs": {"n_critics": 3}}),
    "QRDQN": (sb3_contrib.QRDQN, "discrete", {"buffer_size": 10, "policy_kwargs": {"n_quantiles": 5}}),
    "REINFORCE": (REINFORCE, "box", {"policy": "SoftplusGaussianPolicy"}),
}


@pytest.fixture(scope="module", params=SAVED)
def saved(request, tmp_path_factory):
    """A model and the file that holds it."""
    algorithm, action, kwargs = SAVED[request.param]
    kwargs = dict(kwargs)
    model = train_a_little(algorithm(kwargs.pop("policy", "MlpPolicy"), line(action), seed=1, **kwargs))
    path = tmp_path_factory.mktemp("models") / "model.zip"
    model.save(path)
    return model, path


def test_a_saved_policy_loads_without_its_class_being_named_and_acts_as_the_model(saved):
    model, path = saved
    expert = PolicyExpert.load(path, deterministic=True)
    actions, _ = model.predict(OBSERVATIONS, deterministic=True)
    assert expert.label == "mode"
    assert expert.act(OBSERVATIONS).shape == (7, *model.action_space.shape)
    assert expert.act(OBSERVATIONS) == pytest.approx(actions, abs=1e-5)


def test_every_expert_s_actions_are_members_of_the_action_space(saved):
    model, path = saved
    expert = PolicyExpert.load(path)
    for action in expert.act(np.repeat(OBSERVATIONS, 20, axis=0) * 5):
        assert model.action_space.contains(action.astype(model.action_space.dtype))


def test_the_same_seed_gives_the_same_actions_also_after_seeding_again(saved):
    _, path = saved
    first, second = PolicyExpert.load(path, seed=5), PolicyExpert.load(path, seed=5)
    actions = first.act(OBSERVATIONS)
    assert np.array_equal(second.act(OBSERVATIONS), actions)
    first.seed(5)
    assert np.array_equal(first.act(OBSERVATIONS), actions)


def test_loading_and_acting_leave_the_learner_s_random_state_untouched(saved, untouched_random_state):
    _, path = saved
    expert = PolicyExpert.load(path)
    expert.act(OBSERVATIONS)
    expert.distribution(OBSERVATIONS)


def test_experts_that_sample_say_sample_and_the_others_mode(saved):
    model, path = saved
    deterministic_by_nature = isinstance(model, (sb3.DQN, sb3.TD3, sb3_contrib.QRDQN)) and not isinstance(model, sb3.SAC)
    assert PolicyExpert.load(path).label == ("mode" if deterministic_by_nature else "sample")


def test_samples_at_one_state_vary_where_the_label_says_sample(saved):
    _, path = saved
    expert = PolicyExpert.load(path)
    drawn = {tuple(np.ravel(expert.act(OBSERVATIONS[:1]))) for _ in range(40)}
    assert (len(drawn) > 1) == (expert.label == "sample")


def test_distribution_and_log_probability_agree_with_the_policy_where_it_has_them(saved):
    model, path = saved
    expert = PolicyExpert.load(path)
    actions = expert.act(OBSERVATIONS)
    distribution = expert.distribution(OBSERVATIONS)
    if not hasattr(model.policy, "get_distribution"):
        assert distribution is None
        assert expert.log_prob(OBSERVATIONS, actions) is None
        return
    with th.no_grad():
        own = model.policy.get_distribution(th.as_tensor(OBSERVATIONS))
        tensor = th.as_tensor(actions) if actions.ndim == 1 else th.as_tensor(actions.astype(np.float32))
        expected = own.log_prob(tensor)
        assert distribution.mode().numpy() == pytest.approx(own.mode().numpy(), abs=1e-5)
        assert distribution.log_prob(tensor).numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert expert.log_prob(OBSERVATIONS, actions) == pytest.approx(expected.numpy(), abs=1e-5)
    assert expert.log_prob(OBSERVATIONS, actions).shape == (7,)


def test_squashed_actions_have_the_log_probability_of_the_policy_s_scale():
    env = gym.wrappers.RescaleAction(line(), -2.0, 2.0)
    model = sb3.PPO("MlpPolicy", env, use_sde=True, policy_kwargs={"squash_output": True}, seed=0)
    expert = PolicyExpert(model)
    actions = np.linspace(-1.8, 1.8, 7, dtype=np.float32)[:, None]
    with th.no_grad():
        expected = model.policy.get_distribution(th.as_tensor(OBSERVATIONS)).log_prob(th.as_tensor(actions / 2)).numpy()
    assert expert.log_prob(OBSERVATIONS, actions) == pytest.approx(expected, abs=1e-4)
    assert np.abs(expert.act(OBSERVATIONS)).max() <= 2.0


def test_a_distribution_is_kept_when_the_expert_is_asked_again():
    expert = PolicyExpert(sb3.PPO("MlpPolicy", line(), seed=0))
    distribution = expert.distribution(OBSERVATIONS)
    before = distribution.mode().clone()
    expert.distribution(-OBSERVATIONS)
    assert th.equal(distribution.mode(), before)


def test_a_deterministic_expert_has_no_distribution():
    expert = PolicyExpert(sb3.PPO("MlpPolicy", line()), deterministic=True)
    assert expert.distribution(OBSERVATIONS) is None
    assert expert.log_prob(OBSERVATIONS, np.zeros((7, 1))) is None


@pytest.mark.parametrize("use_numpy", [True, False])
@pytest.mark.parametrize("action", ["box", "discrete"])
def test_both_ways_of_acting_leave_the_global_random_state_untouched(use_numpy, action, untouched_random_state):
    th_state, np_state = th.get_rng_state(), np.random.get_state()
    model = sb3.PPO("MlpPolicy", line(action))
    th.set_rng_state(th_state)
    np.random.set_state(np_state)
    expert = PolicyExpert(model, use_numpy=use_numpy)
    expert.seed(3)
    assert len({tuple(np.ravel(expert.act(OBSERVATIONS))) for _ in range(20)}) > 1
    expert.log_prob(OBSERVATIONS, expert.act(OBSERVATIONS))


@pytest.mark.parametrize("use_numpy", [True, False])
@pytest.mark.parametrize("action", ["box", "discrete"])
def test_samples_come_from_the_policy_s_distribution_clipped_to_the_space(use_numpy, action):
    n = 20_000
    model = train_a_little(sb3.PPO("MlpPolicy", line(action), seed=0))
    expert = PolicyExpert(model, use_numpy=use_numpy)
    drawn = expert.act(np.repeat(OBSERVATIONS[:1], n, axis=0)).astype(np.float64).reshape(n)
    distribution = expert.distribution(OBSERVATIONS[:1]).distribution
    if action == "discrete":
        expected = distribution.probs[0, 1].item()
        deviation = np.sqrt(expected * (1 - expected))
    else:
        normal = np.random.default_rng(0).normal(distribution.loc.item(), distribution.scale.item(), 10**6)
        expected, deviation = np.clip(normal, -1, 1).mean(), np.clip(normal, -1, 1).std()
    assert abs(drawn.mean() - expected) < 4.2 * deviation / np.sqrt(n)


@pytest.mark.parametrize("kind", ["path", "string", "file"])
def test_load_takes_paths_and_open_files(tmp_path, kind):
    model = sb3.A2C("MlpPolicy", line(), seed=0)
    path = tmp_path / "model.zip"
    model.save(path)
    source = {"path": path, "string": str(path), "file": io.BytesIO(path.read_bytes())}[kind]
    expected, _ = model.predict(OBSERVATIONS, deterministic=True)
    assert PolicyExpert.load(source, deterministic=True).act(OBSERVATIONS) == pytest.approx(expected, abs=1e-5)


def test_a_file_that_holds_no_model_is_refused(tmp_path):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data", "{}")
    with pytest.raises(FeedbackError, match=r"PolicyExpert\.load: .*other\.zip is not a saved SB3 model"):
        PolicyExpert.load(path)


@pytest.mark.parametrize("name", ["rows.npz", "nowhere.npz"])
def test_a_file_of_demonstrations_is_sent_to_where_it_can_act(tmp_path, name):
    Demonstrations(np.zeros((2, 3), np.float32), np.zeros((2, 1), np.float32)).save(tmp_path / "rows.npz")
    with pytest.raises((FeedbackError, FileNotFoundError), match=r"NearestStateExpert\(Demonstrations\.load\("):
        PolicyExpert.load(tmp_path / name)


def test_a_recurrent_policy_is_refused_with_the_reason():
    model = sb3_contrib.RecurrentPPO("MlpLstmPolicy", line())
    for given in (model, model.policy):
        with pytest.raises(FeedbackError, match=r"recurrent policy needs its hidden state.*function that keeps the state"):
            PolicyExpert(given)


# --- normalisation --------------------------------------------------------------------------------


@pytest.fixture
def normalised():
    env = VecNormalize(DummyVecEnv([line, line]), clip_obs=3.0)
    model = train_a_little(sb3.PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=1, seed=0).learn(64))
    raw = np.random.default_rng(1).normal(size=(9, 3)).astype(np.float32) * [1.0, 2.0, 20.0] + [0.0, 1.0, 3.0]
    return model, env, raw.astype(np.float32)


@pytest.mark.parametrize("use_numpy", [True, False])
def test_a_model_brings_its_normalisation_statistics(normalised, use_numpy):
    model, env, raw = normalised
    expected, _ = model.predict(env.normalize_obs(raw), deterministic=True)
    without, _ = model.predict(raw, deterministic=True)
    actions = PolicyExpert(model, deterministic=True, use_numpy=use_numpy).act(raw)
    assert actions == pytest.approx(expected, abs=1e-5)
    assert actions != pytest.approx(without, abs=1e-2)


@pytest.mark.parametrize("as_file", [True, False])
def test_statistics_can_be_loaded_beside_the_model(normalised, tmp_path, as_file):
    model, env, raw = normalised
    model.save(tmp_path / "model.zip")
    env.save(str(tmp_path / "statistics.pkl"))
    statistics = tmp_path / "statistics.pkl" if as_file else env
    expert = PolicyExpert.load(tmp_path / "model.zip", deterministic=True, vec_normalize=statistics)
    expected, _ = model.predict(env.normalize_obs(raw), deterministic=True)
    assert expert.act(raw) == pytest.approx(expected, abs=1e-5)


def test_acting_leaves_the_statistics_as_they_are_and_normalises_the_distribution_too(normalised):
    model, env, raw = normalised
    before = env.obs_rms.mean.copy(), env.obs_rms.var.copy(), env.obs_rms.count
    expert = PolicyExpert(model)
    actions = expert.act(raw)
    with th.no_grad():
        expected = model.policy.get_distribution(th.as_tensor(env.normalize_obs(raw))).log_prob(th.as_tensor(actions))
    assert expert.log_prob(raw, actions) == pytest.approx(expected.numpy(), abs=1e-5)
    assert np.array_equal(env.obs_rms.mean, before[0])
    assert np.array_equal(env.obs_rms.var, before[1])
    assert env.obs_rms.count == before[2]


def test_dict_observations_reach_a_multi_input_policy():
    model = sb3.PPO("MultiInputPolicy", line(dict_observation=True), seed=0)
    observations = {"noise": OBSERVATIONS[:, :1], "count": OBSERVATIONS[:, 1:]}
    expert = PolicyExpert(model, deterministic=True)
    expected, _ = model.predict(observations, deterministic=True)
    assert np.array_equal(expert.act(observations), expected)
    assert PolicyExpert(model).log_prob(observations, expected).shape == (7,)


# --- independence of the learner -------------------------------------------------------------------


def test_a_sampled_expert_s_noise_is_not_the_learner_s_own():
    expert_model = sb3.PPO("MlpPolicy", line(), seed=3, policy_kwargs={"log_std_init": -2.0})
    agent = REINFORCE(
        "MlpPolicy",
        line(),
        seed=0,
        expert=PolicyExpert(expert_model),
        n_episodes=60,
        learning_rate=0.0,
        policy_kwargs={"log_std_init": -2.0},
    )
    agent.learn(1)
    buffer = agent.rollout_buffer
    rows = buffer.row_indices()
    observations = buffer.take_rows(buffer.observations, rows)
    taken = buffer.take_rows(buffer.actions, rows) - agent.predict(observations, deterministic=True)[0]
    labels = buffer.take_rows(buffer.label_actions, rows) - expert_model.predict(observations, deterministic=True)[0]
    assert len(rows) > 200
    assert abs(np.corrcoef(taken.ravel(), labels.ravel())[0, 1]) < 5 / np.sqrt(len(rows))


def test_a_seeded_teacher_s_choice_of_steps_is_not_driven_by_the_environment_s_own_numbers():
    class Uniform(gym.Env):
        """Observes a uniform number from its own generator."""

        observation_space = spaces.Box(0.0, 1.0, (1,), np.float64)
        action_space = spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return self.np_random.random(1), {}

        def step(self, action):
            return self.np_random.random(1), 0.0, False, False, {}

    n = 400
    env = FeedbackWrapper(Uniform(), ExpertTeacher(lambda o: np.zeros(len(o), int), probability=0.5))
    observation, _ = env.reset(seed=7)
    observations, chosen = [observation[0] < 0.5], []
    for _ in range(n):
        observation, *_, info = env.step(0)
        observations.append(observation[0] < 0.5)
        chosen.append("feedback" in info)
    for shift in (0, 1):
        assert abs(np.mean(np.equal(observations[shift : n + shift], chosen)) - 0.5) < 5 * 0.5 / np.sqrt(n)


# --- the linear-quadratic regulator ----------------------------------------------------------------


@pytest.fixture(scope="module")
def pendulum():
    env = gym.make(PENDULUM)
    yield env
    env.close()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("std", [0.0, 0.1])
def test_lqr_balances_the_pendulum_to_the_maximum_return(pendulum, seed, std):
    expert = LQRExpert.from_env(pendulum, std=std, seed=seed)
    observation, _ = pendulum.reset(seed=seed)
    total, ended = 0.0, False
    while not ended:
        observation, reward, terminated, truncated, _ = pendulum.step(expert.act(observation[None])[0])
        total += reward
        ended = terminated or truncated
    assert total == 1000
    assert truncated


def test_linearise_predicts_the_environment_s_own_steps(pendulum):
    transition, control = linearise(pendulum)
    base = pendulum.unwrapped

    def step(state, action):
        pendulum.reset(seed=0)
        base.set_state(np.array(state[:2]), np.array(state[2:]))
        return pendulum.step(np.array([action], np.float32))[0]

    epsilon, zero = 1e-3, np.zeros(4)
    columns = [(step(epsilon * unit, 0.0) - step(-epsilon * unit, 0.0)) / (2 * epsilon) for unit in np.eye(4)]
    column = (step(zero, epsilon) - step(zero, -epsilon)) / (2 * epsilon)
    # Linearised with Euler's integrator, simulated with Runge-Kutta's.
    assert transition == pytest.approx(np.stack(columns, axis=1), abs=0.03)
    assert control[:, 0] == pytest.approx(column, abs=0.02)
    assert not np.allclose(control[:, 0], 0.0, atol=0.02)


def test_the_lqr_s_distribution_is_the_gaussian_that_it_samples(pendulum):
    n = 20_000
    expert = LQRExpert.from_env(pendulum, std=0.2, seed=0)
    observation = np.array([[0.01, -0.005, 0.02, 0.01]])
    drawn = expert.act(np.repeat(observation, n, axis=0)).astype(np.float64)
    normal = expert.distribution(observation).distribution
    mean, std = normal.loc.item(), normal.scale.item()
    assert std == pytest.approx(0.2)
    assert mean == pytest.approx(LQRExpert.from_env(pendulum).act(observation).item(), abs=1e-6)
    assert abs(drawn.mean() - mean) < 4 * std / np.sqrt(n)
    assert abs(drawn.std() - std) < 4 * std / np.sqrt(2 * n)
    action = np.array([[0.3]], np.float32)
    log_density = -0.5 * ((0.3 - mean) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
    assert expert.log_prob(observation, action) == pytest.approx([log_density], abs=1e-4)


def test_the_lqr_is_clipped_to_the_action_space_and_keeps_its_dtype(pendulum):
    actions = LQRExpert.from_env(pendulum).act(np.array([[0.0, 10.0, 0.0, 0.0], [0.0, -10.0, 0.0, 0.0]]))
    assert sorted(actions.ravel().tolist()) == [-3.0, 3.0]
    assert actions.dtype == pendulum.action_space.dtype


@pytest.mark.parametrize(("std", "label"), [(0.0, "mode"), (0.1, "sample")])
def test_the_lqr_says_whether_it_samples(pendulum, std, label):
    expert = LQRExpert.from_env(pendulum, std=std)
    assert expert.label == label
    assert (expert.distribution(np.zeros((1, 4))) is None) == (std == 0)
    assert (expert.log_prob(np.zeros((1, 4)), np.zeros((1, 1))) is None) == (std == 0)


def test_the_lqr_s_noise_follows_its_seed(pendulum, untouched_random_state):
    state = np.zeros((1, 4))
    expert = LQRExpert.from_env(pendulum, std=0.1, seed=1)
    first = [expert.act(state).item() for _ in range(3)]
    expert.seed(1)
    assert [expert.act(state).item() for _ in range(3)] == first
    assert len(set(first)) == 3


def test_a_gain_is_scaled_to_the_actions_that_the_environment_takes(pendulum):
    rescaled = gym.wrappers.RescaleAction(pendulum, np.float32(-1.0), np.float32(1.0))
    state = np.array([[0.02, 0.01, -0.05, 0.03]])
    direct = LQRExpert.from_env(pendulum).act(state)
    # The same force, or an error that says that it can't be had.
    try:
        actions = LQRExpert.from_env(rescaled).act(state)
    except FeedbackError:
        return
    assert 3 * actions == pytest.approx(direct, abs=0.05)


@pytest.mark.parametrize("std", [-0.1, np.nan, np.inf])
def test_a_standard_deviation_below_0_or_not_finite_is_refused(pendulum, std):
    with pytest.raises(ValueError, match=r"std: got .*expected a finite number of at least 0"):
        LQRExpert.from_env(pendulum, std=std)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "Line-v0"])
def test_the_lqr_refuses_environments_that_aren_t_mujoco(env_id):
    with pytest.raises(FeedbackError, match=r"LQRExpert: .*is no Gymnasium MuJoCo environment.*trained policy or a function"):
        LQRExpert.from_env(gym.make(env_id))


@pytest.mark.parametrize("env_id", ["InvertedDoublePendulum-v4", "Reacher-v4"])
def test_the_lqr_refuses_observations_that_aren_t_positions_and_velocities(env_id):
    env = gym.make(env_id)
    with pytest.raises(FeedbackError, match=r"LQRExpert: .*observes Box.*expected \(qpos, qvel\) of \d+ numbers"):
        LQRExpert.from_env(env)
    env.close()


@pytest.mark.parametrize("observations", [np.zeros((2, 5)), {"a": np.zeros((2, 4))}])
def test_the_lqr_refuses_other_observations_when_it_acts(pendulum, observations):
    with pytest.raises(FeedbackError, match=r"LQRExpert: got (shape \(2, 5\)|a dict), expected observations \[n, 4\]"):
        LQRExpert.from_env(pendulum).act(observations)


def test_an_expert_without_seed_or_distribution_of_its_own_is_complete():
    class Still(Expert):
        def act(self, observations):
            return np.zeros((len(observations), 1))

    feedback = ExpertTeacher(Still())(Transition(OBSERVATIONS[0], 0, 0.0, OBSERVATIONS[1], False, False, {}, 0))
    assert feedback == Feedback(expert_action=[0.0], label="mode")


def test_a_missing_file_is_named_as_it_was_given_with_a_way_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*nowhere\.zip\. Save a model there.*pendulum.*nlf-sb3 train-expert"):
        PolicyExpert.load(tmp_path / "nowhere.zip")
