"""imitation's data, files, policies and trainers, in and out, with imitation itself on the other side."""

import pickle
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pytest
import torch as th
from gymnasium import spaces
from helpers import ToyEnv, discrete_expert
from imitation.algorithms import bc, dagger
from imitation.data import rollout, serialize, types
from imitation.policies.base import FeedForward32Policy, RandomPolicy, ZeroPolicy
from imitation.util import util
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import Demonstrations, ExpertSegment, FeedbackError, MissingExtraError
from nlf_sb3.interop.imitation import (
    clone,
    load_policy,
    load_trainer,
    load_trajectories,
    save_trajectories,
    to_demonstrations,
    to_segments,
    to_trajectories,
    to_transitions,
)
from nlf_sb3.interop.imitation.policies import silent_logger
from nlf_sb3.teachers import CallableExpert, NearestStateExpert, PolicyExpert, PolicyFunctionExpert, as_expert

BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
PICTURES = spaces.Box(0, 255, (2, 2, 1), np.uint8)
PARTS = spaces.Dict({"a": BOX, "b": spaces.Box(-1.0, 1.0, (2, 2), np.float32)})
ACTIONS = {
    "box": spaces.Box(-1.0, 1.0, (2,), np.float32),
    "discrete": spaces.Discrete(3),
    "multidiscrete": spaces.MultiDiscrete([3, 2]),
    "multibinary": spaces.MultiBinary(2),
}
LENGTH = 4


def sampled(space, n):
    rows = [space.sample() for _ in range(n)]
    return {key: np.stack([row[key] for row in rows]) for key in space} if isinstance(space, spaces.Dict) else np.stack(rows)


def make_segment(observation_space=BOX, action_space=ACTIONS["discrete"], **changes):
    for space in (observation_space, action_space):
        space.seed(0)
    observations = sampled(observation_space, LENGTH + 1)
    parts = observations if isinstance(observations, dict) else {"": observations}
    steps, last = {k: v[:-1] for k, v in parts.items()}, {k: v[-1] for k, v in parts.items()}
    segment = ExpertSegment(
        observations=steps if isinstance(observations, dict) else steps[""],
        actions=sampled(action_space, LENGTH),
        rewards=np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32),
        terminated=True,
        truncated=False,
        last_observation=last if isinstance(observations, dict) else last[""],
        fork_step=0,
    )
    return replace(segment, **changes)


def assert_equal(first, second):
    """Equal records: values, shapes and dtypes of every field."""
    for field in fields(first):
        mine, theirs = getattr(first, field.name), getattr(second, field.name)
        assert isinstance(mine, dict) == isinstance(theirs, dict), field.name
        pairs = [(mine[k], theirs[k]) for k in mine | theirs] if isinstance(mine, dict) else [(mine, theirs)]
        for one, other in pairs:
            assert (one is None) == (other is None), field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name, strict=isinstance(one, np.ndarray))


# --- in memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "observation_space", [BOX, PICTURES, PARTS, spaces.Discrete(4)], ids=["box", "image", "dict", "discrete"]
)
@pytest.mark.parametrize("action_space", ACTIONS.values(), ids=ACTIONS)
def test_segments_come_back_from_trajectories(observation_space, action_space):
    segment = make_segment(observation_space, action_space)
    (trajectory,) = to_trajectories(segment)
    assert isinstance(trajectory, types.TrajectoryWithRew)
    assert isinstance(trajectory.obs, types.DictObs) == isinstance(observation_space, spaces.Dict)
    assert_equal(segment, to_segments(trajectory)[0])


@pytest.mark.parametrize("ends", [(True, False), (False, True), (False, False)], ids=["terminated", "truncated", "cut"])
def test_how_an_episode_ended_comes_back(ends):
    terminated, truncated = ends
    segment = make_segment(terminated=terminated, truncated=truncated)
    (trajectory,) = to_trajectories([segment])
    assert trajectory.terminal == (terminated or truncated)
    assert_equal(segment, to_segments([trajectory])[0])


