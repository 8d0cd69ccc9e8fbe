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
from misodice.errors import MisodiceError
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
            parts = [self._gather(pl_module, _part(pl_module, prediction, name)) for prediction in predictions]
            if len({part.shape[1:] for part in parts}) > 1:
                raise MisodiceError(
                    f"{pl_module.name}: {type(pl_module).__name__}.predict_step returned {name!r} of different widths: "
                    f"{sorted({tuple(part.shape[1:]) for part in parts})}; expected [B] or [B, n] of every batch"
                )
            columns[name] = torch.cat(parts)[: self.episodes.n_transitions]
        columns = pl_module.finish(columns)
        _check(pl_module, columns, self.episodes.n_transitions)
        self.metrics = _metrics(pl_module, pl_module.column_metrics(columns))
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


def _part(stage: Stage, prediction: Any, name: str) -> torch.Tensor:
    """Column `name` of one batch."""
    if not isinstance(prediction, dict) or not isinstance(prediction.get(name), torch.Tensor):
        found = f"the keys {list(prediction)}" if isinstance(prediction, dict) else type(prediction).__name__
        raise MisodiceError(
            f"{stage.name}: {type(stage).__name__}.predict_step returned {found}, expected a dictionary with a tensor "
            f"for each column that it writes: {', '.join(stage.writes)}"
        )
    part: torch.Tensor = prediction[name]
    if part.ndim not in (1, 2):
        raise MisodiceError(
            f"{stage.name}: {type(stage).__name__}.predict_step returned {name!r} of shape {list(part.shape)}, "
            "expected [B], or [B, n] with one number for each agent"
        )
    return part.float()


def _metrics(stage: Stage, returned: Any) -> dict[str, float]:
    """What `column_metrics` returned, if it can be logged."""
    if isinstance(returned, dict) and all(isinstance(value, (int, float)) for value in returned.values()):
        return dict(returned)
    raise MisodiceError(
        f"{stage.name}: {type(stage).__name__}.column_metrics returned {returned!r}, expected a dictionary of numbers"
    )


def _check(stage: Stage, columns: dict[str, torch.Tensor], n_transitions: int) -> None:
    """Refuse what a later stage could not read."""
    if not isinstance(columns, dict) or not all(isinstance(column, torch.Tensor) for column in columns.values()):
        raise MisodiceError(
            f"{stage.name}: {type(stage).__name__}.finish returned {type(columns).__name__}, expected a dictionary of "
            "tensors, one for each column"
        )
    for name in stage.writes:
        column = columns.get(name)
        found = "no such column" if column is None else f"shape {list(column.shape)}"
        if column is None or column.ndim not in (1, 2) or len(column) != n_transitions:
            raise MisodiceError(
                f"{stage.name}: column {name!r} of {type(stage).__name__}: found {found}, expected {n_transitions} "
                "rows, one for each transition in order; look at predict_step, finish and predict_dataloader"
            )
        if not torch.isfinite(column).all():
            raise MisodiceError(
                f"{stage.name}: column {name!r} of {type(stage).__name__} has values that are NaN or infinite; lower "
                f"--{stage.name}.lr, or look for outliers with `misodice info`"
            )


def _mean_by_source(name: str, values: np.ndarray, episodes: Episodes) -> dict[str, float]:
    """Mean of a column over the transitions of each true source, where the file tells it."""
    if episodes.source is None:
        return {}
    source = np.repeat(episodes.source, episodes.length)
    return {f"{name}_{each}": float(values[source == each].mean()) for each in np.unique(episodes.source)}
