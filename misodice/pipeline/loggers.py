"""The loggers that a user asks for: made anew for each stage, in the run's folder, under names that tell runs apart."""

from __future__ import annotations

import inspect
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from misodice.errors import MisodiceError
from misodice.runs.parts import class_path, config_of, import_class, made_by, parameters_of

PROJECT = "misodice"
"""Of W&B, and the experiment of MLflow, where the user names none."""


@dataclass(frozen=True)
class RunNames:
    """What loggers are told of a run.

    Args:
        folder: the run's.
        method: name of the method.
        seed: of everything random.
        config: all options as plain values, as config.yaml has them.
    """

    folder: Path
    method: str
    seed: int
    config: Mapping[str, Any] = field(repr=False)

    @property
    def label(self) -> str:
        """Config, method and seed, such as smacv2_zerg_misodice_seed_0."""
        tail = (self.method, f"seed_{self.seed}")
        folder = self.folder.absolute()
        first = folder.parent.parent.name if folder.parts[-2:] == tail else folder.name
        return "_".join((first, *tail))


class LoggerRecipe:
    """A logger's class and arguments, from which each stage's is made.

    Args:
        made: class, or function that makes a logger.
        arguments: by name.
        ready: a logger that cannot be made again: its copies are used.
        shared: whether `ready` itself is used, as where its user has begun a run of W&B.
    """

    def __init__(
        self, made: Any, arguments: Mapping[str, Any], ready: Logger | None = None, shared: bool = False
    ) -> None:
        self.made, self.arguments, self.ready, self.shared = made, dict(arguments), ready, shared

    @classmethod
    def of(cls, given: Any) -> LoggerRecipe:
        """From what stands in `trainer.logger`.

        Args:
            given: an object, a class, a partial of one, or its class path and arguments.

        Raises:
            MisodiceError: it is something else.
        """
        if isinstance(given, Logger):
            return _of_object(given)
        if hasattr(given, "class_path") or (isinstance(given, Mapping) and "class_path" in given):
            content = dict(given if isinstance(given, Mapping) else vars(given))
            arguments = content.get("init_args") or {}
            arguments = dict(arguments if isinstance(arguments, Mapping) else vars(arguments))
            made: Any = import_class(str(content["class_path"]), Logger, "trainer.logger")
            required = [name for name, each in parameters_of(made).items() if each.default is each.empty]
            # jsonargparse puts None where a required argument, such as save_dir, is not given.
            arguments = {name: value for name, value in arguments.items() if value is not None or name not in required}
            return cls(made, arguments | dict(content.get("dict_kwargs") or {}))
        made = made_by(given)
        if isinstance(made, type) and issubclass(made, Logger):
            if not isinstance(given, partial):
                return cls(made, {})
            positional = [each for each in given.args if each is not made]
            return cls(made, dict(zip(_parameters(made), positional, strict=False)) | given.keywords)
        raise MisodiceError(
            f"trainer.logger: found {given!r}, expected a Logger, its class, functools.partial of it, or a list of some"
        )

    @property
    def described(self) -> dict[str, Any]:
        """As config.yaml has it."""
        arguments = {name: config_of(value) for name, value in self.arguments.items()}
        return {"class_path": class_path(self.made)} | ({"init_args": arguments} if arguments else {})

    @property
    def note(self) -> str | None:
        """What to tell the user; None where all is well."""
        if self.ready is None or self.shared:
            return None
        return (
            f"trainer.logger: the arguments of a {self.made.__name__} cannot be read from the object, so every stage "
            "writes with a copy of it as it is; give the class or functools.partial of it to have one for each stage"
        )

    def make(self, stage: str, names: RunNames, folder: Path) -> Logger:
        """The logger of one stage.

        Args:
            stage: its name.
            names: of the run.
            folder: where the logger writes unless the user says where.

        Raises:
            MisodiceError: it cannot be made.
        """
        if self.ready is not None:
            return self.ready if self.shared else deepcopy(self.ready)
        arguments = self.arguments | self._placed(stage, names, folder)
        try:
            made = self.made(**arguments)
        except Exception as error:  # a logger's constructor is another's code
            said = " ".join(str(error).split())[:500]
            kind = "install what it needs" if isinstance(error, ImportError) else type(error).__name__
            raise MisodiceError(f"trainer.logger: {self.made.__name__} cannot be made ({kind}): {said}") from error
        if not isinstance(made, Logger):
            raise MisodiceError(f"trainer.logger: {class_path(self.made)} made {made!r}, expected a Logger")
        return made

    def _given(self, name: str) -> Any:
        """An argument that the user has set to something else than its default; None otherwise."""
        parameter = _parameters(self.made).get(name)
        value = self.arguments.get(name)
        return None if parameter is not None and value == parameter.default else value

    def _placed(self, stage: str, names: RunNames, folder: Path) -> dict[str, Any]:
        """Arguments that say where and under which name."""
        if isinstance(self.made, type) and issubclass(self.made, WandbLogger):
            return self._placed_wandb(stage, names, folder)
        if isinstance(self.made, type) and issubclass(self.made, MLFlowLogger):
            return self._placed_mlflow(stage, names, folder)
        takes, placed = _parameters(self.made), {}
        name, version = self._given("name"), self._given("version")
        if "save_dir" in takes and self._given("save_dir") is None:
            placed["save_dir"] = str(folder)
        if "version" in takes:
            placed["version"] = stage if version is None else f"{version}_{stage}"
        if "name" in takes and "version" not in takes:
            placed["name"] = f"{names.label if name is None else name}_{stage}"
        elif "name" in takes and name is None and self.arguments.get("name", "") is not None:
            placed["name"] = names.label
        return placed

    def _placed_wandb(self, stage: str, names: RunNames, folder: Path) -> dict[str, Any]:
        placed: dict[str, Any] = {"name": f"{self._given('name') or names.label}_{stage}"}
        if not self._given("save_dir") and not self._given("dir"):
            # W&B takes a folder for temporary files where this one is missing.
            folder.mkdir(parents=True, exist_ok=True)
            placed["save_dir"] = str(folder)
        # W&B would go on with a run of the same id.
        placed |= {name: f"{self._given(name)}_{stage}" for name in ("version", "id") if self._given(name)}
        if not self._given("project") and not os.environ.get("WANDB_PROJECT"):
            placed["project"] = PROJECT
        defaults = {"group": names.label, "job_type": stage}
        return placed | {name: value for name, value in defaults.items() if self.arguments.get(name) is None}

    def _placed_mlflow(self, stage: str, names: RunNames, folder: Path) -> dict[str, Any]:
        placed: dict[str, Any] = {"run_name": f"{self._given('run_name') or names.label}_{stage}"}
        # Not of the environment, where MLflow itself writes: the default is what stood there at the start.
        elsewhere = self.arguments.get("tracking_uri") or _parameters(self.made)["tracking_uri"].default
        if not elsewhere and not self._given("save_dir"):
            # A database: MLflow's newer versions refuse plain files.
            folder.mkdir(parents=True, exist_ok=True)
            placed["tracking_uri"] = f"sqlite:///{folder.absolute() / 'mlflow.db'}"
            if not self._given("artifact_location"):
                placed["artifact_location"] = (folder.absolute() / "artifacts").as_uri()
        if not self._given("experiment_name"):
            placed["experiment_name"] = PROJECT
        return placed


