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
    r"""One draw of transitions for the expectations over D_E and over D_U; the predict pass goes over all of D_U.

    D_E is a part of D_U, of share p. Half of the draws are from D_E and half from D_U:

    .. math:: m = (\rho_E + \rho_U)/2,\quad \rho_E/m = 2/(1+p),\ \rho_U/m = 2p/(1+p)\ \text{on}\ D_E;\quad
        0\ \text{and}\ 2\ \text{elsewhere}

    So each transition is evaluated once, and counts in both expectations by these importance weights. The held-out
    transitions are not drawn: each of them is evaluated, with the weights 1/p and 1.

    Args:
        table: D_U.
        experts: D_E, and the episodes that are held out.
        batch_size: transitions of one batch of one process.
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
        return self.loader(self.table.step, in_order=True)

    def _batches(self, held_out: bool) -> Batches[DiscriminatorBatch]:
        """Of the held-out episodes, or of the others."""
        items = torch.nonzero(self.held_out == held_out).flatten()
        is_expert = self.expert[items]
        p = is_expert.float().mean()
        # How often a transition is drawn, in place of once: 1 for each held-out one, else m over the uniform density.
        drawn = torch.ones(len(items), device=items.device) if held_out else (1.0 + is_expert / p) / 2.0
        expert, union = torch.zeros(2, self.table.n_transitions, device=items.device)
        expert[items], union[items] = is_expert / p / drawn, 1.0 / drawn

        def gather(items: Tensor) -> DiscriminatorBatch:
            return DiscriminatorBatch(self.table.step(items), expert[items], union[items])

        return self.loader(gather, items.cpu(), in_order=held_out, weight=None if held_out else drawn)


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
        return self.loader(lambda items: ExpertFlags(self.expert[items]), in_order=True)
