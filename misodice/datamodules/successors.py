"""Transitions with their successors and initial states, for a stage that learns a value."""

from __future__ import annotations

import torch
from torch import Tensor

from misodice.datamodules.base import StageData
from misodice.datamodules.batches import ValueBatch
from misodice.datamodules.loader import Batches
from misodice.datamodules.table import TransitionTable


class Successors(StageData):
    """Every transition of D_U once an epoch, with its successor, and initial states in their own sample.

    Args:
        table: D_U.
        log_ratio: log ρ_E/ρ_U of each transition, [T] or [T, n].
        absorbing: make every episode's final state a transition more in training: it follows upon itself, at the
            log_ratio of the episode's last step, and `last` marks nothing.
        batch_size: transitions of one batch of one process.
        seed: of every draw.
    """

    def __init__(self, table: TransitionTable, log_ratio: Tensor, absorbing: bool, batch_size: int, seed: int) -> None:
        super().__init__(table, batch_size, seed)
        self.log_ratio, self.absorbing = log_ratio, absorbing

    def train_dataloader(self) -> Batches[ValueBatch]:
        return self._batches(in_order=False, absorbing=self.absorbing)

    def predict_dataloader(self) -> Batches[ValueBatch]:
        return self._batches(in_order=True, absorbing=False)

    def _batches(self, in_order: bool, absorbing: bool) -> Batches[ValueBatch]:
        table = self.table
        rows, next_rows, last, log_ratio = table.rows, table.rows + 1, table.last, self.log_ratio
        if absorbing:
            ends = torch.nonzero(table.last).flatten()
            rows, next_rows = torch.cat([rows, rows[ends] + 1]), torch.cat([next_rows, rows[ends] + 1])
            log_ratio, last = torch.cat([log_ratio, log_ratio[ends]]), torch.zeros(len(rows), device=table.device)

        def make(items: Tensor, mine: slice, generator: torch.Generator) -> ValueBatch:
            share = mine.stop - mine.start
            processes, process = len(items) // share, mine.start // share
            items = items[mine].to(table.device)
            here, following = rows[items], next_rows[items]
            # Initial states have a sampler of their own: those that happen to be in the batch are no sample of P0.
            # An eighth of the batch: their part of the loss has the factor 1 − γ, and so has its noise.
            size = (processes, -(-share // 8))
            drawn = torch.randint(len(table.first_rows), size, generator=generator)[process].to(table.device)
            initial = table.first_rows[drawn]
            return ValueBatch(
                obs=table.obs[here],
                state=table.state[here],
                next_obs=table.obs[following],
                next_state=table.state[following],
                last=last[items],
                log_ratio=log_ratio[items],
                initial_obs=table.obs[initial],
                initial_state=table.state[initial],
            )

        return self.loader(make, torch.arange(len(rows)), in_order)
