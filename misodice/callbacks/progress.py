"""A progress bar that names the stage."""

from __future__ import annotations

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar


class StageProgress(RichProgressBar):
    """Rich progress bar that names the stage and its place, such as "2/3 value".

    Args:
        stage: place and name.
    """

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        return {"stage": self.stage} | {name: value for name, value in metrics.items() if name != "v_num"}
