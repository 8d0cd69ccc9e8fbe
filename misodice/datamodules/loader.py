"""What an epoch is made of: items in a seeded order, cut into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

B = TypeVar("B")


Draw = Callable[[Tensor, slice, torch.Generator], tuple[Tensor, ...]]
"""Index tensors of a batch, from the items of all processes, the slice of them that belongs to this process, and the
generator that every further draw must use. A further draw is made for the items of all processes: then the generators
of all processes go on from the same place."""


def own_items(items: Tensor, mine: slice, generator: torch.Generator) -> tuple[Tensor, ...]:
    """The draw of a batch that needs nothing but its items."""
    return (items[mine],)


class Batches(Generic[B]):
    """Batches of a seeded permutation, each shared out evenly among the processes of a distributed run.

    W processes with batches of B learn from what one process learns from with batches of W·B. A batch is made in two
    steps: `draw` chooses index tensors on the CPU, and `gather` reads the table at these indices.

    Args:
        items: what is permuted and cut, int64 [M].
        batch_size: items of one batch of one process, B.
        gather: the batch from index tensors on `device`.
        device: of the table.
        draw: the index tensors of a batch.
        seed: of the permutation; `epoch()` is added, so that each epoch differs and a resumed one agrees.
        epoch: the current epoch.
        rank, world_size: this process among how many.
        shuffle: False keeps the order. The last item is repeated where there are too few for an even share.
        weight: how often each item is drawn in an epoch, relative to the others, [M]; None draws each once.
        renew: the items of an epoch from `items` and the generator, [M] again; None takes `items` each time.
    """

    def __init__(
        self,
        items: Tensor,
        batch_size: int,
        gather: Callable[..., B],
        device: torch.device,
        seed: int,
        epoch: Callable[[], int],
        rank: int,
        world_size: int,
        shuffle: bool = True,
        weight: Tensor | None = None,
        draw: Draw = own_items,
        renew: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        self.items, self.batch_size, self.weight = items, batch_size, weight
        self.draw, self.gather, self.device, self.renew = draw, gather, device, renew
        self.seed, self.epoch, self.shuffle = seed, epoch, shuffle
        self.rank, self.world_size = rank, world_size
        self.share = -(-len(items) // world_size)
        self._place: dict[str, int] = {"epoch": 0, "batches": 0}
        self._loaded: dict[str, int] | None = None

    def __len__(self) -> int:
        return -(-self.share // self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Where in which epoch this is; Lightning keeps it in checkpoints."""
        return self._place

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass go on from there, if it is of that epoch."""
        self._loaded = state

    def __iter__(self) -> Iterator[B]:
        loaded, self._loaded = self._loaded, None
        epoch = self.epoch()
        skipped = loaded["batches"] if loaded and loaded["epoch"] == epoch else 0
        # What is skipped is drawn all the same, so that what follows is what would have followed.
        for index, drawn in enumerate(islice(self._draws(), skipped, None), skipped):
            self._place = {"epoch": epoch, "batches": index + 1}
            yield self.gather(*(each.to(self.device) for each in drawn))

    def _draws(self) -> Iterator[tuple[Tensor, ...]]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch())
        items = self.items if self.renew is None else self.renew(self.items, generator)
        if self.weight is not None:
            # Systematic resampling: an item comes as often as its weight says, up to one; equal ones come once each.
            cumulative = self.weight.double().cpu().cumsum(0)
            start = torch.rand(1, generator=generator, dtype=torch.float64)
            drawn = torch.ceil(cumulative * (len(items) / cumulative[-1]) - start).long()
            drawn[-1] = len(items)
            items = items.repeat_interleave(drawn.diff(prepend=drawn.new_zeros(1)))
        if self.shuffle:
            items = items[torch.randperm(len(items), generator=generator)]
        items = torch.cat([items, items[-1:].expand(self.share * self.world_size - len(items))])
        generator.manual_seed(generator.initial_seed() * 31)
        for part in items.split(self.batch_size * self.world_size):  # type: ignore[no-untyped-call]
            share = len(part) // self.world_size
            yield self.draw(part, slice(self.rank * share, (self.rank + 1) * share), generator)
