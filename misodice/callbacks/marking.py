"""The fingerprint of what a checkpoint was trained on, kept in the checkpoint."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer


class Mark(Callback):
    """Puts a fingerprint into every checkpoint: a resume refuses a checkpoint of something else.

    Args:
        fingerprint: of the stage and its inputs.
    """

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["fingerprint"] = self.fingerprint
