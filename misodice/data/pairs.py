"""The pairs of episodes that the preference stage learns from, and those that it is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from misodice.data.preferences import FIRST, Preferences


@dataclass(frozen=True)
class LabelledPairs:
    """The pairs that have a winner.

    Args:
        pairs: indices of episodes, int64 [P, 2].
        first: whether the first episode of each pair is the better one, bool [P].
        held_out: which pairs are never trained on, bool [P].
    """

    pairs: np.ndarray
    first: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, preferences: Preferences, held_out: float, seed: int) -> Self:
        """Leave out the ties and hold out a share of the rest.

        Args:
            preferences: the answered pairs.
            held_out: share of the pairs with a winner that is never trained on: at least one pair where there are two.
            seed: of the choice.
        """
        informative = preferences.informative
        pairs = preferences.pairs[informative]
        chosen = np.zeros(len(pairs), bool)
        if held_out > 0 and len(pairs) > 1:
            order = np.random.default_rng(seed).permutation(len(pairs))
            chosen[order[: min(max(1, round(held_out * len(order))), len(order) - 1)]] = True
        return cls(pairs, preferences.answer[informative] == FIRST, chosen)
