"""What befalls a cell in these tests; each of them the first time alone, if `once` names a file."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from lightning import Callback, LightningModule, Trainer


class Misfortune(Callback):
    """At the second epoch of the policy stage.

    Args:
        what: "cell" kills the process, "worker" the one that started it; "disk" fills the disk, "hang" stands still.
        once: file that says that it happened, and to which processes; null lets it happen in every try.
    """

    def __init__(self, what: str, once: str | None = None) -> None:
        self.what, self.once = what, Path(once) if once else None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.name != "policy" or trainer.current_epoch != 1 or (self.once and self.once.exists()):
            return
        if self.once:
            self.once.write_text(f"{os.getpid()} {os.getppid()}")
        if self.what == "disk":
            raise OSError(errno.ENOSPC, "No space left on device")
        if self.what != "hang":
            os.kill({"cell": os.getpid(), "worker": os.getppid()}[self.what], signal.SIGKILL)
        time.sleep(600)
