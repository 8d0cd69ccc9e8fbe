"""How long each stage of a `fit` trains: a callback for every version of misodice."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

FOLDER = "MISODICE_STAGE_TIMES"
"""Environment variable: the folder that gets a file for each stage."""


def now() -> float:
    """Seconds, once a GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


class StageClock(Callback):
    """Writes <stage>.json: seconds and steps of each epoch, and seconds of the whole stage.

    An epoch's seconds are those of its training batches: validations and what follows the last batch (checkpoints,
    rollouts) are left out. The whole stage has all of that, and the pass over D_U at its end.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.seconds, self.steps = 0.0, 0
        self.since: float | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.began = now()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.seconds, self.steps, self.since = 0.0, trainer.global_step, now()

    def on_train_batch_start(self, *_: Any) -> None:
        if self.since is None:  # after a validation within an epoch
            self.since = now()

    def on_validation_start(self, *_: Any) -> None:
        self._pause()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pause()
        # Steps and not batches: one batch of Lightning may hold several minibatches.
        self.epochs.append({"seconds": self.seconds, "steps": trainer.global_step - self.steps})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(pl_module)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(pl_module)

    def _pause(self) -> None:
        if self.since is not None:
            self.seconds += now() - self.since
            self.since = None

    def _write(self, stage: Any) -> None:
        said = {"epochs": self.epochs, "seconds": now() - self.began}
        (Path(os.environ[FOLDER]) / f"{stage.name}.json").write_text(json.dumps(said))
