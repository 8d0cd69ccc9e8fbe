"""Labelled pairs of episodes, for the stage that learns a reward."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from misodice.data.pairs import LabelledPairs
from misodice.datamodules.base import StageData
from misodice.datamodules.batches import PairBatch, Transition
from misodice.datamodules.loader import Batches
from misodice.datamodules.table import TransitionTable


class PairedEpisodes(StageData):
    """Batches of pairs; the predict pass goes over all of D_U.

    A batch holds the real steps of its episodes side by side and is not padded to one length. So nothing must be
    masked, and nothing tells the length of an episode.

    Args:
        table: D_U.
        pairs: pairs that have a winner.
        batch_size: pairs of one batch of one process.
        max_steps: steps that are drawn of a longer episode.
        seed: of every draw.
    """

    def __init__(
        self, table: TransitionTable, pairs: LabelledPairs, batch_size: int, max_steps: int, seed: int
    ) -> None:
        super().__init__(table, batch_size, seed)
        self.pairs, self.first = torch.from_numpy(pairs.pairs), torch.from_numpy(pairs.first).float()
        self.held_out, self.max_steps = pairs.held_out, max_steps
        self.length = table.length.cpu()
        self.start = self.length.cumsum(0) - self.length

    @property
    def holds_out(self) -> bool:
        return bool(self.held_out.any())

    def train_dataloader(self) -> Batches[PairBatch]:
        return self._batches(held_out=False)

    def val_dataloader(self) -> Batches[PairBatch]:
        return self._batches(held_out=True)

    def predict_dataloader(self) -> Batches[Transition]:
        return self.loader(self.table.transition, in_order=True)

    def _batches(self, held_out: bool) -> Batches[PairBatch]:
        """Of the held-out pairs, or of the others."""
        items = torch.from_numpy(np.flatnonzero(self.held_out == held_out))

        def draw(items: Tensor, mine: slice, generator: torch.Generator) -> tuple[Tensor, ...]:
            return self._draw(items, mine, None if held_out else generator)

        return self.loader(self._gather, items, in_order=held_out, batch_size=self.batch_size, draw=draw)

    def _draw(self, items: Tensor, mine: slice, generator: torch.Generator | None) -> tuple[Tensor, ...]:
        """Transitions [M], their sides [M], how many steps each stands for [M], and the winners [P]."""
        episodes = self.pairs[items].flatten()
        length = self.length[episodes]
        taken = length.clamp(max=self.max_steps)
        side = torch.repeat_interleave(torch.arange(len(episodes)), taken)
        within = torch.arange(len(side)) - (taken.cumsum(0) - taken)[side]
        # One step of each of `taken` equal parts of the episode: fewer than all, and still spread over its whole.
        share = torch.full((len(side),), 0.5) if generator is None else torch.rand(len(side), generator=generator)
        stride = (length / taken)[side]
        steps = torch.minimum(((within + share) * stride).long(), length[side] - 1)
        items_of_steps = self.start[episodes][side] + torch.where(stride > 1, steps, within)
        here = (side >= 2 * mine.start) & (side < 2 * mine.stop)
        return items_of_steps[here], side[here] - 2 * mine.start, stride[here], self.first[items[mine]]

    def _gather(self, items: Tensor, side: Tensor, weight: Tensor, first: Tensor) -> PairBatch:
        return PairBatch(self.table.transition(items), side, weight, first)
