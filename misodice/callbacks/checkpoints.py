"""Checkpoints that appear whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from misodice.runs.files import write_bytes


class Best(ModelCheckpoint):
    """`best.ckpt`. A class of its own: Lightning takes no two of one class and equal settings, as a user's may have."""


class Last(ModelCheckpoint):
    """`last.ckpt`, for the same reason."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes beside the checkpoint and renames.

    Lightning writes to the folder for temporary files and moves from there, which is a copy where that is another file
    system: killed meanwhile, it leaves half a checkpoint.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Raises MisodiceError where it cannot be written."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_bytes(Path(path), content.getvalue())
