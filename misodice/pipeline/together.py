"""How many minibatches of a stage are trained on in one go."""

from __future__ import annotations

from collections.abc import Iterable

from lightning import Callback
from lightning.pytorch.callbacks import (
    GradientAccumulationScheduler,
    ModelCheckpoint,
    ProgressBar,
    StochasticWeightAveraging,
)

from misodice.errors import MisodiceError
from misodice.modules.stage import Stage
from misodice.pipeline.trainer_checks import as_list
from misodice.pipeline.trainers import TrainerOptions

ON_A_GPU = 16
OF_CALLBACKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
)
"""Hooks that Lightning calls for each batch or step, and a replayed step does not."""
OF_STAGES = (
    *OF_CALLBACKS,
    "training_step",
    "configure_optimizers",
    "optimizer_step",
    "optimizer_zero_grad",
    "lr_scheduler_step",
    "configure_gradient_clipping",
    "backward",
    "on_before_batch_transfer",
    "on_after_batch_transfer",
    "transfer_batch_to_device",
)
"""The same of a stage, and its methods that make a step."""


def minibatches_of(stage: Stage, given: int | None, trainer: TrainerOptions, device: str) -> tuple[int, str | None]:
    """How many minibatches come together, and why there is one where a GPU would have taken more.

    Args:
        stage: which.
        given: the option data.minibatches.
        trainer: the Trainer's options.
        device: kind of the device, such as "cuda".

    Raises:
        MisodiceError: more than one are asked for, and something needs each step by itself.
    """
    if given == 1 or not stage.trained:
        return 1, None
    wanted = given or (ON_A_GPU if device == "cuda" else 1)
    why = None if wanted == 1 else _in_the_way(stage, trainer)
    if why is None:
        return wanted, None
    if given:
        raise MisodiceError(f"data.minibatches: found {given}, expected 1 or null: {why}")
    return 1, why


def _in_the_way(stage: Stage, trainer: TrainerOptions) -> str | None:
    """What needs each step by itself; None where nothing does."""
    options = trainer.given
    if not trainer.alone:
        return "several processes share each step"
    if options.get("accumulate_grad_batches", 1) != 1:
        return "trainer.accumulate_grad_batches is more than 1"
    if options.get("gradient_clip_val"):
        return "trainer.gradient_clip_val is set"
    for share in ("limit_train_batches", "val_check_interval"):
        value = options.get(share)
        if isinstance(value, float) and value != 1:
            return f"trainer.{share} is a share of an epoch"
    for name in OF_STAGES:
        owner = next(each for each in type(stage).__mro__ if name in vars(each))
        if owner.__module__.partition(".")[0] not in ("misodice", "lightning", "torch"):
            return f"{owner.__name__} of {stage.name} has a {name} of its own"
    return _counting(as_list(options.get("callbacks")))


def _counting(callbacks: Iterable[Callback]) -> str | None:
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(callback, (StochasticWeightAveraging, GradientAccumulationScheduler)):
            return f"the callback {name} changes how steps are made"
        if isinstance(callback, ProgressBar):
            continue
        if isinstance(callback, ModelCheckpoint):
            # By hooks of every batch, which do nothing unless they are told to.
            if callback._every_n_train_steps or callback._train_time_interval:
                return f"the callback {name} counts steps"
            continue
        for hook in OF_CALLBACKS:
            if getattr(type(callback), hook) is not getattr(Callback, hook):
                return f"the callback {name} has {hook}"
    return None
