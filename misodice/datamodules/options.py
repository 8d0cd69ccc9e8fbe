"""The `data` block: which episodes, and how D_E is chosen among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from misodice.data.ranking import Ranking
from misodice.errors import MisodiceError


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
        MisodiceError: ranking is unknown, batch_size is less than 1, or held_out is no share.
    """

    path: str | None = None
    ranking: Ranking = "preference"
    k: int = 200
    batch_size: int = 512
    held_out: float = 0.1

    def __post_init__(self) -> None:
        if self.ranking not in get_args(Ranking):
            raise MisodiceError(f"data.ranking is {self.ranking!r}, expected one of {', '.join(get_args(Ranking))}")
        if self.batch_size < 1:
            raise MisodiceError(f"data.batch_size is {self.batch_size}, expected at least 1")
        if not 0 <= self.held_out < 1:
            raise MisodiceError(f"data.held_out is {self.held_out}, expected at least 0 and less than 1")