def test_a_trajectory_holds_the_experts_steps_alone_unless_asked_for_all():
    masks = np.array([[True, True, True], [True, False, True], [False, True, True], [True, True, False]])
    segment = make_segment(fork_step=1, expert_log_probs=np.array([-0.5, -1.0, -1.5]), action_masks=masks)
    (own,) = to_trajectories(segment)
    np.testing.assert_array_equal(own.acts, segment.actions[1:])
    np.testing.assert_array_equal(own.obs, [*segment.observations[1:], segment.last_observation])
    np.testing.assert_array_equal(to_segments(own)[0].action_masks, masks[1:])
    (whole,) = to_trajectories(segment, expert_steps_only=False)
    assert len(whole) == LENGTH
    assert_equal(segment, to_segments(whole)[0])
    # Whoever imitates it still gets the expert's steps alone.
    np.testing.assert_array_equal(to_demonstrations(whole).actions, segment.actions[1:])


def test_a_segment_without_a_step_of_the_experts_is_refused():
    with pytest.raises(FeedbackError, match="took no step"):
        to_trajectories(make_segment(fork_step=LENGTH))


def test_demonstrations_have_no_order_to_be_trajectories_of():
    with pytest.raises(FeedbackError, match=r"to_trajectories: got Demonstrations, whose rows have no order.*to_transitions"):
        to_trajectories(Demonstrations(np.zeros((2, 3)), np.zeros(2, int)))


@pytest.mark.parametrize("observation_space", [BOX, PARTS], ids=["box", "dict"])
def test_demonstrations_come_back_from_transitions(observation_space):
    rows = Demonstrations(
        sampled(observation_space, 3),
        np.array([0, 1, 2]),
        weights=np.array([1.0, 0.5, 2.0]),
        label="mode",
        action_masks=np.array([[True, False, True], [True, True, True], [False, False, True]]),
    )
    transitions = to_transitions(rows)
    assert isinstance(transitions, types.TransitionsMinimal)
    assert_equal(rows, to_demonstrations(transitions))
    assert rows.actions.flags.writeable  # imitation makes its own arrays read-only


def test_segments_become_transitions_with_what_came_next():
    segments = [make_segment(), make_segment(terminated=False)]
    transitions = to_transitions(segments)
    assert isinstance(transitions, types.Transitions)
    np.testing.assert_array_equal(transitions.next_obs[LENGTH - 1], segments[0].last_observation)
    np.testing.assert_array_equal(transitions.dones, [False, False, False, True, False, False, False, False])
    np.testing.assert_array_equal(transitions.rews, [1, 2, 3, 4] * 2)
    np.testing.assert_array_equal(to_demonstrations(transitions).actions, Demonstrations.from_segments(segments).actions)


@pytest.fixture(scope="module")
def venv():
    """Toy episodes that end both ways."""
    return DummyVecEnv([lambda: ToyEnv("discrete", lengths=(4, 4)) for _ in range(2)])


@pytest.fixture(scope="module")
def recorded(venv):
    """Trajectories by imitation's own rollout."""
    venv.seed(0)
    until = rollout.make_sample_until(min_timesteps=None, min_episodes=12)
    policy = lambda obs, states, dones: (discrete_expert(obs), None)  # noqa: E731
    return rollout.rollout(policy, venv, until, rng=np.random.default_rng(0), exclude_infos=False, unwrap=False)


def test_recorded_trajectories_become_segments_and_demonstrations(recorded, venv):
    segments = to_segments(recorded, observation_space=venv.observation_space, action_space=venv.action_space)
    by_limit = [bool(trajectory.infos[-1]["TimeLimit.truncated"]) for trajectory in recorded]
    assert [segment.truncated for segment in segments] == by_limit
    assert [segment.terminated for segment in segments] == [not limit for limit in by_limit]
    assert 0 < sum(by_limit) < len(by_limit)
    assert all(segment.truncated for segment in to_segments(recorded, truncated=True))
    bare = [replace(trajectory, infos=None) for trajectory in recorded]  # as imitation's rollout leaves them by default
    assert all(segment.terminated for segment in to_segments(bare))
    rows = to_demonstrations(recorded, label="mode", action_space=venv.action_space)
    assert len(rows) == sum(map(len, recorded))
    np.testing.assert_array_equal(rows.actions, discrete_expert(rows.observations))
    assert rows.label == "mode"


