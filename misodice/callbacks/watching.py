"""What a user is shown of the stage that trains: its loss, its held-out metric, its rollouts, the time left."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, Self

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer
from torch import Tensor

from misodice.callbacks.clock import RunClock, clock_time
from misodice.datamodules.loader import Batches
from misodice.modules.stage import Stage

ROLLOUTS = ("rollout/return", "rollout/win_rate")


class Watching(Callback):
    """Base class of what shows a stage: it keeps the time, and collects what is to be shown.

    Numbers stay on the device until they are shown, so a step waits for no GPU.

    Args:
        place: of the stage, such as "2/4 value".
        clock: of the run.
    """

    def __init__(self, place: str, clock: RunClock) -> None:
        self.place, self.clock = place, clock
        self.seen: dict[str, Tensor] = {}
        self._told: str | None = None
        self.epochs = 0
        """Finished epochs."""

    def look(self, trainer: Trainer) -> None:
        """Remember what is logged; in all processes, since reading it may gather."""
        self.seen = dict(trainer.callback_metrics)

    def tick(self, trainer: Trainer, batches: int) -> None:
        """A batch was trained on: `batches` of the epoch are done."""
        why = getattr(trainer.lightning_module, "eager", None)
        if why is not None and why != self._told:
            self._told = why
            self.say(f"{self.place}: each step is made by itself: {why}")
        limits = [timer.time_remaining() for timer in trainer.callbacks if isinstance(timer, Timer)]  # type: ignore[attr-defined]
        at_most = min((limit for limit in limits if limit is not None), default=math.inf)
        self.clock.step(time.monotonic(), steps_left(trainer, batches), at_most, Pace.of(trainer).together)

    def say(self, line: str) -> None:
        """Show a line that stays."""

    def means(self, stage: LightningModule) -> dict[str, Tensor]:
        """Of the epoch so far, as far as the stage collects them."""
        means = stage.means if isinstance(stage, Stage) else {}
        chosen = "loss" if "loss" in means else next(iter(means), None)
        return {} if chosen is None else {chosen: means[chosen]}

    def shown(self, stage: LightningModule, running: bool = False) -> dict[str, float]:
        """The numbers to show, by their short names; the GPU is waited for.

        Args:
            stage: which.
            running: whether the loss is the mean of the epoch so far, not that of the last finished epoch.
        """
        name = str(getattr(stage, "name", ""))
        logged = [each for each in self.seen if each == f"{name}/loss"] or list(self._losses(stage, name))[:1]
        found = {each.removeprefix(f"{name}/"): self.seen[each] for each in logged}
        if running or not found:
            found |= self.means(stage)
        monitor = getattr(stage, "monitor", None)
        if monitor in self.seen:
            found[str(monitor).removeprefix(f"{name}/")] = self.seen[str(monitor)]
        found |= {each.removeprefix("rollout/"): self.seen[each] for each in ROLLOUTS if each in self.seen}
        return {each: float(value) for each, value in found.items()}

    def _losses(self, stage: LightningModule, name: str) -> list[str]:
        """Where a stage of a user's own calls its loss otherwise: the first thing that it logs of its training."""
        return [f"{name}/{each}" for each in self.means(stage) if f"{name}/{each}" in self.seen]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here, not at the epoch's end: callbacks are asked before the stage logs its means.
        self.epochs = trainer.current_epoch
        self.look(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.training:
            self.look(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.epochs = trainer.current_epoch
        self.look(trainer)

    def summary(self, stage: LightningModule, seconds: float, kept: float | None) -> str:
        """One line on the finished stage.

        Args:
            stage: which.
            seconds: that its training took.
            kept: the monitored metric of the epoch that is kept.
        """
        words = [f"{self.epochs} epoch" + "s" * (self.epochs != 1), *described(self.shown(stage))]
        if kept is not None:
            words[-1] += f"; kept is the epoch with {str(getattr(stage, 'monitor', '')).split('/')[-1]} {kept:.4g}"
        return f"{self.place}: done in {clock_time(seconds)} ({', '.join(words)})"


@dataclass(frozen=True)
class Pace:
    """The steps of an epoch, where a batch of Lightning's may have several of them.

    Args:
        steps: of the whole epoch.
        together: of a batch.
        loader: counts them; None where each batch has one.
    """

    steps: float
    together: int = 1
    loader: Batches[Any] | None = None

    @classmethod
    def of(cls, trainer: Trainer) -> Self:
        """Of the running stage."""
        loader = trainer.train_dataloader
        if isinstance(loader, Batches) and loader.minibatches > 1:
            return cls(loader.steps, loader.minibatches, loader)
        return cls(trainer.num_training_batches)

    def done(self, batches: int) -> int:
        """Steps of the present epoch, of which so many batches are done."""
        return batches if self.loader is None or not batches else self.loader.done


def described(shown: dict[str, float]) -> list[str]:
    """Such as "loss 0.5312"."""
    return [f"{name} {value:.4g}" for name, value in shown.items()]


def steps_left(trainer: Trainer, batches: int) -> float:
    """Steps that the stage will still make at most; infinite where nobody knows.

    Args:
        trainer: of the stage.
        batches: of the present epoch that are done.
    """
    epochs = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs
    assert epochs is not None
    pace = Pace.of(trainer)
    left = (epochs - trainer.current_epoch) * pace.steps - pace.done(batches)
    if trainer.max_steps not in (None, -1):
        left = min(left, (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
    return max(left, 0.0)
