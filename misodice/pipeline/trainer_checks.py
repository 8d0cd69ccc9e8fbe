"""What the options of Lightning's Trainer may be here: each is supported, or refused before anything is trained."""

from __future__ import annotations

import copy
import difflib
import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lightning import Callback, Trainer
from lightning.fabric.plugins import CheckpointIO, Precision
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    Timer,
)
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler

from misodice.errors import MisodiceError
from misodice.modules.stage import Stage
from misodice.runs.limits import COUNT, NOT_NEGATIVE, PATH, Limit, check_limits, one_of, or_none, whole

DEFAULTS = {name: p.default for name, p in inspect.signature(Trainer.__init__).parameters.items() if name != "self"}
REFUSALS = (MisconfigurationException, ValueError, TypeError, ImportError, RuntimeError, AttributeError, OSError)
"""What Lightning and torch raise for options that they cannot serve."""
ROLLOUTS = "policy"
"""Stage in which `rollout/…` is logged."""


def _only(words: str, *values: Any) -> Limit:
    """One of a few values; 1 is not true, and 1.0 is not 1."""
    known = [(type(value), value) for value in values]
    return Limit(
        words, lambda value: isinstance(value, (bool, int, float, str, type(None))) and (type(value), value) in known
    )


def _fraction(value: Any) -> bool:
    return isinstance(value, float) and 0 < value <= 1


def _devices(value: Any) -> bool:
    """Lightning makes a list as long as the number: a huge one takes all memory before it is refused."""
    text = str(value).strip()
    return not text.isdecimal() or len(text) <= 4


def _local(value: Any) -> bool:
    return PATH.holds(value) and "://" not in str(value)


def _reports(value: Any) -> bool:
    """Lightning would log a report without a file as a message, which misodice does not show."""
    if isinstance(value, (SimpleProfiler, AdvancedProfiler)):
        return bool(value.dirpath and value.filename)
    return value not in ("simple", "advanced", "pytorch")


_EPOCHS = "null: a stage trains whole epochs; use trainer.max_epochs, and trainer.limit_train_batches for shorter ones"
_LENGTH = "null or 1.0: "
LOCAL = Limit("a local folder (results are written to no URL; copy them when the run is done)", _local)
LIMITS: dict[str, Limit] = {
    "devices": Limit("a number of devices, at most 9999, a list of them, or auto", _devices),
    "num_nodes": COUNT,
    "precision": _only(
        "32-true, bf16-mixed or 64-true: the others lose what the stages compute in 32 bits",
        *(None, 32, "32", "32-true", 64, "64", "64-true", "bf16", "bf16-mixed"),
    ),
    "fast_dev_run": Limit(
        "true, false, or a number of batches, at least 0",
        lambda value: isinstance(value, bool) or (isinstance(value, int) and value >= 0),
    ),
    "max_epochs": or_none(COUNT),
    "min_epochs": or_none(whole(0)),
    "max_steps": _only("-1, which is no limit, or " + _EPOCHS, -1),
    "min_steps": or_none(whole(0)),
    "max_time": _only(
        "null: a stage is trained whole; `timeout 2h misodice fit …` stops in time, and --ckpt_path last goes on",
        None,
    ),
    "limit_train_batches": Limit(
        "a number of batches, at least 1, or a share as 0.5 or 1.0",
        lambda value: value is None or _fraction(value) or COUNT.holds(value),
    ),
    "limit_val_batches": Limit(
        "a number of batches, at least 1, or 1.0: the epoch to keep is chosen by what is held out; to hold out "
        "nothing, set data.held_out and labels.held_out to 0",
        lambda value: value is None or (isinstance(value, float) and value == 1) or COUNT.holds(value),
    ),
    "limit_test_batches": _only(_LENGTH + "`test` plays whole episodes; rollout.episodes says how many", None, 1.0),
    "limit_predict_batches": _only(
        _LENGTH + "every transition needs its column; trainer.fast_dev_run is the quick trial", None, 1.0
    ),
    "overfit_batches": _only("0.0: batches are drawn anew in each epoch; use trainer.limit_train_batches", 0, 0.0),
    "val_check_interval": Limit(
        "null or a share of an epoch, more than 0 and at most 1.0", lambda value: value is None or _fraction(value)
    ),
    "check_val_every_n_epoch": COUNT,
    "num_sanity_val_steps": or_none(whole(-1)),
    "log_every_n_steps": or_none(whole(0)),
    "enable_checkpointing": _only(
        "true or null: a stage is read from its checkpoint; trainer.fast_dev_run leaves no files", None, True
    ),
    "accumulate_grad_batches": COUNT,
    "gradient_clip_val": or_none(NOT_NEGATIVE),
    "gradient_clip_algorithm": or_none(one_of("norm", "value")),
    "barebones": _only("false: it would turn the checkpoints off, which a stage is read from", False),
    "reload_dataloaders_every_n_epochs": whole(0),
    "default_root_dir": or_none(LOCAL),
    "model_registry": _only("null: checkpoints stay in the folder of the run", None),
    "profiler": Limit(
        "null, or a profiler that is told where to write, else nothing comes of it: --trainer.profiler SimpleProfiler "
        "--trainer.profiler.dirpath FOLDER --trainer.profiler.filename NAME",
        _reports,
    ),
}
"""Of the options that have one; Lightning looks at the others when a Trainer is made."""
REFUSED_CALLBACKS: dict[type[Callback], str] = {
    BatchSizeFinder: "it would train with another batch size than config.yaml says; set data.batch_size",
    LearningRateFinder: "it would train with another rate than config.yaml says; set the lr of the stage",
    Timer: "a stage is trained whole; `timeout 2h misodice fit …` stops in time, and --ckpt_path last goes on",
    BackboneFinetuning: "it needs a module `backbone`, which a stage does not have",
    ModelPruning: "it looks for weights before a stage has made its networks, and finds none",
}
"""Callbacks of Lightning that no stage can be trained with, and why."""
PRECISIONS = ("32-true", "bf16-mixed", "64-true")
"""Of plugins; as of the option `precision`."""
SHARDED = ("fsdp", "deepspeed", "model_parallel", "xla_fsdp")
"""Strategies, by the start of their names, whose checkpoints are not one file with all weights."""