def test_trajectories_without_rewards_are_for_imitation_alone(recorded):
    bare = types.Trajectory(obs=recorded[0].obs, acts=recorded[0].acts, infos=None, terminal=True)
    with pytest.raises(FeedbackError, match=r"without rewards.*to_demonstrations"):
        to_segments(bare)
    assert len(to_demonstrations(bare)) == len(bare)


@pytest.mark.parametrize("nonsense", [[], [1, 2], {"acts": 0}], ids=str)
def test_what_is_no_trajectory_is_refused(nonsense):
    with pytest.raises(FeedbackError, match="expected imitation's"):
        to_demonstrations(nonsense)


# --- in files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation_space", [BOX, PICTURES, spaces.Discrete(4)], ids=["box", "image", "discrete"])
@pytest.mark.parametrize("action_space", ACTIONS.values(), ids=ACTIONS)
def test_files_keep_values_and_the_spaces_bring_dtypes_back(observation_space, action_space, tmp_path):
    segment = make_segment(observation_space, action_space, rewards=np.array([1.0, 2.0, 3.0, 4.0]))
    save_trajectories(tmp_path / "folder", [segment])
    assert isinstance(serialize.load(str(tmp_path / "folder"))[0], types.TrajectoryWithRew)
    loaded = load_trajectories(tmp_path / "folder", observation_space=observation_space, action_space=action_space)
    assert_equal(segment, to_segments(loaded)[0])


def test_masks_survive_a_file(tmp_path):
    masks = np.array([[True, True, True], [True, False, True], [False, True, True], [True, True, True]])
    segment = make_segment(action_masks=masks)
    save_trajectories(tmp_path / "folder", [segment])
    np.testing.assert_array_equal(to_demonstrations(load_trajectories(tmp_path / "folder")).action_masks, masks)


def test_imitations_own_files_are_read(recorded, venv, tmp_path):
    serialize.save(str(tmp_path / "new"), recorded)
    loaded = load_trajectories(tmp_path / "new", observation_space=venv.observation_space, action_space=venv.action_space)
    assert loaded[0].obs.dtype == np.float32
    for mine, theirs in zip(loaded, recorded, strict=True):
        np.testing.assert_array_equal(mine.obs, theirs.obs)
        np.testing.assert_array_equal(mine.rews, theirs.rews)


@pytest.mark.filterwarnings("ignore:Loading old:DeprecationWarning")
@pytest.mark.parametrize("name", ["old.npz", "old.pkl"])
def test_files_of_imitations_early_releases_are_read(name, recorded, tmp_path):
    if name.endswith(".npz"):
        arrays = {"obs": np.concatenate([t.obs for t in recorded]), "acts": np.concatenate([t.acts for t in recorded])}
        arrays |= {"infos": np.concatenate([t.infos for t in recorded]), "rews": np.concatenate([t.rews for t in recorded])}
        indices = np.cumsum([len(t) for t in recorded[:-1]])
        np.savez(tmp_path / name, **arrays, indices=indices, terminal=np.array([t.terminal for t in recorded]))
    else:
        (tmp_path / name).write_bytes(pickle.dumps(list(recorded)))
    loaded = load_trajectories(tmp_path / name)
    assert len(loaded) == len(recorded)
    assert all(np.array_equal(mine.obs, theirs.obs) for mine, theirs in zip(loaded, recorded, strict=True))


