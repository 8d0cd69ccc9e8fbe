"""Serves labelled pairs of episodes to the preference stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from misodice.data.preferences import FIRST, Preferences
from misodice.datamodules.batches import PairBatch

if TYPE_CHECKING:
    from misodice.datamodules.loader import Batches
    from misodice.datamodules.table import Transitions


class PairedEpisodes:
    """The pairs that have a winner, over the transitions of `data`.

    A batch holds the real steps of its episodes side by side, not padded to one length: what is not there need not be
    masked out, and can tell no length.

    Args:
        data: attached to its file.
        preferences: the answered pairs.
        held_out: share of the pairs that is never trained on.
    """

    def __init__(self, data: Transitions, preferences: Preferences, held_out: float) -> None:
        self.data, self.preferences = data, preferences
        self.pairs = torch.from_numpy(preferences.pairs[preferences.informative])
        self.first = torch.from_numpy(preferences.answer[preferences.informative] == FIRST).float()
        lengths = torch.from_numpy(data.episodes.length)
        self.length, self.start = lengths, lengths.cumsum(0) - lengths
        # Which pairs are never trained on, bool [P]: one at least of each kind where there are two pairs or more.
        self.held_out = np.zeros(len(self.pairs), bool)
        if held_out > 0 and len(self.pairs) > 1:
            order = np.random.default_rng(data.seed).permutation(len(self.pairs))
            self.held_out[order[: min(max(1, round(held_out * len(order))), len(order) - 1)]] = True

    def batches(self, pairs: int, max_steps: int, held_out: bool) -> Batches[PairBatch]:
        """Batches of `pairs` pairs, of the held-out part or of the other."""
        items = torch.from_numpy(np.flatnonzero(self.held_out == held_out))

        def make(items: Tensor, mine: slice, generator: torch.Generator) -> PairBatch:
            return self._make(items, mine, max_steps, None if held_out else generator)

        return self.data.batches(make, items, in_order=held_out, batch_size=pairs)

    def _make(self, items: Tensor, mine: slice, max_steps: int, generator: torch.Generator | None) -> PairBatch:
        episodes = self.pairs[items].flatten()
        length = self.length[episodes]
        taken = length.clamp(max=max_steps)
        side = torch.repeat_interleave(torch.arange(len(episodes)), taken)
        within = torch.arange(len(side)) - (taken.cumsum(0) - taken)[side]
        # One step of each of `taken` equal parts of the episode: fewer than all, and still spread over its whole.
        share = torch.full((len(side),), 0.5) if generator is None else torch.rand(len(side), generator=generator)
        stride = (length / taken)[side]
        steps = torch.minimum(((within + share) * stride).long(), length[side] - 1)
        items_of_steps = self.start[episodes][side] + torch.where(stride > 1, steps, within)
        device = self.data.device
        here = (side >= 2 * mine.start) & (side < 2 * mine.stop)
        return PairBatch(
            transition=self.data.transition(items_of_steps[here]),
            side=(side[here] - 2 * mine.start).to(device),
            weight=stride[here].to(device),
            first=self.first[items[mine]].to(device),
        )
