"""What the logger says of words: how many were read, how sure, and which ways."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from gymnasium import spaces
from helpers import ToyEnv
from stable_baselines3.common.logger import configure

from nlf_sb3 import PPO, Feedback, FeedbackWrapper
from nlf_sb3.labelling.word_counts import record_words, way_keys
from nlf_sb3.text import ActionNames, Corrections, Dimension, RuleInterpreter

LONG = "the left front upper leg's outer joint, as seen"


def trained(speak, dimensions, tmp_path, steps=32, **arguments):
    env = ToyEnv("box", lengths=(8, 8))
    interpreter = RuleInterpreter(ActionNames(env.action_space, dimensions))
    env = FeedbackWrapper(env, speak)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=16, n_epochs=1, device="cpu", interpreter=interpreter, **arguments)
    model.set_logger(configure(str(tmp_path), ["stdout", "csv", "json", "log"]))
    model.learn(steps)
    model.logger.close()
    rows = [json.loads(line) for line in (tmp_path / "progress.json").read_text().splitlines()]
    return rows[1:]  # SB3 logs a rollout before it trains on it


def test_the_log_says_how_many_were_read_and_which_ways(tmp_path):
    said = ["Thigh: go forward.", "Foot: go back.", "Well done!", "That was bad.", "Mix flour and butter."]
    dimensions = [Dimension("thigh", "back", "forward"), Dimension("foot", "back", "forward")]
    rows = trained(lambda t: Feedback(text=said[t.step]) if t.step < len(said) else None, dimensions, tmp_path)
    n_episodes = 2
    assert rows[0]["words/remarks"] == n_episodes * len(said)
    counts = {
        name: rows[0][f"words/{name}"] for name in ("thigh_forward", "thigh_back", "foot_back", "praise", "blame", "read")
    }
    wanted = {"thigh_forward": 1, "thigh_back": 0, "foot_back": 1, "praise": 1, "blame": 1, "read": 4}
    assert counts == {name: n_episodes * count for name, count in wanted.items()}
    assert 0 < rows[0]["words/confidence"] <= 1
    assert rows[0]["feedback/text_used"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    "dimensions",
    [
        [Dimension(f"{LONG} from one side", "in", "out"), Dimension(f"{LONG} from the other", "in", "out")],
        [Dimension("joint", "down", "up"), Dimension("joint", "down", "up")],
        [Dimension("左右", "左", "右"), Dimension("上下, \n\x1b", "下", "上")],
        [Dimension("re", "ad", "st"), Dimension("words/read", "a,b", 'c"d')],
        [Dimension("other", "ways", "remarks"), Dimension("blame", "praise", "read")],
    ],
)
def test_every_logger_can_write_any_names(dimensions, tmp_path):
    rows = trained(lambda t: Feedback(text="Go up."), dimensions, tmp_path)
    assert len({key for key in rows[0] if key.startswith("words/")}) >= 8
    with open(tmp_path / "progress.csv", newline="") as file:
        heads, *lines = csv.reader(file)
    assert all(len(line) == len(heads) for line in lines)


def test_the_columns_stay_the_same_in_rollouts_without_words(tmp_path):
    spoken = iter([Feedback(text="Second: go up.")] + [None] * 100)
    rows = trained(lambda t: next(spoken), None, tmp_path, steps=64)
    first, *later = [{key for key in row if key.startswith("words/")} - {"words/confidence"} for row in rows]
    assert first
    assert all(keys == first for keys in later)
    assert [row["words/second_up"] for row in rows] == [1.0, 0.0, 0.0]


def test_many_dimensions_take_few_rows_and_stay_out_of_the_printed_table(tmp_path):
    names = ActionNames(spaces.Box(-1, 1, (40,)))
    assert len(way_keys(names)) == 8
    directions = np.zeros((3, 40))
    directions[0, 0], directions[1, 30] = 1, -1
    corrections = Corrections(directions, np.full(3, 0.2), np.zeros(3), np.ones(3))
    logger = configure(str(tmp_path), ["stdout", "log", "csv"])
    record_words(logger, names, corrections, np.array([1.0, 1.0, 0.0]))
    assert logger.name_to_value["words/first_up"] == 1
    assert logger.name_to_value["words/other_ways"] == 1
    logger.dump(1)
    logger.close()
    assert "first_up" not in (tmp_path / "log.txt").read_text()
    assert "words/first_up" in (tmp_path / "progress.csv").read_text()