def check_trainer(given: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """Refuse what no Trainer of a run could do, whatever the machine is.

    Args:
        given: options as `lightning.Trainer` takes them.
        stages: of the run.

    Raises:
        MisodiceError: names the option, the value and what is expected.
    """
    for name in given:
        if name not in DEFAULTS:
            near = difflib.get_close_matches(str(name), DEFAULTS, 1)
            known = f"did you mean {near[0]}?" if near else "expected an option of lightning.Trainer"
            raise MisodiceError(f"trainer.{name} is not an option; {known}")
    check_limits("trainer", LIMITS, given)
    strategy = given.get("strategy", "auto")
    if isinstance(strategy, str) and strategy.startswith(SHARDED):
        raise MisodiceError(
            f"trainer.strategy: found {strategy!r}, expected auto or ddp: a stage's checkpoint has all weights"
        )
    if given.get("gradient_clip_algorithm") is not None and not given.get("gradient_clip_val"):
        raise MisodiceError(
            f"trainer.gradient_clip_algorithm: found {given['gradient_clip_algorithm']!r} without "
            "trainer.gradient_clip_val, which it needs; set that too"
        )
    _check_objects(given)
    _check_lengths(given, stages)
    _check_monitors(as_list(given.get("callbacks")), [stage.name for stage in stages])


def _check_objects(given: Mapping[str, Any]) -> None:
    for each in as_list(given.get("callbacks")):
        if not isinstance(each, Callback):
            hint = f"; call it: {each.__name__}(…)" if isinstance(each, type) else ""
            raise MisodiceError(f"trainer.callbacks: found {each!r}, expected objects of Callback{hint}")
        for kind, why in REFUSED_CALLBACKS.items():
            if isinstance(each, kind):
                raise MisodiceError(f"trainer.callbacks: found {type(each).__name__}, expected none of its kind: {why}")
    for each in as_list(given.get("plugins")):
        if isinstance(each, CheckpointIO):
            raise MisodiceError(
                f"trainer.plugins: found {type(each).__name__}, expected no CheckpointIO: checkpoints are written by "
                "misodice, whole or not at all; leave it out"
            )
        if isinstance(each, Precision) and each.precision not in PRECISIONS:
            raise MisodiceError(
                f"trainer.plugins: found {type(each).__name__} of {each.precision}, expected 32-true, bf16-mixed or "
                "64-true; leave it out and set trainer.precision"
            )


def _check_lengths(given: Mapping[str, Any], stages: Sequence[Stage]) -> None:
    """An epoch that never comes: nothing would be kept."""
    if given.get("fast_dev_run"):
        return
    most, least = given.get("max_epochs"), given.get("min_epochs") or 0
    every = given.get("check_val_every_n_epoch", 1)
    for stage in stages:
        if not stage.trained:
            continue
        epochs = stage.epochs if most is None else most
        whose = f"{stage.name}.epochs" if most is None else "trainer.max_epochs"
        if least > epochs:
            raise MisodiceError(f"trainer.min_epochs: found {least}, expected at most {epochs}, which is {whose}")
        if every > epochs and stage.monitor:
            raise MisodiceError(
                f"trainer.check_val_every_n_epoch: found {every}, expected at most {epochs}, which is {whose}: the "
                "epoch to keep is chosen by what is held out"
            )


def _check_monitors(callbacks: Iterable[Callback], stages: Sequence[str]) -> None:
    for callback in callbacks:
        metric = monitored(callback)
        if metric is not None and metric.partition("/")[0] not in (*stages, "rollout"):
            raise MisodiceError(
                f"trainer.callbacks: {type(callback).__name__} monitors {metric!r}, expected a metric of a stage, such "
                f"as {stages[-1]}/loss or rollout/return: the columns of metrics.csv are their names"
            )


def monitored(callback: Callback) -> str | None:
    """The metric that a callback waits for; None where it waits for none."""
    metric = getattr(callback, "monitor", None)
    return metric if isinstance(metric, str) else None


def callbacks_of(stage: str, given: Sequence[Callback], own: Sequence[Callback]) -> list[Callback]:
    """The callbacks of one stage's Trainer.

    - One that monitors a metric of another stage is left out: the metric is not there.
    - The user's EarlyStopping takes the place of misodice's for the same metric: Lightning takes one of them alone.
    - One that monitors a rollout stands behind what logs it.
    - The files of a ModelCheckpoint with a folder go into a folder for each stage: they have equal names in all.

    Args:
        stage: its name.
        given: the user's, copied for this stage.
        own: misodice's.
    """
    here: list[Callback] = []
    late: list[Callback] = []
    for callback in given:
        metric = monitored(callback)
        block = None if metric is None else metric.partition("/")[0]
        if block not in (None, stage) and (block, stage) != ("rollout", ROLLOUTS):
            continue
        if isinstance(callback, ModelCheckpoint) and callback.dirpath:
            callback.dirpath = os.path.join(callback.dirpath, stage)
        (late if block == "rollout" else here).append(callback)
    stops = {callback.monitor for callback in here if isinstance(callback, EarlyStopping)}
    kept = [each for each in own if not (isinstance(each, EarlyStopping) and each.monitor in stops)]
    return [*here, *kept, *late]


def made(options: Mapping[str, Any]) -> Trainer:
    """A Trainer of these options; they are copied.

    Raises:
        MisodiceError: Lightning refuses an option, or has no such device; names the option.
    """
    copied = dict(options)
    for name, value in options.items():
        try:
            copied[name] = copy.deepcopy(value)
        except (TypeError, RuntimeError) as error:  # such as one that holds an open file or a lock
            raise MisodiceError(
                f"trainer.{name}: found {value!r}, which cannot be copied for each stage ({error}); make it without "
                "open files, locks or threads until the training begins"
            ) from error
    try:
        trainer = Trainer(**copied)
    except REFUSALS as error:
        wrong = _at_fault(options)
        what = f"trainer.{wrong}: found {options[wrong]!r}, which cannot be used" if wrong else "trainer"
        raise MisodiceError(f"{what}: {one_line(error)}") from error
    most = 2 * (os.cpu_count() or 1)
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > most:
        raise MisodiceError(
            f"trainer.devices: found {options['devices']!r}, expected at most {most}: each is a process of its own, "
            "and this machine has half as many processor cores"
        )
    return trainer


def _at_fault(options: Mapping[str, Any]) -> str | None:
    """The option without which the Trainer can be made; Lightning's messages do not always name it."""
    changed = [name for name, value in options.items() if name in DEFAULTS and value is not DEFAULTS[name]]
    # First what stands for itself: without its accelerator even a wrong number of devices may do.
    changed.sort(key=lambda name: name in ("accelerator", "enable_progress_bar", "enable_model_summary"))
    for name in changed:
        try:
            Trainer(**{other: copy.deepcopy(value) for other, value in options.items() if other != name})
        except REFUSALS:
            continue
        return name
    return None


def one_line(error: BaseException) -> str:
    """What an error says, on one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def as_list(given: Any) -> list[Any]:
    """Lightning takes one callback, logger or plugin, several, or none."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
