"""Learning with takeovers: vectorised environments, normalisation, refusals, and what they leave alone."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3 as sb3
from helpers import ToyEnv, assert_same_model, box_expert, watch
from learners import ALGORITHMS, is_finite, learner
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from nlf_sb3 import Demonstrations, FeedbackError, FeedbackWrapper, TrajectoryInjection
from nlf_sb3.feedback import TAKEOVER_KEY
from nlf_sb3.infos import Takeover
from nlf_sb3.teachers import CallableExpert, ExpertTeacher


class FirstAllowed(gym.Wrapper):
    """Allows the choices 0 and 1 of three."""

    def action_masks(self):
        return np.array([True, True, False])


def low_choice(observations):
    return (np.asarray(observations)[:, 0] > 0).astype(np.int64)


def one_env(algorithm="PPO", expert=None, p=0.3, **kwargs):
    if algorithm == "MaskablePPO":
        return FirstAllowed(TrajectoryInjection(ToyEnv("discrete"), expert or low_choice, p, mode="takeover", **kwargs))
    return TrajectoryInjection(ToyEnv(bound=0.4), expert or box_expert, p, mode="takeover", **kwargs)


def taken_over(algorithm="PPO", n_envs=2, vec_env=DummyVecEnv, **kwargs):
    return vec_env([lambda: one_env(algorithm, **kwargs)] * n_envs)


# --- vectorised environments --------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_learns_from_takeovers_and_says_so(algorithm):
    model = learner(algorithm, taken_over(algorithm))
    records = watch(model)
    model.learn(100, log_interval=1)
    last = model.logger.name_to_value
    assert is_finite(model)
    assert 0 < model.num_expert_steps < model.num_timesteps
    assert last["injection/expert_steps"] == model.num_expert_steps
    rates = [dump["injection/takeover_rate"] for dump in [*records.dumps, last] if "injection/takeover_rate" in dump]
    assert len(rates) >= 3
    assert all(0 < rate < 1 for rate in rates)


@pytest.mark.parametrize("algorithm", ["REINFORCE", "A2C", "RecurrentPPO"])
def test_worker_processes_take_over_as_one_process_does(algorithm):
    models = []
    for vec_env in (DummyVecEnv, SubprocVecEnv):
        env = taken_over(algorithm, vec_env=vec_env)
        models.append(learner(algorithm, env).learn(60))
        env.close()
    assert models[0].num_expert_steps == models[1].num_expert_steps > 0
    assert_same_model(*models)


class KeepsRollout(sb3.common.callbacks.BaseCallback):
    def _on_step(self):
        return True

    def _on_rollout_end(self):
        buffer, stats = self.model.rollout_buffer, self.model.get_vec_normalize_env().obs_rms
        self.rows = buffer.observations.copy(), buffer.actions.copy(), buffer.executed.copy(), buffer.rewards.copy()
        self.mean, self.var = stats.mean.copy(), stats.var.copy()


@pytest.mark.parametrize("algorithm", ["REINFORCE", "A2C", "PPO", "TRPO"])
def test_the_expert_sees_raw_observations_and_the_learner_normalised_ones(algorithm):
    seen = []

    def expert(observations):
        seen.extend(np.asarray(observations).copy())
        return box_expert(observations)

    env = VecNormalize(taken_over(algorithm, expert=expert, n_envs=1), clip_obs=3.0)
    model = learner(algorithm, env)
    callback = KeepsRollout()
    model.learn(12, callback=callback)
    observations, actions, executed, _ = callback.rows
    assert executed.any()
    assert len(seen) == executed.sum()
    assert actions[executed] == pytest.approx(box_expert(np.stack(seen)))
    assert not np.allclose(observations[executed], np.stack(seen), atol=1e-2)
    assert is_finite(model)


def test_takeovers_count_into_normalisation_as_any_step_does():
    env = VecNormalize(taken_over(n_envs=1, p=1.0))
    learner("PPO", env).learn(12)
    assert env.obs_rms.count == pytest.approx(13, abs=0.01)


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "TRPO"])
def test_an_update_of_their_own_is_refused(algorithm):
    model = learner(algorithm, taken_over(algorithm), injection="separate")
    with pytest.raises(FeedbackError, match=r"injection.separate_step: got True.*mode='takeover'.*Use injection='bounded'"):
        model.learn(12)


class Says(gym.Wrapper):
    """Marks each step as an expert's."""

    def __init__(self, env, action):
        super().__init__(env)
        self.action = action

    def step(self, action):
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, reward, terminated, truncated, {**info, TAKEOVER_KEY: Takeover(self.action)}


