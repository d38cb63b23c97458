"""A person's patience as a number: a teacher that answers so often and no more."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from nlf_sb3.feedback import Feedback
from nlf_sb3.seeding import derived_generator, derived_seed
from nlf_sb3.teachers.teachers import AsksOthers, Teacher, Transition, as_teacher, check_feedback, seed_teacher
from nlf_sb3.whole_numbers import check_whole_number


class BudgetTeacher(AsksOthers):
    """
    Asks another teacher while a budget of answers lasts; after that it is silent.

    Every answer costs one, whatever it holds: an expert action, a score, a text, or several of them about one step. Silence
    costs nothing. What is spent stays spent when the teacher is seeded or an environment is reset.

    The budget belongs to this object. Environments of one process that share it draw from one budget. A copy in another
    process (SB3's ``SubprocVecEnv``) has its own, so that n workers would spend n budgets: give each its part
    (:meth:`divided`). In a list of teachers it limits that one alone; around the list it limits their steps together.

    >>> from nlf_sb3.teachers import ScoreTeacher
    >>> teacher = BudgetTeacher(ScoreTeacher(lambda step: 1.0), n_labels=500, probability=0.1)
    >>> teacher.n_left
    500
    >>> [part.n_left for part in teacher.divided(3)]
    [167, 167, 166]

    :param teacher: The teacher, or several as one
    :param n_labels: How many answers it gives
    :param probability: Chance that it is asked about a step, so that the budget lasts longer
    :raises ValueError: If an argument is out of range
    :raises FeedbackError: If a teacher can't be called
    """

    def __init__(self, teacher: Teacher | Sequence[Teacher], n_labels: int, *, probability: float = 1.0) -> None:
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability: got {probability}, expected a number in [0, 1].")
        self.teacher = as_teacher(teacher)
        self.probability = probability
        self._n_left = check_whole_number("n_labels", n_labels, 0)
        self._rng = derived_generator(0, "budgeted steps")

    @property
    def asked(self) -> list[Teacher]:
        """The teacher that it asks."""
        return [self.teacher]

    @property
    def n_left(self) -> int:
        """How many answers are left."""
        return self._n_left

    def divided(self, n_parts: int) -> list[BudgetTeacher]:
        """
        What is left as teachers of their own, one for each worker, as evenly as whole numbers allow.

        :param n_parts: Number of workers
        :return: The teachers; this one keeps its budget, and is not to be used beside them
        """
        check_whole_number("n_parts", n_parts, 1)
        share, rest = divmod(self._n_left, n_parts)
        parts = [copy.copy(self) for _ in range(n_parts)]
        for index, part in enumerate(parts):
            part._n_left = share + (index < rest)
            part._rng = derived_generator(index, "budgeted steps")
        return parts

    def seed(self, seed: int | None) -> None:
        """
        :param seed: Seed of the generator that chooses steps, and of the teacher
        """
        self._rng = derived_generator(seed, "budgeted steps")
        seed_teacher(self.teacher, derived_seed(seed, "budgeted teacher"))

    def __call__(self, transition: Transition) -> Feedback | None:
        if self._n_left == 0 or (self.probability < 1.0 and self._rng.random() >= self.probability):
            return None
        feedback = check_feedback(self.teacher(transition), self.teacher)
        if feedback is not None:
            self._n_left -= 1
        return feedback