def test_what_files_cannot_hold_is_refused(tmp_path):
    with pytest.raises(FeedbackError, match=r"no dict observations.*Demonstrations\.save"):
        save_trajectories(tmp_path / "folder", [make_segment(PARTS)])
    with pytest.raises(FeedbackError, match="nothing to write"):
        save_trajectories(tmp_path / "folder", [])
    with pytest.raises(FileNotFoundError, match="save_trajectories"):
        load_trajectories(tmp_path / "folder")


def test_a_wrong_space_is_refused(tmp_path):
    save_trajectories(tmp_path / "folder", [make_segment()])
    with pytest.raises(FeedbackError, match="observations: got shape"):
        load_trajectories(tmp_path / "folder", observation_space=PICTURES)
    with pytest.raises(FeedbackError, match=r"observations: row 0 .*expected whole numbers"):
        to_segments(to_trajectories(make_segment()), observation_space=spaces.Box(-1, 1, (3,), np.int8))
    with pytest.raises(FeedbackError, match="outside"):
        load_trajectories(tmp_path / "folder", action_space=spaces.Discrete(1))


# --- policies and trainers ----------------------------------------------------------------------------


def make_bc(recorded, venv):
    return bc.BC(
        observation_space=venv.observation_space,
        action_space=venv.action_space,
        demonstrations=recorded,
        rng=np.random.default_rng(0),
        custom_logger=silent_logger(),
        device="cpu",
    )


def same_policy(first, second):
    return all(th.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True))


def test_saved_policies_load(recorded, venv, tmp_path):
    policy = make_bc(recorded, venv).policy
    util.save_policy(policy, tmp_path / "whole.pt")
    policy.save(tmp_path / "parts.pt")
    whole, parts = load_policy(tmp_path / "whole.pt"), load_policy(tmp_path / "parts.pt")
    assert type(whole) is FeedForward32Policy
    assert same_policy(whole, policy)
    assert same_policy(parts, policy)
    np.testing.assert_array_equal(
        parts.predict(recorded[0].obs, deterministic=True)[0], policy.predict(recorded[0].obs, deterministic=True)[0]
    )


def test_saved_models_load_from_file_and_folder(tmp_path):
    model = PPO("MlpPolicy", ToyEnv("discrete"), n_steps=4, batch_size=4, device="cpu")
    model.save(tmp_path / "model.zip")
    assert same_policy(load_policy(tmp_path), model.policy)
    assert same_policy(load_policy(tmp_path / "model.zip"), model.policy)


def test_what_is_no_policy_is_refused(tmp_path):
    th.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(FeedbackError, match="holds a list"):
        load_policy(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError, match="save_policy"):
        load_policy(tmp_path / "none.pt")


def test_a_dagger_trainer_loads_acts_and_goes_on(recorded, venv, tmp_path, monkeypatch):
    trainer = dagger.SimpleDAggerTrainer(
        venv=venv,
        scratch_dir=tmp_path / "dagger",
        expert_policy=ZeroPolicy(venv.observation_space, venv.action_space),
        bc_trainer=make_bc(recorded, venv),
        rng=np.random.default_rng(0),
        custom_logger=silent_logger(),
    )
    short = {"rollout_round_min_timesteps": 40, "bc_train_kwargs": {"n_epochs": 1, "progress_bar": False}}
    trainer.train(40, **short)
    trainer.save_trainer()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    loaded = load_trainer(tmp_path / "dagger", venv)
    assert same_policy(loaded.policy, trainer.policy)
    assert isinstance(as_expert(loaded), PolicyExpert)
    assert as_expert(loaded).policy is loaded.policy
    loaded.train(40, **short)
    assert loaded.round_num == trainer.round_num + 1
    assert not same_policy(loaded.policy, trainer.policy)
    assert not list((tmp_path / "temporary").glob("imitation*"))
    with pytest.raises(FileNotFoundError, match="save_trainer"):
        load_trainer(tmp_path, venv)


