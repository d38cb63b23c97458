"""Teachers who speak, for comparisons: of what the agent did, of something else, or in no language at all."""

from __future__ import annotations

from collections import deque
from typing import Any

from gymnasium import spaces

from nlf_sb3.action_names import ActionNames, Dimension
from nlf_sb3.feedback import Feedback
from nlf_sb3.seeding import derived_generator
from nlf_sb3.teachers import Teacher, Transition
from nlf_sb3.teachers.teachers import seed_teacher

_PUSH = [Dimension("push", low=("left",), high=("right",))]
_JOINTS = [Dimension(name, low=("back", "backward"), high=("forward",)) for name in ("thigh", "leg", "foot")]
_NAMES = {"CartPole": _PUSH, "InvertedPendulum": _PUSH, "InvertedDoublePendulum": _PUSH, "Hopper": _JOINTS}

OFF_TOPIC = (
    "Mix the flour with butter and sugar before you add the eggs.",
    "The committee adjourned at noon, and nobody minded.",
    "Our train leaves at seven; bring the blue suitcase.",
    "Has anybody fed the cat this morning?",
    "Interest rates rose again, economists said on Tuesday.",
    "The second movement is slower and ends on a quiet chord.",
    "Paint the door twice and let it dry overnight.",
    "She had read the novel in one sitting.",
    "Rain is expected in the north until Thursday.",
    "The museum opens at ten and closes at five.",
)
ODD = (
    "",
    "x" * 10_000,
    "\N{GRINNING FACE}" * 40,
    "\N{HEBREW LETTER SHIN}\N{HEBREW LETTER MEM}\N{HEBREW LETTER ALEF}\N{HEBREW LETTER LAMED}",
    "\N{RIGHT-TO-LEFT OVERRIDE}tfel og",
    "\x00\x07\x1b[31m\x1b[2J",
    "__import__('os').system('exit')",
    "{0} %s ${HOME} \\x00",
)


def names_of(env_id: str, action_space: spaces.Space) -> ActionNames:
    """
    :param env_id: Gymnasium's id
    :param action_space: Its action space
    :return: What people call its actions; names by default where nobody has said
    """
    return ActionNames(action_space, _NAMES.get(env_id.partition("-")[0]))


class FixedRemarks:
    """
    Says one of several sentences at every step, whatever was done.

    :param texts: The sentences
    """

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts
        self.seed(0)

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Seed of the choice
        """
        self._rng = derived_generator(seed, "fixed remarks")

    def __call__(self, transition: Transition) -> Feedback:
        return Feedback(text=self._texts[int(self._rng.integers(len(self._texts)))])


class ShuffledRemarks:
    """
    Says what another teacher said about some step before, drawn from its latest remarks.

    :param teacher: The other teacher
    :param n_remarks: How many of its remarks are drawn from
    """

    def __init__(self, teacher: Teacher, n_remarks: int = 500) -> None:
        self._teacher = teacher
        self._said: deque[Any] = deque(maxlen=n_remarks)
        self.seed(0)

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Seed of the draw and of the teacher
        """
        self._rng = derived_generator(seed, "shuffled remarks")
        seed_teacher(self._teacher, seed)

    def __call__(self, transition: Transition) -> Feedback | None:
        said = self._teacher(transition)
        if said is not None:
            self._said.append(said)
        return self._said[int(self._rng.integers(len(self._said)))] if self._said else None
