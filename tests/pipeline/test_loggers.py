"""Loggers of a user's choice."""

from __future__ import annotations

import sys
import threading
import types
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import (
    CSVLogger,
    Logger,
    TensorBoardLogger,
    mlflow as lightning_mlflow,
    wandb as lightning_wandb,
)

import misodice.pipeline.loggers as module
from misodice import Experiment, MisodiceError
from misodice.pipeline.loggers import LoggerRecipe, RunLoggers, RunNames
from misodice.pipeline.trainers import TrainerOptions

CONFIG = {"value": {"init_args": {"alpha": 0.5}}, "seed_everything": 1}


def names_of(folder: Path, method: str = "bc", seed: int = 1) -> RunNames:
    return RunNames(folder, method, seed, CONFIG)


class Plain(Logger):
    """A user's own: it takes none of the usual arguments."""

    def __init__(self, colour: str = "red") -> None:
        super().__init__()
        self.colour, self.rows, self.config = colour, [], None

    name = property(lambda self: "plain")
    version = property(lambda self: 0)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, metrics))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.config = params


class Placed(Plain):
    """A user's own that takes the usual arguments, and more by a base class's options."""

    def __init__(self, save_dir: Path, name: str = "run", version: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.save_folder, self.run, self.number = save_dir, name, version


class Unreadable(Plain):
    """A user's own whose argument is not kept."""

    def __init__(self, depth: int) -> None:
        super().__init__(str(depth))


class Fails(Plain):
    """Cannot be made."""

    def __init__(self) -> None:
        raise KeyError("no account")


def test_the_label_has_config_method_and_seed(tmp_path):
    assert names_of(tmp_path / "zerg" / "bc" / "seed_1").label == "zerg_bc_seed_1"
    assert names_of(tmp_path / "mine").label == "mine_bc_seed_1"
    assert names_of(Path("mine")).label == "mine_bc_seed_1"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (TensorBoardLogger, ("RUN/tensorboard", "run_bc_seed_1", "value")),
        (CSVLogger, ("RUN/csv", "run_bc_seed_1", "value")),
        (partial(TensorBoardLogger, name="mine"), ("RUN/tensorboard", "mine", "value")),
        (partial(TensorBoardLogger, "there", version=3), ("there", "run_bc_seed_1", "3_value")),
        (partial(TensorBoardLogger, save_dir="there", name=None), ("there", "", "value")),
        (TensorBoardLogger("there"), ("there", "run_bc_seed_1", "value")),
        (TensorBoardLogger("there", name="mine", version="a"), ("there", "mine", "a_value")),
        (CSVLogger("there", name=None, prefix="p"), ("there", "", "value")),
        ({"class_path": "lightning.pytorch.loggers.CSVLogger"}, ("RUN/csv", "run_bc_seed_1", "value")),
        (
            {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"save_dir": "there", "name": "n"}},
            ("there", "n", "value"),
        ),
    ],
    ids=range(10),
)
def test_where_and_under_which_name(tmp_path, monkeypatch, given, expected):
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    loggers = RunLoggers(given)
    (logger,) = loggers.make("value", names_of(run), resumed=False)
    loggers.close([logger], failed=False)
    found = (str(logger.save_dir).replace(str(run), "RUN"), logger.name, logger.version)
    assert found == expected
    if getattr(given, "_prefix", ""):
        assert logger._prefix == "p"
    # And what config.yaml says makes the same.
    described = RunLoggers(loggers.described)
    (again,) = described.make("value", names_of(run), resumed=False)
    described.close([again], failed=False)
    assert (again.save_dir, again.name, again.version) == (logger.save_dir, logger.name, logger.version)


def test_options_of_an_object_are_kept(tmp_path):
    given = TensorBoardLogger(tmp_path / "logs", default_hp_metric=False, prefix="p", sub_dir="s", max_queue=7)
    (logger,) = RunLoggers([given]).make("value", names_of(tmp_path), resumed=False)
    assert logger is not given
    assert (logger._default_hp_metric, logger._prefix, logger._sub_dir, logger._kwargs) == (
        False,
        "p",
        "s",
        {"max_queue": 7},
    )
    assert Path(logger.log_dir) == tmp_path / "logs" / f"{names_of(tmp_path).label}" / "value" / "s"


