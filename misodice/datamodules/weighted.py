"""Transitions drawn by their weight, for the policy stage."""

from __future__ import annotations

from torch import Tensor

from misodice.datamodules.base import StageData
from misodice.datamodules.batches import PolicyBatch
from misodice.datamodules.loader import Batches
from misodice.datamodules.table import TransitionTable


class Weighted(StageData):
    """Transitions of D_U; those of greater weight are drawn more often and count less each time.

    Most weights are near zero, and a batch of them teaches nothing. But a transition of a weight near zero that is
    drawn in proportion counts in full, and a normal's log-density of such an action is immense. So half of the draws
    are in proportion to the agents' mean weight and half are uniform.

    Args:
        table: D_U.
        weight: of each transition, of mean 1, [T] or [T, n].
        batch_size: transitions of one batch of one process.
        seed: of every draw.
    """

    def __init__(self, table: TransitionTable, weight: Tensor, batch_size: int, seed: int) -> None:
        super().__init__(table, batch_size, seed)
        self.drawn = (1.0 + (weight if weight.ndim == 1 else weight.mean(dim=-1))) / 2.0
        self.left = weight / (self.drawn if weight.ndim == 1 else self.drawn.unsqueeze(-1))

    def train_dataloader(self) -> Batches[PolicyBatch]:
        table = self.table
        available = table.available_actions

        def gather(items: Tensor) -> PolicyBatch:
            rows = table.rows[items]
            return PolicyBatch(
                obs=table.obs[rows],
                actions=table.actions[items],
                available_actions=None if available is None else available[rows],
                weight=self.left[items],
            )

        return self.loader(gather, weight=self.drawn)
