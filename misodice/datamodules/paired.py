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
        return self.loader(lambda items, mine, _: self.table.transition(items[mine]), in_order=True)

    def _batches(self, held_out: bool) -> Batches[PairBatch]:
        """Of the held-out pairs, or of the others."""
        items = torch.from_numpy(np.flatnonzero(self.held_out == held_out))

        def make(items: Tensor, mine: slice, generator: torch.Generator) -> PairBatch:
            return self._make(items, mine, None if held_out else generator)

        return self.loader(make, items, in_order=held_out, batch_size=self.batch_size)

    def _make(self, items: Tensor, mine: slice, generator: torch.Generator | None) -> PairBatch:
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
        device = self.table.device
        here = (side >= 2 * mine.start) & (side < 2 * mine.stop)
        return PairBatch(
            transition=self.table.transition(items_of_steps[here]),
            side=(side[here] - 2 * mine.start).to(device),
            weight=stride[here].to(device),
            first=self.first[items[mine]].to(device),
        )
