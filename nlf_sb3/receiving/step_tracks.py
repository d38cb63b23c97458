"""Follow one of this package's wrappers from step to step: did it take one for each of the learner's?"""

from __future__ import annotations

from collections import deque
from typing import Any

from nlf_sb3.wrappers.marks import StepMark

_N_RUNS = 256
_NEVER = 2**31


class StepTrack:
    """The steps of one wrapper beside those of the learner, which counts its own from the start of a training."""

    def __init__(self) -> None:
        self.fault: str | None = None
        """The first thing that went wrong."""
        self._stream: int | None = None
        self._given: Any = None
        self._ours = self._its = 0
        self._last = (0, 0)  # the same at the last step, before an episode's end
        self._has_gap = False
        self._runs: deque[tuple[int, int]] = deque(maxlen=_N_RUNS)

    def follow(self, mark: StepMark, now: int) -> str | None:
        """
        :param mark: The wrapper's mark of a step
        :param now: The learner's count after this step
        :return: How their numbers of steps differ, if they do
        """
        fault = None
        if mark.is_reset:  # of an environment that resets itself, and hands that out as a step
            self._runs.append((mark.n_steps + 1, now + 1))
        elif mark.stream != self._stream:
            self._runs.clear()
            self._runs.append((mark.n_steps, now))
        else:
            taken, own = mark.n_steps - self._its, now - self._ours
            # In a reset, wrappers may take steps of theirs.
            if taken < own or (taken > own and not self._has_gap):
                fault = f"it took {taken} step{'s' * (taken != 1)} where the learner took {own}"
            if taken != own:
                self._runs.append((mark.n_steps, now))
        self._stream, self._its, self._ours, self._has_gap = mark.stream, mark.n_steps, now, False
        self._last = (self._its, now)
        return fault

    def end_episode(self, reset: StepMark | None, now: int) -> None:
        """
        :param reset: The mark of the reset that followed, if it is known
        :param now: The learner's count
        """
        if reset is not None and self._stream is None:  # the first that is seen of it
            self._stream, self._its, self._ours = reset.stream, reset.n_steps, now
            self._runs.append((reset.n_steps + 1, now + 1))
        elif reset is not None and reset.stream == self._stream and reset.n_steps >= self._its:
            if reset.n_steps > self._its:
                self._runs.append((reset.n_steps + 1, now + 1))
            self._its, self._ours = reset.n_steps, now
        else:
            self._has_gap = True

    def is_stale(self, mark: StepMark, record: Any) -> bool:
        """
        :param mark: The wrapper's mark of a step
        :param record: The entry that it put into the step's info; None without one
        :return: Whether the wrapper gave that at an earlier step
        """
        if mark.given:
            self._given = record
        # A wrapper around may give feedback too.
        return record is not None and not mark.given and (mark.source != "feedback" or bool(record == self._given))

    def steps_ago(self, steps: int) -> int:
        """
        :param steps: How many steps of the wrapper's ago something happened
        :return: How many of the learner's ago that was: more than any rollout has, if the learner didn't take that step
        """
        its, now = self._last
        then, end = its - steps, now + 1
        for first, ours in reversed(self._runs):
            if then >= first:
                return now - (ours + then - first) if ours + then - first < end else _NEVER
            end = ours
        return steps  # before this training, or long ago
