"""The arms that learn from words: from nothing else, beside the reward, and from words that mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nlf_sb3 import presets
from nlf_sb3.algorithms import PPO
from nlf_sb3.experiments.arguments import argument_names
from nlf_sb3.experiments.compare.arm import Arm
from nlf_sb3.experiments.compare.task import Task
from nlf_sb3.experiments.compare.words import ODD, OFF_TOPIC, FixedRemarks, ShuffledRemarks, names_of
from nlf_sb3.experiments.fields import with_fields
from nlf_sb3.teachers import SpeakingTeacher, Teacher
from nlf_sb3.text import RuleInterpreter, TextPrediction
from nlf_sb3.wrappers import FeedbackWrapper

_OF_THE_TEACHER = {"probability", "tolerance", "kinds"}
_NOT_TO_SET = {"env", "expert", "demonstrations", "seed", "device", "tensorboard_log", "verbose", "_init_setup_model"}
MakeTeacher = Callable[[SpeakingTeacher], Teacher]


def _spoken_to(
    name: str,
    description: str,
    make_teacher: MakeTeacher,
    defaults: Callable[[], dict[str, Any]],
    *,
    hides_reward: bool = False,
) -> Arm:
    """
    PPO that hears a teacher and nothing else of an expert.

    :param name: The arm's name
    :param description: What it is
    :param make_teacher: From a teacher who speaks of what was done to the one who is heard
    :param defaults: PPO's arguments, and the teacher's
    :param hides_reward: Whether every reward that PPO sees is 0: at alpha 0 it would still train rollouts without labels, and
        share the clipping of gradients
    :return: The arm
    """

    def train(task: Task) -> None:
        arguments = {**defaults(), **task.arguments}
        env = task.make_env()
        names = names_of(task.env_id, env.action_space)
        of_the_teacher = {key: arguments.pop(key) for key in _OF_THE_TEACHER & arguments.keys()}
        teacher = make_teacher(SpeakingTeacher(task.expert, names, **of_the_teacher))
        if arguments.pop("interprets", True):
            arguments["interpreter"] = RuleInterpreter(names)
        heard = FeedbackWrapper(env, teacher, score_as_reward="replace" if hides_reward else None)  # without a score 0
        model = PPO(env=heard, seed=task.seed, device="cpu", **with_fields(arguments))
        model.learn(task.timesteps, callback=task.recorder.callback())
        env.close()

    arguments = frozenset(argument_names(PPO) - _NOT_TO_SET | _OF_THE_TEACHER)
    return Arm(name, description, train, needs_expert=True, arguments=arguments)


def _words_alone() -> dict[str, Any]:
    return {**presets.feedback("PPO"), "alpha": 0.0}


def _prediction_alone() -> dict[str, Any]:
    return {**presets.feedback("PPO"), "interprets": False, "auxiliary_losses": [TextPrediction(coef=0.1)]}


_ARMS = (
    _spoken_to(
        "text",
        "PPO with the numbers of presets.feedback and alpha 0: words about every step, read by rules. The reward is hidden.",
        lambda teacher: teacher,
        _words_alone,
        hides_reward=True,
    ),
    _spoken_to(
        "text-sparse",
        "The same, with words about one step in ten.",
        lambda teacher: teacher,
        lambda: {**_words_alone(), "probability": 0.1},
        hides_reward=True,
    ),
    _spoken_to(
        "text-joint",
        "PPO with presets.feedback and words about every step, beside the reward.",
        lambda teacher: teacher,
        lambda: presets.feedback("PPO"),
    ),
    _spoken_to(
        "text-shuffled",
        "The same with remarks about other steps.",
        ShuffledRemarks,
        lambda: presets.feedback("PPO"),
    ),
    _spoken_to(
        "text-off-topic",
        "The same with remarks about another topic.",
        lambda teacher: FixedRemarks(OFF_TOPIC),
        lambda: presets.feedback("PPO"),
    ),
    _spoken_to(
        "text-odd",
        "The same with empty texts, 10,000 characters, emoji, right-to-left script and control characters.",
        lambda teacher: FixedRemarks(ODD),
        lambda: presets.feedback("PPO"),
    ),
    _spoken_to(
        "text-prediction",
        "PPO with the numbers of presets.feedback, and words that are predicted and not read: compare it with ppo-preset.",
        lambda teacher: teacher,
        _prediction_alone,
    ),
)
TEXT_ARMS: dict[str, Arm] = {arm.name: arm for arm in _ARMS}
