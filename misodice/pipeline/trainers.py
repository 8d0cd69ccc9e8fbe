"""The Trainer of each stage, from one set of options."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger

from misodice.callbacks.checkpoints import WholeCheckpoints
from misodice.errors import MisodiceError
from misodice.pipeline.loggers import RunLoggers
from misodice.runs.fingerprint import that_count
from misodice.runs.parts import config_of

DEFAULTS = {name: p.default for name, p in inspect.signature(Trainer.__init__).parameters.items() if name != "self"}


class TrainerOptions:
    """Lightning's Trainer options, shared by all stages.

    `fast_dev_run` becomes one epoch of so many batches: Lightning's own would keep no checkpoint to go on from.

    Args:
        given: as `lightning.Trainer` takes them; the callbacks are copied for each Trainer, the loggers made anew.
        described: the same as plain values, for config.yaml and fingerprints; None describes the objects.

    Raises:
        MisodiceError: a logger is none, or there are several progress bars.
    """

    def __init__(self, given: Mapping[str, Any], described: Mapping[str, Any] | None = None) -> None:
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

    def epochs(self, own: int) -> int:
        """Epochs of a stage: the option max_epochs, or else the stage's own."""
        given = self.given.get("max_epochs")
        return own if given is None else int(given)

    def _options(self) -> dict[str, Any]:
        """Copies, without a bar that is not shown."""
        options = copy.deepcopy(self.given)
        if self.bars and not self.own_bar:
            kept = (each for each in as_list(options["callbacks"]) if not isinstance(each, ProgressBar))
            options["callbacks"] = list(kept)
        return options

    def plain(self) -> Trainer:
        """A Trainer that trains nothing: it refuses bad options, and tells the device and the precision."""
        return Trainer(**self._options() | {"logger": False, "enable_progress_bar": self.own_bar})

    def trainer(self, epochs: int, loggers: Sequence[Logger], callbacks: Sequence[Callback]) -> Trainer:
        """A new Trainer for one stage: a used one would train 0 steps.

        Args:
            epochs: the stage's own; the option max_epochs overrides it.
            loggers: of the stage.
            callbacks: beside those of the options.
        """
        options = self._options()
        all_callbacks = [*as_list(options.get("callbacks")), *callbacks]
        options |= {
            "callbacks": all_callbacks,
            "logger": list(loggers),
            "enable_progress_bar": any(isinstance(each, ProgressBar) for each in all_callbacks),
            "max_epochs": self.epochs(epochs),
            "plugins": [*as_list(options.get("plugins")), WholeCheckpoints()],
            "enable_model_summary": bool(options.get("enable_model_summary")),
            "num_sanity_val_steps": 0,
        }
        return Trainer(**options)


def as_list(given: Any) -> list[Any]:
    """Lightning takes one callback, logger or plugin, several, or none."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
