"""The rule of paper B.2.1: the higher return is better."""

from __future__ import annotations

import numpy as np

from misodice.data.episodes import Episodes
from misodice.data.preferences import OPPOSITE, Answer
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller
from misodice.runs.limits import SHARE, limited, whole


class RuleLabeller(Labeller):
    """The episode of higher return is better; equal returns are a tie.

    Args:
        flip: share of the answers that are turned round, to study noisy labels.
        seed: which pairs are turned round.
    """

    tie_reason = "equal return"
    free = True

    @limited("labels.labeller", flip=SHARE, seed=whole(0))
    def __init__(self, flip: float = 0.0, seed: int = 0) -> None:
        self.flip, self.seed = flip, seed

    def check(self, episodes: Episodes) -> None:
        if episodes.returns is None:
            raise MisodiceError(
                "RuleLabeller: the episodes file has no 'episode/return', which the rule compares; choose "
                "LLMLabeller, or a labeller of your own"
            )

    def compare(self, episodes: Episodes, first: int, second: int) -> Answer:
        assert episodes.returns is not None
        a, b = float(episodes.returns[first]), float(episodes.returns[second])
        answer: Answer = "tie" if a == b else "first" if a > b else "second"
        return OPPOSITE[answer] if self._flipped(first, second) else answer

    def _flipped(self, first: int, second: int) -> bool:
        # A generator of each pair's own: a resumed run turns the same pairs round.
        draw = np.random.default_rng([self.seed, first, second]).random()
        return bool(draw < self.flip)

    def view(self, episodes: Episodes, first: int, second: int) -> str:
        self.check(episodes)
        assert episodes.returns is not None
        return f"first: return {episodes.returns[first]:.3f}\nsecond: return {episodes.returns[second]:.3f}"
