"""How long the stages of a run will still take."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Left:
    """The time that is left.

    Args:
        seconds: of all stages together.
        rough: whether a part of it is guessed: a stage that has not begun has no measured speed.
    """

    seconds: float
    rough: bool

    def __str__(self) -> str:
        return ("~" if self.rough else "") + clock_time(self.seconds)


class RunClock:
    """Measures the running stage and guesses what comes after it.

    A stage's speed is measured in wall time, so its validations and rollouts count. A stage that has not begun is
    guessed: the steps that it is expected to make, at the speed of the running one.

    Args:
        steps: expected steps of every stage that is to be trained, by name, in order.
    """

    def __init__(self, steps: Mapping[str, float]) -> None:
        self.waiting = dict(steps)
        self.speed: float | None = None
        """Seconds a step."""
        self._measured = False
        self._since: float | None = None
        self._count = 0
        self._left = 0.0
        self._at_most = math.inf

    def begin(self, stage: str) -> None:
        """`stage` runs from now on; it is not guessed any more."""
        self.waiting.pop(stage, None)
        self._measured, self._since, self._count, self._left, self._at_most = False, None, 0, 0.0, math.inf

    def step(self, now: float, left: float, at_most: float = math.inf, steps: int = 1) -> None:
        """The running stage has made a step, or several.

        Args:
            now: seconds of a clock that only goes forward.
            left: steps that it will still make; infinite where nobody knows.
            at_most: seconds that it may still take.
            steps: that were made since the last call.
        """
        self._left, self._at_most = left, at_most
        if self._since is None:  # the first step also warms up
            self._since = now
            return
        self._count += steps
        self.speed, self._measured = (now - self._since) / self._count, True

    def end(self, stage: str) -> None:
        """`stage` is finished, or is not trained at all."""
        self.begin(stage)

    def left(self) -> Left | None:
        """Of the running stage and those after it; None where it cannot be told."""
        if self.speed is None:
            return None
        running = min(self.speed * self._left, self._at_most)
        later = sum(self.speed * steps for steps in self.waiting.values())
        if not math.isfinite(running + later):
            return None
        return Left(running + later, rough=not self._measured or bool(self.waiting))


def clock_time(seconds: float) -> str:
    """Such as 0:01:23."""
    return str(timedelta(seconds=round(seconds)))