def test_a_class_of_the_users_own(tmp_path):
    names = names_of(tmp_path / "run")
    given = [Plain, partial(Placed, colour="blue"), Plain("green"), Placed(Path("x"), colour="grey"), Unreadable(3)]
    loggers = RunLoggers(given)
    made: Any = loggers.make("value", names, resumed=False)
    assert [logger.colour for logger in made] == ["red", "blue", "green", "grey", "3"]
    assert (made[1].save_folder, made[1].run, made[1].number) == (str(tmp_path / "run/placed"), names.label, "value")
    assert made[2] is not given[2]
    assert all(logger.config == CONFIG for logger in made)
    assert [note.split(" cannot")[0].split()[-1] for note in loggers.notes] == ["Placed", "Unreadable"]


def test_two_of_a_class_have_folders_of_their_own(tmp_path):
    made = RunLoggers([CSVLogger, CSVLogger, TensorBoardLogger, CSVLogger]).make("value", names_of(tmp_path), False)
    assert [Path(str(each.save_dir)).name for each in made] == ["csv", "csv_2", "tensorboard", "csv_3"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("TensorBoardLogger", ["trainer.logger: found 'TensorBoardLogger'", "its class"]),
        ([3], ["trainer.logger: found 3"]),
        ({"class_path": "lightning.Trainer"}, ["trainer.logger", "expected a subclass"]),
        ({"class_path": "no_such.Logger"}, ["trainer.logger: 'no_such.Logger' cannot be imported"]),
    ],
    ids=range(4),
)
def test_what_is_no_logger_is_refused(given, words):
    with pytest.raises(MisodiceError) as error:
        Experiment(trainer={"logger": given})
    assert all(word in str(error.value) for word in words), str(error.value)


def test_what_cannot_be_made_is_told_before_anything(tmp_path, monkeypatch):
    with pytest.raises(MisodiceError, match=r"trainer.logger: Fails cannot be made \(KeyError\): 'no account'"):
        RunLoggers(Fails).check(names_of(tmp_path))
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", False)
    with pytest.raises(MisodiceError, match=r"WandbLogger cannot be made \(install what it needs\)"):
        RunLoggers(lightning_wandb.WandbLogger).check(names_of(tmp_path))
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    monkeypatch.setattr(lightning_mlflow, "_MLFLOW_AVAILABLE", False)
    with pytest.raises(MisodiceError, match=r"MLFlowLogger cannot be made \(install what it needs\)"):
        RunLoggers(lightning_mlflow.MLFlowLogger).check(names_of(tmp_path))
    assert not list(tmp_path.glob("**/*.db"))


def test_no_writer_outlives_its_stage(tmp_path):
    """TensorBoard's writes from a thread of its own, and complains where its folder is gone."""
    before = set(threading.enumerate())
    loggers = RunLoggers(TensorBoardLogger)
    made = loggers.make("value", names_of(tmp_path), resumed=False)
    assert set(threading.enumerate()) > before
    loggers.close(made, failed=False)
    assert set(threading.enumerate()) <= before
    with pytest.raises(MisodiceError, match="Fails cannot be made"):
        RunLoggers([TensorBoardLogger, Fails]).make("value", names_of(tmp_path), resumed=False)
    assert set(threading.enumerate()) <= before


def test_mlflow_writes_a_database_in_the_run(tmp_path, monkeypatch):
    """The package need not be installed: these are the arguments that its logger gets."""
    kind, names, folder = lightning_mlflow.MLFlowLogger, names_of(tmp_path / "run"), tmp_path / "run" / "mlflow"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////of/the/stage/before")  # where MLflow itself writes
    placed = LoggerRecipe.of(kind)._placed("value", names, folder)
    assert placed == {
        "run_name": "run_bc_seed_1_value",
        "experiment_name": "misodice",
        "tracking_uri": f"sqlite:///{folder}/mlflow.db",
        "artifact_location": f"file://{folder}/artifacts",
    }
    given = {"tracking_uri": "http://there", "experiment_name": "mine", "run_name": "own"}
    assert LoggerRecipe.of(partial(kind, **given))._placed("value", names, folder) == {"run_name": "own_value"}


def test_loggers_and_bars_change_no_fingerprint():
    from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

    plain = TrainerOptions({"max_epochs": 1})
    shown = TrainerOptions({"max_epochs": 1, "logger": [CSVLogger, Plain()], "callbacks": [RichProgressBar()]})
    assert (plain.that_count, plain.objects) == (shown.that_count, shown.objects)
    assert "logger" in shown.described
    with pytest.raises(MisodiceError, match="progress bars RichProgressBar and TQDMProgressBar"):
        TrainerOptions({"callbacks": [RichProgressBar(), TQDMProgressBar()]})


