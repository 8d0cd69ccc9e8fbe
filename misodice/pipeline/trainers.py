"""The Trainer of each stage, from one set of options."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from lightning.pytorch.loggers import Logger

from misodice.callbacks.checkpoints import WholeCheckpoints
from misodice.errors import MisodiceError
from misodice.modules.stage import Stage
from misodice.pipeline.alone import OneProcess, is_alone
from misodice.pipeline.loggers import RunLoggers
from misodice.pipeline.trainer_checks import DEFAULTS, as_list, callbacks_of, check_trainer, made
from misodice.runs.fingerprint import that_count
from misodice.runs.parts import config_of


class TrainerOptions:
    """Lightning's Trainer options, shared by all stages.

    `fast_dev_run` becomes one epoch of so many batches: Lightning's own would keep no checkpoint to go on from.

    Args:
        given: as `lightning.Trainer` takes them; the callbacks are copied for each Trainer, the loggers made anew.
        described: the same as plain values, for config.yaml and fingerprints; None describes the objects.
        stages: of the run; what they need of the options is checked.

    Raises:
        MisodiceError: an option is unknown, no stage could be trained with its value, a logger is none, or there are
            several progress bars.
    """

    def __init__(
        self, given: Mapping[str, Any], described: Mapping[str, Any] | None = None, stages: Sequence[Stage] = ()
    ) -> None:
        if not isinstance(given, Mapping):
            raise MisodiceError(f"trainer: found {given!r}, expected a dictionary of lightning.Trainer's options")
        if described is not None and not isinstance(described, Mapping):
            raise MisodiceError(f"trainer_config: found {described!r}, expected a dictionary of plain values, or None")
        check_trainer(given, stages)
        self.fast = int(given.get("fast_dev_run") or 0)
        self.loggers = RunLoggers(given.get("logger"))
        self.given = {**{name: value for name, value in given.items() if name != "logger"}, "fast_dev_run": False}
        others = given if described is None else described
        self.described: dict[str, Any] = config_of({**others, "logger": None}) | {"logger": self.loggers.described}
        if "logger" not in others:
            del self.described["logger"]
        self.bars = [each for each in as_list(given.get("callbacks")) if isinstance(each, ProgressBar)]
        if len(self.bars) > 1:
            found = " and ".join(type(bar).__name__ for bar in self.bars)
            raise MisodiceError(f"trainer.callbacks: found the progress bars {found}, expected at most one; remove one")
        if self.fast:
            self.given |= {"max_epochs": 1, "limit_train_batches": self.fast, "limit_val_batches": self.fast}
            self.given |= {"min_epochs": None, "check_val_every_n_epoch": 1}

    @property
    def that_count(self) -> dict[str, Any]:
        """Plain values of the options that may change a result and are not Lightning's defaults."""
        counted = that_count(self.described)
        if self.bars:
            pairs = zip(as_list(self.given["callbacks"]), as_list(counted["callbacks"]), strict=True)
            counted["callbacks"] = [plain for each, plain in pairs if each not in self.bars] or None
        return {name: value for name, value in counted.items() if value != DEFAULTS.get(name)}

    @property
    def objects(self) -> list[type]:
        """Classes of the given objects, whose source counts too."""
        every = (each for value in self.given.values() for each in as_list(value))
        return [type(each) for each in every if hasattr(each, "__dict__") and each not in self.bars]

    @property
    def shows_bar(self) -> bool:
        """Whether a progress bar is wanted."""
        return self.given.get("enable_progress_bar") is not False

    @property
    def own_bar(self) -> bool:
        """Whether the user's own progress bar is shown, in place of ours."""
        return self.shows_bar and bool(self.bars)

    @cached_property
    def alone(self) -> bool:
        """Whether this is a run of one device, which is the first of one process whatever the environment says."""
        return is_alone(self._silent)

    def epochs(self, own: int) -> int:
        """Epochs of a stage: the option max_epochs, or else the stage's own."""
        given = self.given.get("max_epochs")
        return own if given is None else int(given)

    @property
    def _silent(self) -> dict[str, Any]:
        return self._without_hidden_bar(self.given) | {"logger": False, "enable_progress_bar": self.own_bar}

    def _without_hidden_bar(self, options: Mapping[str, Any]) -> dict[str, Any]:
        if not self.bars or self.own_bar:
            return dict(options)
        kept = [each for each in as_list(options["callbacks"]) if not isinstance(each, ProgressBar)]
        return {**options, "callbacks": kept}

    def _plugins(self) -> list[Any]:
        return [*as_list(copy.deepcopy(self.given.get("plugins"))), *([OneProcess()] if self.alone else [])]

    def plain(self) -> Trainer:
        """A Trainer that trains nothing: it refuses bad options, and tells the device and the precision.

        Raises:
            MisodiceError: Lightning refuses an option, or this machine has no such device.
        """
        return made(self._silent | {"plugins": self._plugins()})

    def trainer(self, stage: str, epochs: int, loggers: Sequence[Logger], callbacks: Sequence[Callback]) -> Trainer:
        """A new Trainer for one stage: a used one would train 0 steps.

        Args:
            stage: its name.
            epochs: the stage's own; the option max_epochs overrides it.
            loggers: of the stage.
            callbacks: beside those of the options.
        """
        options = self._without_hidden_bar(copy.deepcopy(self.given))
        all_callbacks = callbacks_of(stage, as_list(options.get("callbacks")), callbacks)
        summary = any(isinstance(each, ModelSummary) for each in all_callbacks)
        options |= {
            "callbacks": all_callbacks,
            "logger": list(loggers),
            "enable_progress_bar": any(isinstance(each, ProgressBar) for each in all_callbacks),
            "max_epochs": self.epochs(epochs),
            "plugins": [*self._plugins(), WholeCheckpoints()],
            "enable_model_summary": bool(options.get("enable_model_summary")) or summary,
            "num_sanity_val_steps": options.get("num_sanity_val_steps") or 0,
        }
        return Trainer(**options)
