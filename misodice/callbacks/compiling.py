"""torch.compile of what a stage trains."""

from __future__ import annotations

from typing import Any

from lightning import Callback, LightningModule, Trainer


class Compile(Callback):
    """Compile the networks of every stage: `--trainer.callbacks misodice.callbacks.compiling.Compile`.

    In place, so that checkpoints are as without it. The first steps take the compiler's time, half a minute a stage.

    Args:
        mode: torch.compile's; "reduce-overhead" captures a CUDA graph.
        dynamic: compile once for batches of any size; null compiles anew for the second size that is met.
    """

    def __init__(self, mode: str | None = None, dynamic: bool | None = None) -> None:
        self.options: dict[str, Any] = {"mode": mode, "dynamic": dynamic}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for network in pl_module.children():
            network.compile(**self.options)