class FakeRun:
    """What Lightning's WandbLogger and misodice use of a run of W&B."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options, self.rows, self.ended = options, [], None
        self.config = types.SimpleNamespace(update=self._update)
        self.id, self.name = "id", options.get("name")

    def _update(self, values: dict[str, Any], allow_val_change: bool) -> None:
        self.options["config"] = values

    def log(self, row: dict[str, Any]) -> None:
        assert self.ended is None, "it logs to a run that has ended"
        self.rows.append(row)

    def finish(self, exit_code: int | None = None) -> None:
        self.ended = exit_code
        sys.modules["wandb"].run = None  # type: ignore[attr-defined]


@pytest.fixture
def fake_wandb(monkeypatch) -> list[FakeRun]:
    """A stand-in for the package, which need not be installed: it takes what Lightning gives to wandb.init."""
    runs: list[FakeRun] = []
    wandb: Any = types.ModuleType("wandb")
    wandb.run, wandb.require = None, lambda what: None

    def init(**options: Any) -> FakeRun:
        runs.append(FakeRun(options))
        wandb.run = runs[-1]
        return runs[-1]

    wandb.init = init
    inner, lib, own = (
        types.ModuleType("wandb.sdk"),
        types.ModuleType("wandb.sdk.lib"),
        types.ModuleType("wandb.wandb_run"),
    )
    lib.RunDisabled, own.Run = type("RunDisabled", (), {}), FakeRun  # type: ignore[attr-defined]
    for each in (wandb, inner, lib, own):
        monkeypatch.setitem(sys.modules, each.__name__, each)
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", True)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return runs


def test_a_run_of_wandb_for_each_stage(tmp_path, fake_wandb):
    kind = lightning_wandb.WandbLogger
    for given in (kind, partial(kind, offline=False), kind(), {"class_path": "lightning.pytorch.loggers.WandbLogger"}):
        fake_wandb.clear()
        loggers = RunLoggers(given)
        assert not fake_wandb, "no run begins before the training"
        for stage in ("value", "policy"):
            made = loggers.make(stage, names_of(tmp_path / "run"), resumed=False)
            made[0].log_metrics({"loss": 1.0}, 3)
            loggers.close(made, failed=stage == "policy")
        for run, stage, ended in zip(fake_wandb, ("value", "policy"), (0, 1), strict=True):
            expected = {
                "name": f"run_bc_seed_1_{stage}",
                "project": "misodice",
                "group": "run_bc_seed_1",
                "job_type": stage,
                "dir": str(tmp_path / "run" / "wandb"),
            }
            assert expected.items() <= run.options.items()
            assert run.options["config"] == CONFIG, "the whole config"
            assert run.rows == [{"loss": 1.0, "trainer/global_step": 3}]
            assert run.ended == ended
    assert (tmp_path / "run" / "wandb").is_dir(), "W&B takes another folder where this one is missing"


def test_what_a_user_tells_wandb_stays(tmp_path, fake_wandb):
    kind = lightning_wandb.WandbLogger
    options = {"name": "mine", "project": "p", "group": "g", "save_dir": str(tmp_path), "id": "x", "tags": ["a"]}
    for given in (partial(kind, **options), kind(**options)):
        fake_wandb.clear()
        loggers = RunLoggers([given])
        loggers.close(loggers.make("value", names_of(tmp_path / "run"), resumed=False), failed=False)
        expected = options | {"name": "mine_value", "id": "x_value", "dir": str(tmp_path), "job_type": "value"}
        expected.pop("save_dir")
        assert expected.items() <= fake_wandb[0].options.items()


def test_a_run_of_wandb_that_the_user_began_is_the_users(tmp_path, fake_wandb):
    kind = lightning_wandb.WandbLogger
    for wrap in (lambda run: kind(experiment=run), lambda run: partial(kind, experiment=run)):
        fake_wandb.clear()
        run = sys.modules["wandb"].init(name="mine")  # type: ignore[attr-defined]
        loggers = RunLoggers(wrap(run))
        for stage in ("value", "policy"):
            made = loggers.make(stage, names_of(tmp_path), resumed=False)
            made[0].log_metrics({"loss": 1.0}, 3)
            loggers.close(made, failed=False)
        assert (len(fake_wandb), len(run.rows), run.ended) == (1, 2, None)
        run.finish()


def test_a_recipe_of_a_function_is_refused():
    with pytest.raises(MisodiceError, match="expected a Logger"):
        LoggerRecipe.of(lambda: None)
