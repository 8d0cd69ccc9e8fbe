"""The base class of all datamodules: batches of one table for one stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning import LightningDataModule
from torch import Tensor

from misodice.datamodules.batches import Spec
from misodice.datamodules.loader import B, Batches, Draw, own_items
from misodice.datamodules.table import TransitionTable

IN_ORDER_BATCH = 8192
"""Transitions of a batch that no gradient comes from."""


class StageData(LightningDataModule):
    """What one stage learns from, complete when it is made. A subclass has the three dataloaders.

    Args:
        table: D_U, on the device of the training.
        batch_size: items of one batch of one process.
        seed: of every draw.
    """

    def __init__(self, table: TransitionTable, batch_size: int, seed: int) -> None:
        super().__init__()
        self.table, self.batch_size, self.seed = table, batch_size, seed

    @property
    def spec(self) -> Spec:
        """What the networks must know of the data."""
        return self.table.spec

    @property
    def holds_out(self) -> bool:
        """Whether something is kept back that a stage's `monitor` can be measured on."""
        return False

    def train_dataloader(self) -> Batches[Any] | list[Any]:
        """What one epoch learns from."""
        return []

    def val_dataloader(self) -> Batches[Any] | list[Any]:
        """What `monitor` is measured on."""
        return []

    def predict_dataloader(self) -> Batches[Any] | list[Any]:
        """All of D_U in order, in large batches."""
        return []

    def loader(
        self,
        gather: Callable[..., B],
        items: Tensor | None = None,
        in_order: bool = False,
        batch_size: int | None = None,
        weight: Tensor | None = None,
        draw: Draw = own_items,
        renew: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> Batches[B]:
        """Batches of `items`, shuffled and of `self.batch_size` unless told otherwise.

        Args:
            gather: makes a batch of index tensors on the table's device.
            items: what is cut into batches, int64 [M]; None is every transition.
            in_order: keep the order, in large batches.
            batch_size: items of one batch of one process.
            weight: how often each item is drawn, [M].
            draw, renew: see `Batches`.
        """
        trainer = self.trainer
        assert trainer is not None, "Lightning sets it before it asks for a dataloader"
        return Batches(
            torch.arange(self.table.n_transitions) if items is None else items,
            batch_size or (IN_ORDER_BATCH if in_order else self.batch_size),
            gather,
            self.table.device,
            self.seed,
            # Lightning counts in-order passes as epochs too; their draws must not depend on when they are made.
            lambda: 0 if in_order else trainer.current_epoch,
            trainer.global_rank,
            trainer.world_size,
            shuffle=not in_order,
            weight=weight,
            draw=draw,
            renew=renew,
        )
