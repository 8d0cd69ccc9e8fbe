"""Checkpoints that appear whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from misodice.errors import MisodiceError
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


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A stage's last checkpoint in a run directory.

    Raises:
        MisodiceError: the file is broken, or no checkpoint of a stage.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["fingerprint"], content["global_step"]  # what a run goes on by
    except (OSError, EOFError, UnpicklingError, RuntimeError, LookupError, TypeError) as error:
        raise MisodiceError(
            f"{path}: cannot be read as a checkpoint ({type(error).__name__}); delete {path.parent} to have the stage "
            "trained anew"
        ) from error
    return content