@pytest.mark.parametrize("vec_env", [DummyVecEnv, SubprocVecEnv])
@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_a_bad_executed_action_is_always_an_error(on_error, vec_env):
    """Its row would pass for the agent's own."""
    env = vec_env([lambda: ToyEnv(), lambda: Says(ToyEnv(), np.array([0.5, 9.0]))])
    model = learner("A2C", env, on_error=on_error)
    with pytest.raises(FeedbackError, match=r"environment 1, step 2: executed action.*9"):
        model.learn(12)
    env.close()


@pytest.mark.parametrize(
    ("action", "what"),
    [
        (np.array([np.nan, 0.0]), "nan"),
        (np.zeros(3), "shape"),
        ("left", "left"),
        (None, "None"),
    ],
)
def test_an_executed_action_of_the_wrong_kind_is_an_error(action, what):
    model = learner("PPO", DummyVecEnv([lambda: Says(ToyEnv(), action)]))
    with pytest.raises(FeedbackError, match=rf"(?s)environment 0, step 1: executed action.*{what}"):
        model.learn(12)


def forbidden_choice(observations):
    return np.full(len(observations), 2)


@pytest.mark.parametrize("inside", [False, True])
def test_a_takeover_with_an_action_that_the_mask_forbids_is_refused(inside):
    def one():
        def takeover(env):
            return TrajectoryInjection(env, forbidden_choice, 0.3, mode="takeover")

        env = ToyEnv("discrete")
        return takeover(FirstAllowed(env)) if inside else FirstAllowed(takeover(env))

    model = learner("MaskablePPO", DummyVecEnv([one] * 2))
    source = "environment [01].*: expert action: it" if inside else "executed action: .*environment [01].*"
    with pytest.raises(FeedbackError, match=rf"{source} is 2, which the action mask forbids"):
        model.learn(24)


def test_without_masking_a_takeover_may_do_what_masks_forbid():
    def one():
        return FirstAllowed(TrajectoryInjection(ToyEnv("discrete"), forbidden_choice, 0.3, mode="takeover"))

    model = learner("MaskablePPO", DummyVecEnv([one] * 2))
    model.learn(24, use_masking=False)
    assert is_finite(model)


def fails(observations):
    raise OSError("the line is dead")


@pytest.mark.parametrize("algorithm", ["REINFORCE", "PPO"])
def test_an_expert_that_fails_to_take_over_is_an_error_with_environment_and_step(algorithm):
    model = learner(algorithm, taken_over(algorithm, expert=fails, p=1.0))
    with pytest.raises(FeedbackError, match=r"(?s)environment 0, step 2: expert that took over, episode step 0.*line is dead"):
        model.learn(12)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_skipped_failures_leave_the_agent_s_own_rows(algorithm):
    model = learner(algorithm, taken_over(algorithm, expert=fails, p=1.0), on_error="skip")
    records = watch(model)
    model.learn(24)
    assert records is not None
    assert model.logger.name_to_value["feedback/skipped"] >= 24
    assert model.num_expert_steps == 0
    assert not model.rollout_buffer.executed.any()


# --- what takeovers leave alone -----------------------------------------------------------------------

ORIGINALS = {"A2C": sb3.A2C, "PPO": sb3.PPO, "TRPO": sb3_contrib.TRPO}


@pytest.mark.parametrize("algorithm", ORIGINALS)
def test_a_takeover_that_never_comes_trains_as_the_original_does(algorithm):
    n = 48
    ours = learner(algorithm, taken_over(algorithm, p=1e-9)).learn(n)
    plain = DummyVecEnv([lambda: ToyEnv(bound=0.4)] * 2)
    theirs = learner(algorithm, plain, subclass=ORIGINALS[algorithm]).learn(n)
    assert ours.num_expert_steps == 0
    assert_same_model(ours, theirs)


