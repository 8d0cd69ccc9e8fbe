"""The `data` block: which episodes, and how D_E is chosen among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from misodice.data.ranking import Ranking
from misodice.runs.limits import COUNT, PART, PATH, SIZE, check_limits, one_of, or_none

LIMITS = {
    "path": or_none(PATH),
    "ranking": one_of(*get_args(Ranking)),
    "k": COUNT,
    "batch_size": SIZE,
    "held_out": PART,
}


@dataclass(frozen=True)
class Data:
    """An episodes file as D_U, and its K best episodes as D_E.

    Args:
        path: episodes file; null makes one under `data/` from the bundled behaviours.
        ranking: "preference" (recovered reward, summed over the episode), "return" (true return) or "oracle" (true
            source).
        k: number of episodes in D_E.
        batch_size: transitions a step and process (Table 3: 512).
        held_out: share of the episodes, of D_E and of the rest alike, that the discriminator never trains on.

    Raises:
        MisodiceError: ranking is unknown, k or batch_size is less than 1, or held_out is no share less than 1.
    """

    path: str | None = None
    ranking: Ranking = "preference"
    k: int = 200
    batch_size: int = 512
    held_out: float = 0.1

    def __post_init__(self) -> None:
        check_limits("data", LIMITS, vars(self))
