"""What an epoch is made of: items in a seeded order, cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch
from torch import Tensor

B = TypeVar("B")


class Batches(Generic[B]):
    """Batches of a seeded permutation, shared out among the processes of a distributed run.

    Args:
        items: what is permuted and cut, int64 [M].
        batch_size: items of one batch of one process.
        make: batch from items and the generator that any further draw must use.
        seed: of the permutation; `epoch()` is added, so that each epoch differs and a resumed one agrees.
        epoch: the current epoch.
        rank, world_size: this process among how many.
        shuffle: False keeps the order, gives each process one contiguous part, and pads by repeating the last item.
        weight: how often each item is drawn in an epoch, relative to the others, [M]; None draws each once.
    """

    def __init__(
        self,
        items: Tensor,
        batch_size: int,
        make: Callable[[Tensor, torch.Generator], B],
        seed: int,
        epoch: Callable[[], int],
        rank: int,
        world_size: int,
        shuffle: bool = True,
        weight: Tensor | None = None,
    ) -> None:
        self.items, self.batch_size, self.make, self.weight = items, batch_size, make, weight
        self.seed, self.epoch, self.shuffle = seed, epoch, shuffle
        self.rank, self.world_size = rank, world_size
        self.share = -(-len(items) // world_size)

    def __len__(self) -> int:
        return -(-self.share // self.batch_size)

    def __iter__(self) -> Iterator[B]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
        items = self.items
        if self.weight is not None:
            # Systematic resampling: an item comes as often as its weight says, up to one; equal ones come once each.
            cumulative = self.weight.double().cpu().cumsum(0)
            points = torch.arange(len(items)) + torch.rand(1, generator=generator, dtype=torch.float64)
            drawn = torch.searchsorted(cumulative, points * (cumulative[-1] / len(items)), right=True)
            items = items[drawn.clamp(max=len(items) - 1)]
        if self.shuffle:
            items = items[torch.randperm(len(items), generator=generator)]
        items = torch.cat([items, items[-1:].expand(self.share * self.world_size - len(items))])
        # Each process draws expert and initial rows of its own.
        generator.manual_seed(generator.initial_seed() * 31 + self.rank)
        for part in items[self.rank * self.share : (self.rank + 1) * self.share].split(self.batch_size):  # type: ignore[no-untyped-call]
            yield self.make(part, generator)
