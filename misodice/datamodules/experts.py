"""D_E among the episodes of D_U, and the episodes that the discriminator is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True)
class Experts:
    """Which episodes are D_E.

    Args:
        expert: whether each episode is in D_E, bool [E].
        held_out: whether each episode is kept back from the discriminator's training, bool [E].
    """

    expert: np.ndarray
    held_out: np.ndarray

    @classmethod
    def of(cls, expert: np.ndarray, share: float, seed: int) -> Self:
        """Hold out the same share of D_E and of the rest.

        Args:
            expert: bool [E].
            share: of the episodes that is held out; nothing is held out from a D_E of one episode.
            seed: of the choice.
        """
        rng = np.random.default_rng(seed)
        chosen = np.zeros(len(expert), bool)
        for group in (np.flatnonzero(expert), np.flatnonzero(~expert)):
            if share > 0 and expert.sum() > 1 and len(group) > 1:
                # One at least stays to be learnt from.
                chosen[rng.permutation(group)[: min(max(1, round(share * len(group))), len(group) - 1)]] = True
        return cls(expert, chosen)
