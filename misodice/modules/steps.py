"""The steps of a batch that has several minibatches: one after another, or replayed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from misodice.datamodules.loader import Minibatches
from misodice.modules.captured import CannotCapture, CapturedStep, CudaGraph, Recorder


class Steps:
    """Makes a stage's steps in place of Lightning, in the same order and with the same result.

    Args:
        stage: a `Stage` whose Trainer is running.
        recorder: makes what records a step; None is a CUDA graph on a GPU, and nothing elsewhere.
    """

    def __init__(self, stage: Any, recorder: Callable[[], Recorder] | None = None) -> None:
        self.stage = stage
        self.eager: str | None = None
        """Why each step is made by itself; None where steps are replayed."""
        self._step: CapturedStep | None = None
        self._gather: Callable[..., Any] | None = None
        device = stage.device
        if recorder is None and device.type != "cuda":
            self.eager = f"CUDA graphs need a GPU, and the device is {device.type}"
        self._recorder = recorder or (lambda: CudaGraph(device))

    def run(self, batch: Any) -> None:
        """A step for each minibatch.

        Raises:
            MisodiceError: a gradient is not finite. Of replayed steps this is known one batch later; none has changed
                a weight since.
        """
        if not isinstance(batch, Minibatches):
            self._make(batch)
            return
        if self.eager is None:
            self._prepare(batch)
        for draw in batch.draws:
            if not self._replayed(draw):
                self._settle()
                self._make(self._received(batch, draw))
        loops = self.stage.trainer.fit_loop
        # By this Lightning names the step of what is logged; it adds one for the batch.
        loops.epoch_loop._batches_that_stepped += len(batch) - 1
        if self._step is not None:
            self._step.note()
            self.check(late=0 if self.stage.trainer.is_last_batch else 1)

    def check(self, late: int = 0) -> None:
        """Raise a MisodiceError if a replayed step had a gradient that is not finite.

        Args:
            late: so many of the last batches are not looked at, so that nothing waits for the GPU.
        """
        lost = None if self._step is None else self._step.lost(late)
        if lost is not None:
            self.stage.refuse_gradient(self.stage.global_step - lost)

    def _prepare(self, batch: Minibatches[Any]) -> None:
        """Have a step for this batch, or know why there is none."""
        last = self.stage.trainer.is_last_batch
        # The last minibatch of an epoch is smaller: it makes its step by itself.
        shapes = batch.shapes[:-1] if last and len(batch) > 1 else batch.shapes
        optimizer = self._optimizer
        if batch.device != self.stage.device:
            self._give_up("the data is in main memory")
        elif type(optimizer) is not torch.optim.Adam or not optimizer.defaults["fused"]:
            self._give_up(f"the optimizer is {type(optimizer).__name__} and not fused Adam")
        elif any(shape != shapes[0] for shape in shapes):
            self._give_up("the minibatches are of different sizes")
        elif not self._serves(batch, last):
            self._renew(batch)

    def _serves(self, batch: Minibatches[Any], last: bool) -> bool:
        """Whether what is recorded can be replayed on this batch."""
        step = self._step
        if step is None or self._gather is not batch.gather or not step.in_place:
            return False
        return last or step.fits(batch.draws[0])

    def _renew(self, batch: Minibatches[Any]) -> None:
        self._drop()
        stage, gather = self.stage, batch.gather

        def received(*draw: Tensor) -> Any:
            return stage.trainer.precision_plugin.convert_input(gather(*draw))

        self._gather = gather
        self._step = CapturedStep(
            stage,
            received,
            stage.checked_loss,
            stage.after_step,
            self._optimizer,
            stage.sums,
            self._recorder(),
            batch.draws[0],
        )

    def _settle(self) -> None:
        """All that was replayed is known to be good."""
        if self._step is not None:
            self._step.note()
            self.check()

    def _drop(self) -> None:
        self._settle()
        self._step = None

    def _give_up(self, why: str) -> None:
        self._drop()
        self.eager = why

    @property
    def _optimizer(self) -> torch.optim.Optimizer:
        found: torch.optim.Optimizer = self.stage.optimizers().optimizer
        return found

    def _replayed(self, draw: tuple[Tensor, ...]) -> bool:
        """Make the step on this draw by what is recorded; False where that cannot be."""
        step = self._step
        if step is None or not step.fits(draw):
            return False
        try:
            step.run(draw)
        except CannotCapture as why:
            self._give_up(f"a step cannot be captured: {why}")
            return False
        progress = self.stage.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.increment_ready()
        progress.increment_completed()
        self.stage.count(step.size)
        self._schedule()
        return True

    def _make(self, minibatch: Any) -> None:
        """The step on one minibatch, as Lightning makes it."""
        stage = self.stage
        loss = stage.learn(minibatch)
        # Lightning, too, casts in the forward pass alone.
        with torch.autocast(stage.device.type, enabled=False):
            self._optimizer.zero_grad()
            stage.manual_backward(loss)
            stage.optimizers().step()
            self._schedule()
            stage.after_step()

    def _schedule(self) -> None:
        for config in self.stage.trainer.lr_scheduler_configs:
            config.scheduler.step()

    def _received(self, batch: Minibatches[Any], draw: tuple[Tensor, ...]) -> Any:
        """The minibatch as Lightning gives it to a training step: in the stage's precision and on its device."""
        trainer = self.stage.trainer
        minibatch = trainer.precision_plugin.convert_input(batch.gather(*draw))
        return minibatch if batch.device == self.stage.device else trainer.strategy.batch_to_device(minibatch)
