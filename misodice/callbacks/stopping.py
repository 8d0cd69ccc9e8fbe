"""A run that is told to stop saves first."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from lightning import Callback, LightningModule, Trainer
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """SIGTERM, from `kill` or a cluster's scheduler, ends whatever is done as Ctrl-C does."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if not _hears_signals():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _hears_signals() -> bool:
    """Python lets the main thread alone handle them; a server may call `Experiment.fit` in another one."""
    return threading.current_thread() is threading.main_thread()


class SaveWhenStopped(Callback):
    """Ctrl-C, SIGTERM and SLURM's requeue signal (SIGUSR1) end a stage between two steps, with a checkpoint.

    A context around the stage, too. A step cut in two would leave weights of which some are new and some old. What is
    asked for in an epoch's last step or while none is made (validation, a rollout, the predict pass) is done when that
    is over; a second Ctrl-C does not wait. After SIGUSR1 the first process has SLURM requeue the job.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        signals = [signal.SIGINT, signal.SIGTERM] if _hears_signals() else []
        if signals and hasattr(signal, "SIGUSR1") and SLURMEnvironment.detect():
            # Lightning takes it where it is free, and would save in the middle of a step.
            signals.append(signal.SIGUSR1)
        self._before = {each: signal.getsignal(each) for each in signals}
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _take(self) -> None:
        for each in self._before:
            signal.signal(each, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.asked:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number)
        print(f"{self.asked.name}: stopping after this step (Ctrl-C: at once)", flush=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Again: Lightning has put its own in front, which talks to the other processes from within the handler.
        self._take()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if not trainer.is_last_batch and self._any_asked(trainer):
            trainer.save_checkpoint(self.path)
            self._stop(trainer)

    def stop_if_asked(self, trainer: Trainer) -> None:
        """Between the parts of a stage.

        Raises:
            KeyboardInterrupt: it was asked for.
        """
        if self._any_asked(trainer):
            self._stop(trainer)

    def _any_asked(self, trainer: Trainer) -> bool:
        """Of all processes: they stop together."""
        return trainer.strategy.reduce_boolean_decision(self.asked is not None, all=False)

    def _stop(self, trainer: Trainer) -> None:
        if self.asked not in (None, signal.SIGINT, signal.SIGTERM) and trainer.is_global_zero:
            array, task = (os.environ.get(f"SLURM_ARRAY_{what}_ID") for what in ("JOB", "TASK"))
            job = os.environ.get("SLURM_JOB_ID", "") if task is None else f"{array}_{task}"
            try:
                subprocess.run(["scontrol", "requeue", job], check=True)
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"SLURM does not start the job again ({error}); the same command with --ckpt_path last goes on")
        raise KeyboardInterrupt
