"""The predict pass of a stage, written as one column by one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from misodice.data.columns import write_column
from misodice.modules.dice import effective_sample_size
from misodice.modules.value import Value


class ColumnWriter(BasePredictionWriter):
    """Gathers the processes' predictions and writes the stage's column.

    Args:
        path: columns.h5 of the run.
        fingerprint: of what makes this column.
        length: transitions T; what was padded for an even share is cut off.
    """

    def __init__(self, path: Path, fingerprint: str, length: int) -> None:
        super().__init__(write_interval="epoch")
        self.path, self.fingerprint, self.length = path, fingerprint, length
        self.metrics: dict[str, float] = {}

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        mine = torch.cat(list(predictions)).float()
        every = pl_module.all_gather(mine)
        assert isinstance(every, torch.Tensor)
        column = every.reshape(-1, *mine.shape[1:])[: self.length]
        if isinstance(pl_module, Value):
            column = pl_module.finish_column(column)
            self.metrics = {"value/effective_sample_size": float(effective_sample_size(column.double()))}
        if trainer.is_global_zero:
            write_column(self.path, str(pl_module.column), column.cpu().numpy(), self.fingerprint)
        trainer.strategy.barrier()
