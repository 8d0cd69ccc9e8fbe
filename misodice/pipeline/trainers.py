"""The Trainer of each stage, from one set of options."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ModelSummary, ProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger

from misodice.callbacks.checkpoints import WholeCheckpoints
from misodice.callbacks.progress import StageProgress
from misodice.errors import MisodiceError
from misodice.modules.stage import Stage
from misodice.pipeline.alone import OneProcess, is_alone
from misodice.pipeline.trainer_checks import DEFAULTS, as_list, callbacks_of, check_trainer, made
from misodice.runs.fingerprint import that_count
from misodice.runs.parts import config_of


class TrainerOptions:
    """Lightning's Trainer options, shared by all stages.

    `fast_dev_run` becomes one epoch of so many batches: Lightning's own would keep no checkpoint to go on from.

    Args:
        given: as `lightning.Trainer` takes them; the callbacks and loggers are copied for each Trainer.
        described: the same as plain values, for config.yaml and fingerprints; None describes the objects.
        stages: of the run; what they need of the options is checked.

    Raises:
        MisodiceError: an option is unknown, or no stage could be trained with its value.
    """

    def __init__(
        self, given: Mapping[str, Any], described: Mapping[str, Any] | None = None, stages: Sequence[Stage] = ()
    ) -> None:
        if not isinstance(given, Mapping):
            raise MisodiceError(f"trainer: found {given!r}, expected a dictionary of lightning.Trainer's options")
        check_trainer(given, stages)
        self.fast = int(given.get("fast_dev_run") or 0)
        self.given = {**given, "fast_dev_run": False}
        self.described: dict[str, Any] = config_of(given if described is None else described)
        if self.fast:
            self.given |= {"max_epochs": 1, "limit_train_batches": self.fast, "limit_val_batches": self.fast}
            self.given |= {"min_epochs": None, "check_val_every_n_epoch": 1}

    @property
    def that_count(self) -> dict[str, Any]:
        """Plain values of the options that may change a result and are not Lightning's defaults."""
        return {name: value for name, value in that_count(self.described).items() if value != DEFAULTS.get(name)}

    @property
    def objects(self) -> list[type]:
        """Classes of the given objects, whose source counts too."""
        return [type(each) for value in self.given.values() for each in as_list(value) if hasattr(each, "__dict__")]

    @cached_property
    def alone(self) -> bool:
        """Whether this is a run of one device, which is the first of one process whatever the environment says."""
        return is_alone(self._silent)

    @property
    def _silent(self) -> dict[str, Any]:
        shown: dict[str, Any] = {} if self._has(ProgressBar) else {"enable_progress_bar": False}
        return self.given | {"logger": False} | shown

    def _plugins(self) -> list[Any]:
        return [*as_list(copy.deepcopy(self.given.get("plugins"))), *([OneProcess()] if self.alone else [])]

    def plain(self) -> Trainer:
        """A Trainer that trains nothing: it refuses bad options, and tells the device and the precision.

        Raises:
            MisodiceError: Lightning refuses an option, or this machine has no such device.
        """
        return made(self._silent | {"plugins": self._plugins()})

    def _has(self, kind: type) -> bool:
        return any(isinstance(each, kind) for each in as_list(self.given.get("callbacks")))

    def trainer(self, place: str, epochs: int, folder: Path, callbacks: Sequence[Callback]) -> Trainer:
        """A new Trainer for one stage: a used one would train 0 steps.

        Args:
            place: of the stage, such as "2/3 value".
            epochs: the stage's own; the option max_epochs overrides it.
            folder: where its log is written.
            callbacks: beside those of the options.
        """
        options = copy.deepcopy({name: value for name, value in self.given.items() if name != "logger"})
        all_callbacks = callbacks_of(folder.name, as_list(options.get("callbacks")), callbacks)
        # A bar of the user's own takes this one's place: Lightning shows one alone.
        if options.get("enable_progress_bar") is not False and not self._has(ProgressBar):
            all_callbacks.append(StageProgress(place))
        folder.mkdir(parents=True, exist_ok=True)
        extra = [logger for logger in as_list(self.given.get("logger")) if isinstance(logger, Logger)]
        options |= {
            "callbacks": all_callbacks,
            "logger": [CSVLogger(folder, name="", version=""), *copy.deepcopy(extra)],
            "max_epochs": epochs if options.get("max_epochs") is None else options["max_epochs"],
            "plugins": [*self._plugins(), WholeCheckpoints()],
            "enable_model_summary": bool(options.get("enable_model_summary")) or self._has(ModelSummary),
            "num_sanity_val_steps": options.get("num_sanity_val_steps") or 0,
        }
        return Trainer(**options)
