"""torch.compile of what a stage learns by."""

from __future__ import annotations

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from misodice.runs.limits import TRUTH, limited, one_of, or_none


class Compile(Callback):
    """Compile the loss of every stage: `--trainer.callbacks misodice.callbacks.compiling.Compile`.

    Checkpoints are as without it. The first steps take the compiler's time, half a minute a stage.

    Args:
        mode: torch.compile's; "reduce-overhead" captures a CUDA graph.
        dynamic: compile once for batches of any size; null compiles anew for the second size that is met.
    """

    @limited(
        "trainer.callbacks.Compile",
        mode=or_none(one_of("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")),
        dynamic=or_none(TRUTH),
    )
    def __init__(self, mode: str | None = None, dynamic: bool | None = None) -> None:
        self.options: dict[str, Any] = {"mode": mode, "dynamic": dynamic}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # The whole of it, networks and maths: a network by itself is called several times a step, and each call of a
        # captured graph writes over the last one's output.
        stage: Any = pl_module
        stage.loss = torch.compile(stage.loss, **self.options)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        del pl_module.loss  # the class's own again
