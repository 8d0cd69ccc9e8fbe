"""The running stage on a terminal: a bar that names it, and under it what is measured."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from misodice.callbacks.clock import RunClock
from misodice.callbacks.watching import Pace, Watching, described

BAR = 0.1
"""Seconds between two looks of the bar."""
NUMBERS = 1.0
"""Seconds between two readings of the loss: each waits for the GPU."""


class _Rows(Progress):
    """A bar, and a line of its own for the numbers: beside the bar 80 columns would cut them."""

    numbers = Text()

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield self.numbers


class StageBar(Watching, ProgressBar):
    """The bar of one stage, its epoch and the time left for all stages; its numbers below.

    The loss is read every `log_every_n_steps` steps, at most once a second, and at the end of an epoch.

    Args:
        place: of the stage, such as "2/4 value".
        clock: of the run.
        console: the terminal; None is the process's own.
    """

    def __init__(self, place: str, clock: RunClock, console: Console | None = None) -> None:
        ProgressBar.__init__(self)
        Watching.__init__(self, place, clock)
        self.console = console or Console()
        self._enabled = True
        self._rows: _Rows | None = None
        self._task = TaskID(0)
        self._drawn = self._read = -math.inf

    def disable(self) -> None:
        """Show nothing: Lightning calls it in all processes but the first."""
        self._enabled = False

    def enable(self) -> None:
        """Show the bar again."""
        self._enabled = True

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Above the bar."""
        self.console.print(*args)

    def _start(self, what: str, total: float) -> None:
        self._stop()
        if not self._enabled:
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", markup=False),
        )
        self._rows = _Rows(*columns, console=self.console, transient=True, expand=True)
        self._task = self._rows.add_task(what, total=total if math.isfinite(total) else None, left="")
        self._rows.start()

    def _stop(self) -> None:
        if self._rows is not None:
            self._rows.stop()
            self._rows = None

    def _draw(self, trainer: Trainer, batches: int) -> None:
        if self._rows is None:
            return
        left = self.clock.left()
        epochs = "" if trainer.max_epochs in (None, -1) else f"/{trainer.max_epochs}"
        self._rows.update(
            self._task,
            description=f"{self.place} epoch {trainer.current_epoch + 1}{epochs}",
            completed=Pace.of(trainer).done(batches),
            left="" if left is None else f"{left} left",
        )

    def _write(self, stage: LightningModule, running: bool) -> None:
        if self._rows is not None:
            self._rows.numbers = Text("  " + "  ".join(described(self.shown(stage, running))), overflow="fold")
            self._read = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(self.place, Pace.of(trainer).steps)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_start(trainer, pl_module)
        self._draw(trainer, 0)
        self._write(pl_module, running=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.tick(trainer, batch_idx + 1)
        now = time.monotonic()
        if now - self._drawn >= BAR or trainer.is_last_batch:
            self._drawn = now
            self._draw(trainer, batch_idx + 1)
        every, together = int(trainer.log_every_n_steps), Pace.of(trainer).together  # type: ignore[attr-defined]
        if every and (batch_idx + 1) * together % every < together and now - self._read >= NUMBERS:
            self._write(pl_module, running=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_end(trainer, pl_module)
        self._stop()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start(f"{self.place}: its columns", float(sum(trainer.num_predict_batches)))

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._rows is not None:
            self._rows.update(self._task, completed=batch_idx + 1)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._stop()