class RunLoggers:
    """All loggers that a run's options name.

    Args:
        given: as `lightning.Trainer` takes them, or classes, partials, class paths; True, False and None name none:
            metrics.csv is always written.

    Raises:
        MisodiceError: one is no logger.
    """

    def __init__(self, given: Any) -> None:
        self.given = given
        several = isinstance(given, (list, tuple))
        listed = [each for each in (given if several else [given]) if each is not None and not isinstance(each, bool)]
        self.recipes = [LoggerRecipe.of(each) for each in listed]

    @property
    def described(self) -> Any:
        """As config.yaml has them."""
        described = [recipe.described for recipe in self.recipes]
        if isinstance(self.given, (list, tuple)):
            return described
        return described[0] if described else self.given

    @property
    def notes(self) -> list[str]:
        """What to tell the user before anything is trained."""
        return [recipe.note for recipe in self.recipes if recipe.note is not None]

    def check(self, names: RunNames) -> None:
        """Make each once, in a folder that is removed: what is missing is told before anything is trained.

        Raises:
            MisodiceError: one cannot be made.
        """
        for recipe in self.recipes:
            mlflow = isinstance(recipe.made, type) and issubclass(recipe.made, MLFlowLogger)
            # MLflow makes a database, which takes seconds.
            if recipe.ready is None and not (mlflow and find_spec("mlflow")):
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    recipe.make("check", names, Path(folder))

    def make(self, stage: str, names: RunNames, resumed: bool) -> list[Logger]:
        """The loggers of one stage, which know the whole config.

        Args:
            stage: its name.
            names: of the run.
            resumed: whether the stage goes on; otherwise what an earlier training of it left in the run's folder is
                removed.
        """
        loggers: list[Logger] = []
        try:
            for kind, recipe in zip(self._kinds(), self.recipes, strict=True):
                loggers.append(recipe.make(stage, names, names.folder / kind))
                if _first():
                    left = getattr(loggers[-1], "log_dir", None)
                    if left and not resumed and (names.folder / kind).absolute() in Path(left).absolute().parents:
                        shutil.rmtree(left, ignore_errors=True)
                    loggers[-1].log_hyperparams(deepcopy(dict(names.config)))
        except BaseException:
            self.close(loggers, failed=True)
            raise
        return loggers

    def close(self, loggers: Sequence[Logger], failed: bool) -> None:
        """End what a stage's loggers have begun: W&B would go on with this stage's run in the next stage.

        Args:
            loggers: of the stage, as `make` gave them.
            failed: whether the stage did not end well.
        """
        for recipe, logger in zip(self.recipes, loggers, strict=False):
            own = not recipe.shared and recipe.arguments.get("experiment") is None
            if isinstance(logger, WandbLogger) and own and _first():
                logger.experiment.finish(exit_code=int(failed))
            if isinstance(logger, TensorBoardLogger):
                # Lightning does it where a training ends. One that never began would leave the writer's thread behind.
                logger.finalize("failed" if failed else "success")

    def _kinds(self) -> list[str]:
        """Names of their folders, each once: such as tensorboard, csv, csv_2."""
        kinds: list[str] = []
        for recipe in self.recipes:
            kind = recipe.made.__name__.lower().removesuffix("logger") or "logger"
            count = sum(each == kind or each.startswith(f"{kind}_") for each in kinds)
            kinds.append(f"{kind}_{count + 1}" if count else kind)
        return kinds


