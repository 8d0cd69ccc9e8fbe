"""The predict pass of a stage, written as columns by one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from misodice.data.columns import write_column
from misodice.data.episodes import Episodes
from misodice.modules.stage import Stage


class ColumnWriter(BasePredictionWriter):
    """Gathers the processes' predictions, writes the stage's columns and logs what they look like.

    Args:
        path: columns.h5 of the run.
        fingerprint: of what makes these columns.
        episodes: the file whose transitions they belong to.
    """

    def __init__(self, path: Path, fingerprint: str, episodes: Episodes) -> None:
        super().__init__(write_interval="epoch")
        self.path, self.fingerprint, self.episodes = path, fingerprint, episodes
        self.metrics: dict[str, float] = {}

    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        assert isinstance(pl_module, Stage)
        columns = {}
        for name in pl_module.writes:
            # Each batch was shared out among the processes; what was padded for an even share is cut off.
            parts = [self._gather(pl_module, prediction[name].float()) for prediction in predictions]
            columns[name] = torch.cat(parts)[: self.episodes.n_transitions]
        columns = pl_module.finish(columns)
        self.metrics = pl_module.column_metrics(columns)
        if trainer.is_global_zero:
            for name, column in columns.items():
                values = column.cpu().numpy()
                write_column(self.path, name, values, self.fingerprint)
                self.metrics |= _mean_by_source(f"{pl_module.name}/{name}", values, self.episodes)
            for logger in trainer.loggers:
                logger.log_metrics(self.metrics, trainer.global_step)
                logger.save()
        trainer.strategy.barrier()

    @staticmethod
    def _gather(module: LightningModule, mine: torch.Tensor) -> torch.Tensor:
        every = module.all_gather(mine)
        assert isinstance(every, torch.Tensor)
        return every.reshape(-1, *mine.shape[1:])


def _mean_by_source(name: str, values: np.ndarray, episodes: Episodes) -> dict[str, float]:
    """Mean of a column over the transitions of each true source, where the file tells it."""
    if episodes.source is None:
        return {}
    source = np.repeat(episodes.source, episodes.length)
    return {f"{name}_{each}": float(values[source == each].mean()) for each in np.unique(episodes.source)}