# --- experts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy_class", [FeedForward32Policy, RandomPolicy, ZeroPolicy])
def test_imitations_policies_are_experts(policy_class, venv):
    extra = [lambda _: 0.0] if policy_class is FeedForward32Policy else []
    expert = as_expert(policy_class(venv.observation_space, venv.action_space, *extra))
    actions = expert.act(sampled(venv.observation_space, 5))
    assert actions.shape == (5,)
    assert all(action in venv.action_space for action in actions)


def test_a_bc_trainer_is_the_expert_of_its_policy(recorded, venv):
    trainer = make_bc(recorded, venv)
    assert as_expert(trainer).policy is trainer.policy


def test_policy_functions_are_told_from_functions_of_observations():
    seen = []

    def policy_function(observations, states, dones):
        seen.append((states, dones))
        return discrete_expert(observations), None

    observations = sampled(BOX, 3)
    expert = as_expert(policy_function)
    assert isinstance(expert, PolicyFunctionExpert)
    np.testing.assert_array_equal(expert.act(observations), discrete_expert(observations))
    assert seen[0][0] is None
    np.testing.assert_array_equal(seen[0][1], [True] * 3)
    for function in (discrete_expert, lambda obs, scale=1: obs, lambda obs, a=1, b=2: obs, np.sin, th.nn.Linear(3, 2)):
        assert isinstance(as_expert(function), CallableExpert)


@pytest.mark.parametrize(
    "function",
    [lambda obs, dones: obs, lambda *args: args, lambda: 0, lambda a=0, b=0, c=0: a, lambda a, b, c, d: a],
    ids=["two", "any", "none", "all optional", "four"],
)
def test_functions_of_which_the_arguments_are_unclear_are_refused(function):
    with pytest.raises(FeedbackError, match=r"CallableExpert\(function\) or PolicyFunctionExpert\(function\)"):
        as_expert(function)


def test_policy_functions_that_keep_a_state_or_return_no_pair_are_refused():
    with pytest.raises(FeedbackError, match="returned a state"):
        PolicyFunctionExpert(lambda obs, states, dones: (obs, obs)).act(sampled(BOX, 2))
    with pytest.raises(FeedbackError, match="expected a pair"):
        PolicyFunctionExpert(lambda obs, states, dones: obs).act(sampled(BOX, 2))


def test_predict_stands_for_its_model():
    model = PPO("MlpPolicy", ToyEnv("discrete"), n_steps=4, batch_size=4, device="cpu")
    assert as_expert(model.predict).policy is model.policy


def test_demonstrations_are_sent_to_where_they_can_act():
    rows = Demonstrations(sampled(BOX, 3), np.array([0, 1, 2]))
    with pytest.raises(FeedbackError, match=r"demonstrations=, or act from them with NearestStateExpert\(demonstrations\)"):
        as_expert(rows)
    np.testing.assert_array_equal(as_expert(NearestStateExpert(rows)).act(rows.observations), rows.actions)


# --- the extra ----------------------------------------------------------------------------------------


def test_without_imitation_the_message_names_the_extra(monkeypatch, tmp_path):
    rows = Demonstrations(sampled(BOX, 3), np.array([0, 1, 2]))
    for module in ("imitation.algorithms.bc", "imitation.data.types", "imitation.data.serialize", "imitation.data.rollout"):
        monkeypatch.setitem(sys.modules, module, None)
    calls = [
        lambda: clone(rows, observation_space=BOX, action_space=spaces.Discrete(3)),
        lambda: to_transitions(rows),
        lambda: to_trajectories(make_segment()),
        lambda: save_trajectories(tmp_path, [make_segment()]),
        lambda: load_trajectories(tmp_path),
        lambda: load_trainer(tmp_path, None),
    ]
    for call in calls:
        with pytest.raises(MissingExtraError, match=r'pip install "nlf-sb3\[imitation\]"'):
            call()


def test_imitation_is_imported_by_nobody_who_did_not_ask():
    code = "import sys, nlf_sb3, nlf_sb3.interop.imitation; print([m for m in sys.modules if m.split('.')[0] == 'imitation'])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