def _first() -> bool:
    """Whether this process is the first of a distributed run, which alone writes."""
    return getattr(rank_zero_only, "rank", 0) == 0


def _parameters(made: Any) -> dict[str, inspect.Parameter]:
    """What the class or function takes by name."""
    if isinstance(made, type):
        return parameters_of(made)
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: each for name, each in inspect.signature(made).parameters.items() if each.kind in named}


def _of_object(logger: Logger) -> LoggerRecipe:
    """A recipe for more of the same: Lightning's loggers, and others, keep their arguments under the same names."""
    kind, kept = type(logger), vars(logger)
    if isinstance(logger, WandbLogger) and (kind is not WandbLogger or kept["_experiment"] is not None):
        # The user's own run goes on through all stages. A copy of this logger would begin one.
        return LoggerRecipe(kind, {}, ready=logger, shared=True)
    if kind is WandbLogger:
        given = dict(kept["_wandb_init"])
        arguments = {"save_dir": given.pop("dir"), "anonymous": given.pop("anonymous") is not None or None}
        given.pop("resume")
        if given["project"] == os.environ.get("WANDB_PROJECT", "lightning_logs"):  # what it takes where none is given
            given.pop("project")
        own = ("offline", "log_model", "prefix", "checkpoint_name")
        arguments |= given | {name: kept[f"_{name}"] for name in own}
        return LoggerRecipe(kind, arguments | {"add_file_policy": kept["add_file_policy"]})
    if kind is MLFlowLogger:
        names = ("experiment_name", "run_name", "run_id", "log_model", "prefix", "artifact_location")
        arguments = {name: kept[f"_{name}"] for name in names} | {"tags": kept["tags"]}
        arguments["synchronous"] = kept["_log_batch_kwargs"].get("synchronous")
        default = f"file:{_parameters(kind)['save_dir'].default}"
        if kept["_tracking_uri"] != default:
            arguments["tracking_uri"] = kept["_tracking_uri"]
        return LoggerRecipe(kind, arguments)
    if kind is TensorBoardLogger:
        kept = kept | {"_save_dir": logger.save_dir}
    takes = inspect.signature(kind).parameters
    arguments = {}
    for name, parameter in takes.items():
        if parameter.kind is parameter.VAR_KEYWORD and kind is TensorBoardLogger:
            arguments |= kept["_kwargs"]
        elif parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            return LoggerRecipe(kind, {}, ready=logger)
        elif f"_{name}" in kept:
            arguments[name] = kept[f"_{name}"]
        elif name in kept:
            arguments[name] = kept[name]
        else:
            return LoggerRecipe(kind, {}, ready=logger)
    if kind is CSVLogger or kind is TensorBoardLogger:  # "" where None was given
        arguments["name"] = arguments["name"] or None
    return LoggerRecipe(kind, arguments)
