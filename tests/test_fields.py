"""Fields of an algorithm's objects on the command line."""

import pytest

from nlf_sb3 import PPO, Imitation, Injection, LabelReplay, TrainingPhases, presets
from nlf_sb3.experiments.arguments import argument_names
from nlf_sb3.experiments.fields import field_names, with_fields

REPLAYED = Imitation(replay=LabelReplay(10, per_step=2.0))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"injection.coef": 0.5}, {"injection": Injection(coef=0.5)}),
        ({"injection.coef": 0.5, "injection": "plain"}, {"injection": Injection("plain", coef=0.5)}),
        ({"imitation": REPLAYED, "imitation.loss": "nll"}, {"imitation": REPLAYED}),
        ({"imitation": REPLAYED, "imitation.replay.per_step": 4}, {"imitation": Imitation(replay=LabelReplay(10, 4.0))}),
        ({"imitation.replay.capacity": 7}, {"imitation": Imitation(replay=LabelReplay(7))}),
        ({"phases.n_steps": 64, "n_steps": 8}, {"phases": TrainingPhases(n_steps=64), "n_steps": 8}),
        ({"phases": TrainingPhases(begin=0.5), "phases.n_steps": 64}, {"phases": TrainingPhases(64, begin=0.5)}),
    ],
    ids=str,
)
def test_fields_go_into_their_objects(arguments, expected):
    assert with_fields(arguments) == expected


def test_a_field_of_a_preset_is_replaced_and_the_others_stay():
    arguments = with_fields({**presets.feedback("PPO"), "imitation.mode_trains_std": True})
    assert arguments["imitation"] == Imitation(replay=LabelReplay(100_000, per_step=4.0), mode_trains_std=True)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"imitation.replay.capacity: got none, expected the number of labels to keep"):
        with_fields({"imitation.replay.per_step": 2.0})


def test_algorithms_name_their_fields():
    assert field_names(["n_steps"]) == set()
    assert {"imitation.loss", "injection.vf_coef", "phases.begin", "imitation.replay.capacity"} <= argument_names(PPO)
    assert not {"imitation.weights", "phases.otherwise"} & argument_names(PPO)
