"""The running stage as plain lines, for a pipe, a log file or a notebook."""

from __future__ import annotations

import math
import time
from typing import Any

from lightning import LightningModule, Trainer
from rich.console import Console

from misodice.callbacks.clock import RunClock
from misodice.callbacks.watching import Pace, Watching, described

EPOCHS = 5.0
"""Seconds between the lines of two epochs."""
WITHIN = 60.0
"""Seconds without a line after which an epoch that is not over has one."""


class StageLines(Watching):
    """A line where a stage begins, and for its epochs, at most one in five seconds; a long epoch has one a minute.

    Args:
        place: of the stage, such as "2/4 value".
        clock: of the run.
        console: where the lines go.
        epochs: False keeps the lines of epochs away, as beside a progress bar of the user's own.
    """

    def __init__(self, place: str, clock: RunClock, console: Console, epochs: bool = True) -> None:
        super().__init__(place, clock)
        self.console, self.of_epochs = console, epochs
        self._said = -math.inf

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        limit, patience = trainer.max_epochs, getattr(pl_module, "patience", None)
        steps = Pace.of(trainer).steps
        length = "epochs" if limit in (None, -1) else f"{limit} epoch" + "s" * (limit != 1)
        words = [f"{length} of {steps} step" + "s" * (steps != 1)]
        if trainer.max_steps not in (None, -1):
            words.append(f"{trainer.max_steps} steps at most")
        if trainer.early_stopping_callback is not None and patience:
            words.append(f"fewer if {patience} epochs bring nothing better")
        if trainer.global_step:
            words.append(f"{trainer.current_epoch} epochs and {trainer.global_step} steps are done")
        self._print(f"{self.place}: training, {', '.join(words)}")
        self._first, self._begun = trainer.current_epoch, time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        if trainer.current_epoch > self._first and time.monotonic() - self._said >= EPOCHS:
            self._say(trainer, f"epoch {self._of(trainer, trainer.current_epoch)}", self.shown(pl_module))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.tick(trainer, batch_idx + 1)
        if time.monotonic() - max(self._said, self._begun) >= WITHIN and not trainer.is_last_batch:
            pace = Pace.of(trainer)
            step = f"step {pace.done(batch_idx + 1)} of {pace.steps}"
            epoch = f"epoch {self._of(trainer, trainer.current_epoch + 1)}"
            self._say(trainer, f"{epoch}, {step}", self.shown(pl_module, running=True))

    def say(self, line: str) -> None:
        self._print(line)

    def _of(self, trainer: Trainer, epoch: int) -> str:
        return f"{epoch}" if trainer.max_epochs in (None, -1) else f"{epoch}/{trainer.max_epochs}"

    def _say(self, trainer: Trainer, where: str, shown: dict[str, float]) -> None:
        self._said = time.monotonic()
        left = self.clock.left()
        time_left = [] if left is None else [f"{left} left for all stages"]
        if self.of_epochs:
            self._print(f"{self.place}: {', '.join([where, *described(shown), *time_left])}")

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False)
