"""Windows of consecutive transitions, and initial states, for a stage that learns a value."""

from __future__ import annotations

import torch
from torch import Tensor

from misodice.datamodules.base import StageData
from misodice.datamodules.batches import ValueBatch
from misodice.datamodules.loader import Batches
from misodice.datamodules.table import TransitionTable

NO_STATES = torch.zeros(0, dtype=torch.int64)


class Successors(StageData):
    """Every transition of D_U once an epoch, with its successor, and initial states in their own sample.

    ν(s) and ν(s′) are values of neighbouring rows. So D_U is cut into windows of L consecutive transitions, and a
    window's L + 1 rows are evaluated once. Each epoch shifts the first cut by a random number of transitions, and the
    last window goes on at the beginning of D_U: so every transition is drawn as often as any other, and its place in a
    window is random.

    Args:
        table: D_U.
        log_ratio: log ρ_E/ρ_U of each transition, [T] or [T, n].
        absorbing: make every episode's final state a transition more in training: it follows upon itself, at the
            log_ratio of the episode's last step, and `last` marks nothing.
        batch_size: transitions of one batch of one process; as many whole windows are drawn as it has room for.
        seed: of every draw.
        window: L; a shorter batch or D_U has shorter windows.
    """

    def __init__(
        self, table: TransitionTable, log_ratio: Tensor, absorbing: bool, batch_size: int, seed: int, window: int = 1
    ) -> None:
        super().__init__(table, batch_size, seed)
        self.log_ratio, self.absorbing, self.window = log_ratio, absorbing, window

    def train_dataloader(self) -> Batches[ValueBatch]:
        table, log_ratio, last, absorbing = self.table, self.log_ratio, self.table.last, None
        rows = table.rows
        if self.absorbing:
            # Every row starts a transition, the final ones to themselves.
            rows = torch.arange(len(table.obs), device=table.device)
            absorbing = torch.ones(len(rows), dtype=torch.bool, device=table.device)
            absorbing[table.rows] = False
            log_ratio = log_ratio[(~absorbing).long().cumsum(0) - 1]
            last = torch.zeros(len(rows), device=table.device)
        size = min(self.window, self.batch_size, len(rows))
        count = self.batch_size // size

        def renew(starts: Tensor, generator: torch.Generator) -> Tensor:
            return (starts + torch.randint(len(rows), (), generator=generator)) % len(rows)

        def draw(starts: Tensor, mine: slice, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            share = mine.stop - mine.start
            processes, process = len(starts) // share, mine.start // share
            # Initial states have a sampler of their own: those that happen to be in the batch are no sample of P0.
            # An eighth of the batch: their part of the loss has the factor 1 − γ, and so has its noise.
            initial = torch.randint(len(table.first_rows), (processes, -(-share * size // 8)), generator=generator)
            return (starts[mine, None] + torch.arange(size)) % len(rows), initial[process]

        def gather(items: Tensor, initial: Tensor) -> ValueBatch:
            return self._gather(rows, log_ratio, last, absorbing, items, table.first_rows[initial])

        return self.loader(gather, torch.arange(0, len(rows), size), batch_size=count, draw=draw, renew=renew)

    def predict_dataloader(self) -> Batches[ValueBatch]:
        table = self.table

        def draw(items: Tensor, mine: slice, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            # One window; but where a last transition's successor counts, each transition needs a window of its own.
            return items[mine].reshape((-1, 1) if self.absorbing else (1, -1)), NO_STATES

        def gather(items: Tensor, initial: Tensor) -> ValueBatch:
            return self._gather(table.rows, self.log_ratio, table.last, None, items, initial)

        return self.loader(gather, in_order=True, draw=draw)

    def _gather(
        self, rows: Tensor, log_ratio: Tensor, last: Tensor, absorbing: Tensor | None, items: Tensor, initial: Tensor
    ) -> ValueBatch:
        """The batch of windows `items`, int64 [W, L], and of initial rows, int64 [B₀]."""
        table = self.table
        inside = rows[items]
        # The last row of all may be a window's end: what would follow it never counts.
        following = (inside[:, -1:] + 1).clamp(max=len(table.obs) - 1)
        window = torch.cat([inside, following], dim=1)
        return ValueBatch(
            obs=table.obs[window],
            state=table.state[window],
            last=last[items],
            log_ratio=log_ratio[items],
            initial_obs=table.obs[initial],
            initial_state=table.state[initial],
            absorbing=None if absorbing is None else absorbing[items],
        )
