"""The run's metrics.csv grows while its stages train."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer

EVERY = 2.0
"""Seconds between two writings."""
SHARE = 20
"""Of the time that writing took, so much passes before it is written again."""


class JoinMetrics(Callback):
    """Joins the logs of all stages after each epoch and each validation, at most once in two seconds.

    What comes too soon is written after a later step. A file that takes long to write is written less often: a
    twentieth of the time at most.

    Args:
        join: writes the file.
    """

    def __init__(self, join: Callable[[], None]) -> None:
        self.join = join
        self._due, self._pending = 0.0, False

    def _write(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if now < self._due or not trainer.is_global_zero:
            return
        self.join()
        self._pending, self._due = False, now + max(EVERY, SHARE * (time.monotonic() - now))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The epoch before has logged everything only now.
        self._pending = trainer.current_epoch > 0
        if self._pending:
            self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pending = True

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        # An epoch's own last step is followed by what the epoch logs: that comes with the next.
        if self._pending and not trainer.is_last_batch:
            self._write(trainer)
