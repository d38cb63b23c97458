"""A label memory beside action masks that come, go, and are missing in part of what is shown."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from learners import is_finite, learner
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import Demonstrations, Imitation, Injection, LabelReplay, MaskablePPO, TrajectoryInjection
from nlf_sb3.labelling.replay import LabelMemory
from nlf_sb3.rows import LabelledRows, with_equal_masks
from nlf_sb3.teachers import Expert


def rows(numbers, has_masks):
    numbers = np.asarray(numbers)
    masks = np.stack([numbers > 3, numbers <= 3], axis=1) if has_masks else None
    return LabelledRows(numbers[:, None], numbers, np.ones(len(numbers)), numbers > 0, masks)


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=8), st.integers(1, 12))
def test_every_row_keeps_its_own_masks_and_has_all_choices_where_it_had_none(parts, capacity):
    memory, own = LabelMemory(capacity), {}
    for size, has_masks in parts:
        new = rows(np.arange(len(own), len(own) + size), has_masks)
        own |= {number: has_masks for number in new.actions.tolist()}
        memory.add(new)
    drawn = memory.draw(100, np.random.default_rng(0))
    assert (drawn.action_masks is None) is not any(has_masks for _, has_masks in parts)
    if drawn.action_masks is not None:
        expected = [rows([number], True).action_masks[0] if own[number] else [True, True] for number in drawn.actions]
        np.testing.assert_array_equal(drawn.action_masks, expected)


@given(st.lists(st.booleans(), min_size=1, max_size=4))
def test_parts_that_are_shown_together_have_masks_all_or_none(have_masks):
    shown = with_equal_masks([rows([1, 5], has_masks) for has_masks in have_masks])
    assert {part.action_masks is None for part in shown} == {not any(have_masks)}
    for part, has_masks in zip(shown, have_masks, strict=True):
        if part.action_masks is not None:
            np.testing.assert_array_equal(part.action_masks, rows([1, 5], True).action_masks if has_masks else np.ones((2, 2)))


class Counting(gym.Env):
    """Allows the choices 0 and 1 in even steps, 1 and 2 in odd ones; observes the step, alone or in a dict."""

    action_space = spaces.Discrete(3)
    vector = spaces.Box(0, 10, (1,), np.float32)

    def __init__(self, is_dict=False):
        self.is_dict = is_dict
        self.observation_space = spaces.Dict({"a": self.vector, "b": spaces.Discrete(2)}) if is_dict else self.vector

    def _observation(self):
        vector = np.full(1, self.steps, np.float32)
        return {"a": vector, "b": self.steps % 2} if self.is_dict else vector

    def action_masks(self):
        return np.array([True, True, False] if self.steps % 2 == 0 else [False, True, True])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        return self._observation(), 1.0, self.steps >= 5, False, {}


class Wishes(Expert):
    """0 wherever nothing forbids it, which odd steps do once there are masks."""

    def act(self, observations):
        first = observations["a"] if isinstance(observations, dict) else observations
        return np.zeros(len(first), dtype=int)

    def act_within(self, observations, action_masks):
        return np.asarray(action_masks).argmax(axis=1)


ORDERS = {"without, then with": (False, True), "with, then without": (True, False), "to and fro": (False, True, False, True)}


@pytest.mark.parametrize("is_dict", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_masks_may_come_and_go_between_trainings(order, is_dict, tmp_path):
    model = learner(
        "MaskablePPO", DummyVecEnv([lambda: Counting(is_dict)]), expert=Wishes(), imitation=Imitation(replay=LabelReplay(64))
    )
    for use_masking in ORDERS[order]:
        model.learn(24, use_masking=use_masking, reset_num_timesteps=False)
        # A remembered label that a mask of another step forbids would cost as much as all the rest together.
        assert 0 < model.logger.name_to_value["train/imitation_loss"] < 10
        assert is_finite(model)
    model.save(tmp_path / "model")
    again = MaskablePPO.load(tmp_path / "model", DummyVecEnv([lambda: Counting(is_dict)]), expert=Wishes())
    for use_masking in ORDERS[order]:
        again.learn(24, use_masking=use_masking, reset_num_timesteps=False)
        assert 0 < again.logger.name_to_value["train/imitation_loss"] < 10


@pytest.mark.parametrize("demonstrated_masks", [None, np.array([[True, True, False]] * 4)])
@pytest.mark.parametrize("order", ORDERS)
def test_demonstrations_with_and_without_masks_go_with_either_memory(order, demonstrated_masks):
    shown = Demonstrations(np.zeros((4, 1), np.float32), np.array([0, 1, 0, 1]), action_masks=demonstrated_masks)
    env = DummyVecEnv([Counting])
    model = learner("MaskablePPO", env, expert=Wishes(), imitation=Imitation(replay=LabelReplay(20)), demonstrations=shown)
    for use_masking in ORDERS[order]:
        model.learn(24, use_masking=use_masking, reset_num_timesteps=False)
        assert 0 < model.logger.name_to_value["train/imitation_loss"] < 10


def test_so_do_imitated_segments():
    env = DummyVecEnv([lambda: TrajectoryInjection(Counting(), Wishes(), 0.5, twin=Counting)])
    model = learner("MaskablePPO", env, imitation=Imitation(replay=LabelReplay(20)), injection=Injection(segments="imitate"))
    for use_masking in (False, True, False):
        model.learn(24, use_masking=use_masking, reset_num_timesteps=False)
        assert 0 < model.logger.name_to_value["train/imitation_loss"] < 10