def test_evaluation_in_a_plain_environment_is_the_agent_s_alone_and_changes_no_training():
    def plain():
        return Monitor(ToyEnv(bound=0.4))

    without = learner("PPO", taken_over()).learn(72)
    evaluation = EvalCallback(DummyVecEnv([plain]), eval_freq=6, n_eval_episodes=2, verbose=0, warn=False)
    beside = learner("PPO", taken_over()).learn(72, callback=evaluation)
    assert evaluation.n_calls > 0
    assert np.isfinite(evaluation.last_mean_reward)
    assert_same_model(without, beside)

    env = ToyEnv(bound=0.4)
    observation, _ = env.reset(seed=9)
    total, ended = 0.0, False
    while not ended:
        action, _ = beside.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = env.step(action)
        total, ended = total + reward, terminated or truncated
    again = DummyVecEnv([plain])
    again.seed(9)
    mean, _ = evaluate_policy(beside, again, n_eval_episodes=1)
    assert mean == pytest.approx(total, abs=1e-4)


# --- with other channels ------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_labels_by_a_wrapper_around_a_takeover_train_beside_it(algorithm):
    expert = low_choice if algorithm == "MaskablePPO" else box_expert

    def one():
        wrapped = FeedbackWrapper(one_env(algorithm), ExpertTeacher(CallableExpert(expert, label="sample")))
        return FirstAllowed(wrapped) if algorithm == "MaskablePPO" else wrapped

    model = learner(algorithm, DummyVecEnv([one] * 2), alpha=0.5)
    watch(model)
    model.learn(24)
    logged = model.logger.name_to_value
    assert logged["feedback/rate"] == 1.0
    assert np.isfinite(logged["train/imitation_loss"])
    assert 0 < logged["injection/takeover_rate"] < 1
    assert is_finite(model)


@pytest.mark.parametrize("algorithm", ["REINFORCE", "A2C", "PPO", "TRPO"])
def test_demonstrations_train_beside_a_takeover(algorithm):
    observations = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    rows = Demonstrations(observations, box_expert(observations))
    model = learner(algorithm, taken_over(algorithm), demonstrations=rows)
    watch(model)
    model.learn(24)
    assert np.isfinite(model.logger.name_to_value["train/imitation_loss"])
    assert model.num_expert_steps > 0


def test_learning_goes_on_from_a_file_in_the_midst_of_takeovers(tmp_path):
    model = learner("PPO", taken_over()).learn(24)
    model.save(tmp_path / "model")
    again = type(model).load(tmp_path / "model", env=taken_over())
    assert again.num_expert_steps == model.num_expert_steps > 0
    again.learn(24, reset_num_timesteps=False)
    assert again.num_expert_steps > model.num_expert_steps
    assert is_finite(again)


# --- what it is for -----------------------------------------------------------------------------------


class Corridor(gym.Env):
    """Fifteen steps to the right in a row bring the only reward: an agent that explores hardly ever sees it."""

    observation_space = gym.spaces.Box(0.0, 1.0, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.place = self.place + 1 if action == 1 else 0
        self.steps += 1
        arrived = self.place == 15
        return np.full(1, self.place / 15, np.float32), float(arrived), arrived, self.steps == 20, {}


def right(observations):
    return np.ones(len(observations), np.int64)


@pytest.mark.parametrize("algorithm", ["A2C", "PPO"])
def test_takeovers_lead_to_a_reward_that_the_agent_does_not_find(algorithm):
    def mean_return(env):
        model = learner(algorithm, env, n_steps=32, learning_rate=1e-2, policy_kwargs={"net_arch": [16]})
        model.learn(2500)
        return evaluate_policy(model, DummyVecEnv([lambda: Monitor(Corridor())]), n_eval_episodes=1)[0]

    def guided():
        return TrajectoryInjection(Corridor(), right, 0.1, mode="takeover")

    assert mean_return(DummyVecEnv([guided] * 2)) == 1.0
    assert mean_return(DummyVecEnv([Corridor] * 2)) == 0.0


@pytest.mark.parametrize("settings", [{"baseline": True}, {"normalize_returns": False}, None])
def test_reinforce_says_when_takeovers_would_be_unlearned(settings):
    model = learner("REINFORCE", taken_over("REINFORCE"), **(settings or {}))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.learn(1)
    messages = [str(warning.message) for warning in caught if "takeover" in str(warning.message)]
    assert len(messages) == (settings is None)
    assert all("baseline=True or normalize_returns=False" in message for message in messages)
