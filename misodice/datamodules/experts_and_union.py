"""D_E beside D_U, for a stage that tells them apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from misodice.datamodules.base import StageData
from misodice.datamodules.batches import DiscriminatorBatch, ExpertFlags, Step
from misodice.datamodules.experts import Experts
from misodice.datamodules.loader import Batches
from misodice.datamodules.table import TransitionTable


class ExpertsAndUnion(StageData):
    """Transitions of D_U, and as many drawn from D_E; the predict pass goes over all of D_U.

    Args:
        table: D_U.
        experts: D_E, and the episodes that are held out.
        batch_size: transitions of D_U, and of D_E, in one batch of one process.
        seed: of every draw.
    """

    def __init__(self, table: TransitionTable, experts: Experts, batch_size: int, seed: int) -> None:
        super().__init__(table, batch_size, seed)
        length = table.length.cpu().numpy()
        self.expert = torch.from_numpy(np.repeat(experts.expert, length)).to(table.device)
        self.held_out = torch.from_numpy(np.repeat(experts.held_out, length)).to(table.device)

    @property
    def holds_out(self) -> bool:
        return bool(self.held_out.any())

    def train_dataloader(self) -> Batches[DiscriminatorBatch]:
        return self._batches(held_out=False)

    def val_dataloader(self) -> Batches[DiscriminatorBatch] | list[DiscriminatorBatch]:
        return self._batches(held_out=True) if self.holds_out else []

    def predict_dataloader(self) -> Batches[Step]:
        return self.loader(lambda items, mine, _: self.table.step(items[mine]), in_order=True)

    def _batches(self, held_out: bool) -> Batches[DiscriminatorBatch]:
        """Of the held-out episodes, or of the others."""
        expert = torch.nonzero(self.expert & (self.held_out == held_out)).flatten()

        def make(items: Tensor, mine: slice, generator: torch.Generator) -> DiscriminatorBatch:
            drawn = torch.randint(len(expert), (len(items),), generator=generator)[mine].to(self.table.device)
            return DiscriminatorBatch(self.table.step(expert[drawn]), self.table.step(items[mine]))

        items = torch.nonzero(self.held_out.cpu() == held_out).flatten()
        return self.loader(make, items=items, in_order=held_out)


class ExpertMarks(StageData):
    """Whether each transition of D_U is in D_E, in order; nothing is learnt from it.

    Args:
        table: D_U.
        experts: D_E; None where no transition is in it.
        batch_size: not used, since nothing is learnt.
        seed: not used, since nothing is drawn.
    """

    def __init__(self, table: TransitionTable, experts: Experts | None, batch_size: int, seed: int) -> None:
        super().__init__(table, batch_size, seed)
        if experts is None:
            self.expert = torch.zeros(table.n_transitions, device=table.device)
        else:
            marks = np.repeat(experts.expert, table.length.cpu().numpy())
            self.expert = torch.from_numpy(marks).float().to(table.device)

    def predict_dataloader(self) -> Batches[ExpertFlags]:
        return self.loader(
            lambda items, mine, _: ExpertFlags(self.expert[items[mine].to(self.table.device)]), in_order=True
        )
