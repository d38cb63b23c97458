"""Labels of earlier rollouts: which are kept, which are drawn, and what they make of an update."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nlf_sb3 import A2C, PPO, REINFORCE, TRPO, Demonstrations, FeedbackWrapper, Imitation, LabelReplay
from nlf_sb3.labelling.replay import LabelMemory
from nlf_sb3.rows import LabelledRows
from nlf_sb3.teachers import ExpertTeacher
from tests.helpers import ToyEnv, assert_same_model, box_expert, discrete_expert, parameters_of


def rows(numbers, masks=False):
    numbers = np.asarray(numbers)
    return LabelledRows(
        {"a": numbers[:, None].astype(np.float32), "b": -numbers},
        numbers * 10,
        numbers / 2,
        numbers % 2 == 0,
        np.stack([numbers > 3, numbers <= 3], axis=1) if masks else None,
    )


@given(st.lists(st.integers(0, 12), min_size=1, max_size=8), st.integers(1, 20), st.integers(0, 30), st.booleans())
def test_the_latest_are_kept_and_drawn_once_with_all_their_columns(sizes, capacity, n_drawn, masks):
    memory, stop = LabelMemory(capacity), 0
    for size in sizes:
        memory.add(rows(np.arange(stop, stop + size), masks))
        stop += size
    kept = set(range(max(stop - capacity, 0), stop))
    assert len(memory) == len(kept)
    drawn = memory.draw(n_drawn, np.random.default_rng(0))
    if not kept or not n_drawn:
        assert drawn is None
        return
    numbers = drawn.actions // 10
    assert len(set(numbers)) == len(drawn) == min(n_drawn, len(kept))
    assert set(numbers) <= kept
    expected = rows(numbers, masks)
    for column, wanted in zip(
        (drawn.observations["a"], drawn.observations["b"], *drawn[2:4]),
        (expected.observations["a"], expected.observations["b"], *expected[2:4]),
        strict=True,
    ):
        np.testing.assert_array_equal(column, wanted)
    assert (drawn.action_masks is None) is not masks
    if masks:
        np.testing.assert_array_equal(drawn.action_masks, expected.action_masks)


def test_what_was_drawn_is_a_copy():
    memory = LabelMemory(3)
    memory.add(rows([1, 2, 3]))
    drawn = memory.draw(3, np.random.default_rng(0))
    memory.add(rows([4, 5, 6]))
    assert set(drawn.actions) == {10, 20, 30}


SIZES = {PPO: {"n_steps": 32, "batch_size": 16, "n_epochs": 2}, A2C: {"n_steps": 32}, TRPO: {"n_steps": 32, "batch_size": 16}}
ALGORITHMS = [PPO, A2C, REINFORCE, TRPO]


def model_of(algorithm, action="box", env=None, **arguments):
    env = env or ToyEnv(action)
    return algorithm("MlpPolicy", env, seed=3, device="cpu", **SIZES.get(algorithm, {}), **arguments)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_first_rollout_has_nothing_to_remember_and_the_second_has(algorithm):
    for rollouts in (1, 2):
        steps = 1 if algorithm is REINFORCE and rollouts == 1 else 32 * rollouts
        with_memory = model_of(algorithm, expert=box_expert, imitation=Imitation(replay=LabelReplay(1000))).learn(steps)
        without = model_of(algorithm, expert=box_expert).learn(steps)
        assert len(with_memory.feedback.labelling.memory) == with_memory.num_expert_queries > 0
        if rollouts == 1:
            assert_same_model(with_memory, without)
        else:
            assert not parameters_of(with_memory.policy).equal(parameters_of(without.policy))


def test_remembered_rows_weigh_as_demonstrations_of_the_same_rows_do():
    """A memory of one rollout, replayed whole, equals these rows given as demonstrations."""
    losses = []
    for with_memory in (True, False):
        imitation = Imitation(replay=LabelReplay(100) if with_memory else None)
        model = model_of(A2C, expert=box_expert, imitation=imitation, learning_rate=0.0).learn(32)
        if with_memory:
            kept = model.feedback.labelling.memory.draw(32, np.random.default_rng(0))
        else:
            label = "mode" if kept.is_mode.all() else "sample"
            model.demonstrations = Demonstrations(kept.observations, kept.actions, label=label)
        model.learn(32, reset_num_timesteps=False)
        losses.append(model.logger.name_to_value["train/imitation_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(kept) == 32


def test_labels_that_come_through_the_wrapper_are_remembered_and_the_unlabelled_are_not():
    env = FeedbackWrapper(ToyEnv("discrete"), ExpertTeacher(discrete_expert, probability=0.3))
    model = model_of(PPO, env=env, imitation=Imitation(replay=LabelReplay(100))).learn(96)
    assert 0 < len(model.feedback.labelling.memory) == model.num_expert_queries < 60


def test_replay_says_how_many_are_drawn():
    drawn = []
    model = model_of(PPO, expert=box_expert, imitation=Imitation(replay=LabelReplay(100, per_step=0.5)))
    model.learn(32)
    memory = model.feedback.labelling.memory
    draw = memory.draw
    memory.draw = lambda n, rng: drawn.append(n) or draw(n, rng)
    model.learn(32, reset_num_timesteps=False)
    assert drawn == [16]


def test_a_new_training_begins_with_an_empty_memory_and_a_longer_one_goes_on():
    model = model_of(PPO, expert=box_expert, imitation=Imitation(replay=LabelReplay(1000))).learn(64)
    model.learn(32, reset_num_timesteps=False)
    assert len(model.feedback.labelling.memory) == 96
    model.learn(32)
    assert len(model.feedback.labelling.memory) == 32


def test_the_numbers_are_saved_and_the_memory_is_not(tmp_path):
    model = model_of(PPO, expert=box_expert, imitation=Imitation(replay=LabelReplay(50, per_step=2.0))).learn(32)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=ToyEnv("box"), expert=box_expert)
    assert loaded.imitation.replay == LabelReplay(50, per_step=2.0)
    loaded.learn(32, reset_num_timesteps=False)
    assert len(loaded.feedback.labelling.memory) == 32


def test_recurrent_policies_can_t_use_rows_without_a_past():
    from nlf_sb3 import RecurrentPPO

    with pytest.raises(ValueError, match=r"imitation.replay: got LabelReplay\(.* Replayed labels have no past"):
        RecurrentPPO("MlpLstmPolicy", ToyEnv("box"), imitation=Imitation(replay=LabelReplay(10)))


def test_nobody_is_asked_where_nothing_is_imitated():
    asked = []

    def expert(observations):
        asked.append(len(observations))
        return box_expert(observations)

    model = model_of(PPO, expert=expert, alpha=lambda progress: 0.5 if progress > 0.4 else 1.0).learn(96)
    assert asked == [32]
    assert model.num_expert_queries == 32
