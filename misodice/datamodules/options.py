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
    "minibatches": or_none(SIZE),
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
        minibatches: batches that are trained on in one go; null is 16 on a GPU, where their steps are replayed from one
            captured CUDA graph, and 1 elsewhere. It changes how fast a stage trains and not what it learns.

    Raises:
        MisodiceError: ranking is unknown, k, batch_size or minibatches is less than 1, or held_out is no share less
            than 1.
    """

    path: str | None = None
    ranking: Ranking = "preference"
    k: int = 200
    batch_size: int = 512
    held_out: float = 0.1
    minibatches: int | None = None

    def __post_init__(self) -> None:
        check_limits("data", LIMITS, vars(self))
