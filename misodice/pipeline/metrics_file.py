"""metrics.csv of one stage, written whole."""

from __future__ import annotations

import csv
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor

from misodice.runs.files import whole


class MetricsFile(Logger):
    """Like Lightning's CSVLogger, but the file appears whole or not at all: a killed run leaves no half of a row.

    Args:
        path: the file; what is there of an earlier training is replaced by the first rows.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._due, self._written = 0.0, 0

    @property
    def name(self) -> str:
        """None of its own: the folder has the stage's."""
        return ""

    @property
    def version(self) -> str:
        """None: each training replaces the one before."""
        return ""

    @property
    def save_dir(self) -> str:
        """The stage's folder."""
        return str(self.path.parent)

    @property
    def log_dir(self) -> str:
        """The stage's folder."""
        return self.save_dir

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Keep a row.

        Args:
            metrics: numbers by name.
            step: of the training; None counts the rows.
        """
        values = {name: value.item() if isinstance(value, Tensor) else value for name, value in metrics.items()}
        self.rows.append({**values, "step": len(self.rows) if step is None else step})

    @rank_zero_only
    def save(self) -> None:
        """Write the rows, if the last writing was not just now; a twentieth of the time goes into that at most."""
        if time.monotonic() >= self._due:
            self.flush()

    @rank_zero_only
    def flush(self) -> None:
        """Write the rows, if there are new ones.

        Raises:
            MisodiceError: they cannot be written.
        """
        if len(self.rows) == self._written:
            return
        started = time.monotonic()
        with whole(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, sorted({name for row in self.rows for name in row}))
            writer.writeheader()
            writer.writerows(self.rows)
        self._written = len(self.rows)
        self._due = time.monotonic() + 20 * (time.monotonic() - started)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Write what is not yet written."""
        self.flush()
