"""Trains what is not up to date, one stage after another, each with a Trainer of its own."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jsonargparse import Namespace
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger
from rich.console import Console

from misodice import __version__
from misodice.callbacks.checkpoints import WholeCheckpoints
from misodice.callbacks.column_writer import ColumnWriter
from misodice.callbacks.rollout import Rollout
from misodice.callbacks.stopping import SaveWhenStopped
from misodice.data.columns import column_fingerprint
from misodice.data.ranking import Ranking, top_k, write_labels
from misodice.datamodules.table import Transitions
from misodice.errors import MisodiceError
from misodice.modules.policy import Policy
from misodice.modules.reward_stage import Preference
from misodice.modules.stage import Stage
from misodice.pipeline.stage_cache import SharedStages
from misodice.runs.run_dir import RunDir, check_version, fingerprint

# Trainer options that say how to show or where to write do not change what is learnt.
SHOWN = ("logger", "enable_", "default_root_dir", "log_every", "profiler", "max_time")
# Nor do how long a stage trains (where it is of `any_length`), or the callbacks, make a checkpoint unfit to go on from.
STAGE_LENGTH = ("epochs", "patience")
TRAINER_LENGTH = ("max_epochs", "max_steps", "min_epochs", "min_steps")


class StageProgress(RichProgressBar):
    """Rich progress bar that names the stage and its place, "2/3 value"."""

    def __init__(self, stage: str) -> None:
        super().__init__()
        self.stage = stage

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        return {"stage": self.stage} | {
            k: v for k, v in super().get_metrics(trainer, pl_module).items() if k != "v_num"
        }


def columns_read(stage: Stage, ranking: Ranking) -> tuple[str, ...]:
    """The columns that `stage` depends on: those it reads, and the reward that D_E is ranked by if it knows D_E."""
    ranked_by = ("reward",) if stage.needs_experts and ranking == "preference" else ()
    return (*stage.reads, *ranked_by)


def needed(stages: Sequence[Stage], ranking: Ranking) -> list[Stage]:
    """The stages that the last one needs, in order: those whose columns it reads, and what they read in turn.

    Raises:
        MisodiceError: a stage reads a column that none before it writes.
    """
    chosen = [stages[-1]]
    missing = set(columns_read(stages[-1], ranking))
    for stage in reversed(stages[:-1]):
        if missing & set(stage.writes):
            chosen.insert(0, stage)
            missing = missing - set(stage.writes) | set(columns_read(stage, ranking))
    if missing:
        raise MisodiceError(
            f"column {sorted(missing)[0]!r} is read, but no stage writes it: local_weight is OMAPL's alone "
            "(--preference OMAPL); look at policy.weight and value.ratio"
        )
    return chosen


@dataclass
class Pipeline:
    """One run of the stages.

    Args:
        stages: those to be trained, in order (see `needed`).
        data: attached to the episodes file.
        run: where everything is written.
        trainer: the Trainer's arguments, shared by all stages.
        options: the whole config in plain values, for fingerprints.
        seed: of everything random.
        console: where one line for each stage that is skipped goes.
        labels: fingerprint of the answered pairs; None where none are asked for.
        rollout: evaluates the policy while it trains.
        shared: finished stages of other runs; None where none are looked for.
    """

    stages: Sequence[Stage]
    data: Transitions
    run: RunDir
    trainer: Namespace
    options: dict[str, Any]
    seed: int
    console: Console
    rollout: Rollout
    labels: str | None
    shared: SharedStages | None
    marks: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.fast = bool(self.trainer.fast_dev_run)
        self.marks, self.resume_marks = self._fingerprints(self.options)

    def _fingerprints(self, options: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
        """What makes each stage: its config, the columns it reads, D_E if it knows it, and the data.

        The second of the two leaves out how long the stage itself trains, if that may change; what it reads is the same
        column in both.
        """

        def without(block: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
            inner = {"init_args": without(block["init_args"], names)} if block.get("init_args") else {}
            return {key: value for key, value in block.items() if key not in names} | inner

        data = options["data"]
        trainer = {key: value for key, value in options["trainer"].items() if not key.startswith(SHOWN)}
        digest = self.data.digest, __version__
        marks: dict[str, str] = {}
        resume_marks: dict[str, str] = {}
        written: dict[str, str] = {}
        for stage in self.stages:
            inputs: list[Any] = [written[column] for column in columns_read(stage, data["ranking"])]
            if stage.needs_experts:
                inputs += [data["ranking"], data["k"], data["held_out"]]
            if isinstance(stage, Preference):
                inputs += [self.labels, options["labels"]["held_out"]]
            else:
                inputs.append(data["batch_size"])
            own = options[stage.name]
            marks[stage.name] = fingerprint((digest, self.seed, trainer), stage.name, own, inputs)
            going_on = without(trainer, ("callbacks",))
            if stage.any_length:
                own, going_on = without(own, STAGE_LENGTH), without(going_on, TRAINER_LENGTH)
            resume_marks[stage.name] = fingerprint((digest, self.seed, going_on), stage.name, own, inputs)
            written |= dict.fromkeys(stage.writes, marks[stage.name])
        marks["labels"] = fingerprint(digest, data["ranking"], data["k"], written.get("reward"))
        return marks, resume_marks

    def fit(self, resume: bool) -> None:
        """Train every stage that is not up to date; with `resume`, go on from an interrupted one's last checkpoint."""
        todo = [stage for stage in self.stages if not self._up_to_date(stage)]
        if self.data.ranking != "preference":
            self._write_labels()
        for stage in self.stages:
            if stage not in todo:
                folder = self.run.path / stage.name
                self.console.print(f"{stage.name}: up to date ({folder}), not trained again")
                if self.shared:
                    self.shared.publish(stage, self.marks[stage.name])
            elif self.fast or not self.shared:
                self._fit_stage(stage, resume)
            else:
                with self.shared.turn(stage, self.marks[stage.name], partial(self._up_to_date, stage)) as mine:
                    if mine:
                        self._fit_stage(stage, resume)
            if isinstance(stage, Preference) and self.data.ranking == "preference":
                self._write_labels()

    def _write_labels(self) -> None:
        if not self.fast and not self.console.quiet:
            score = self.data.score
            write_labels(self.run.path / "labels.h5", score, top_k(score, self.data.k), self.marks["labels"])

    def _up_to_date(self, stage: Stage) -> bool:
        mark = self.marks[stage.name]
        record = self.run.stage_record(stage.name)
        if self.fast or record is None or record["fingerprint"] != mark:
            return False
        columns_fit = all(column_fingerprint(self.run.columns, column) == mark for column in stage.writes)
        return columns_fit and self.run.checkpoint(stage.name).is_file()

    def _fit_stage(self, stage: Stage, resume: bool) -> None:
        # Before each stage, so that its result does not depend on whether the earlier ones ran or were restored.
        seed_everything(self.seed, workers=True, verbose=False)
        mark = self.marks[stage.name]
        stage.fingerprint = self.resume_marks[stage.name]
        self.data.stage = stage
        if self.fast:
            self._train(self._trainer(stage, []), stage, None)
            return
        best, last = self._checkpoints(stage)
        writer = ColumnWriter(self.run.columns, mark)
        with SaveWhenStopped(self.run.checkpoint(stage.name)) as stopping:
            # `best` before `last`, which says where the best is: killed in between, the epoch is made again.
            trainer = self._trainer(stage, [stopping, writer, *filter(None, [best]), last])
            started = time.perf_counter()
            self._train(trainer, stage, self._resume_path(trainer, stage) if resume else None)
            seconds = time.perf_counter() - started
            stopping.stop_if_asked(trainer)
            if stage.writes:
                # Not by `ckpt_path`: an averaging callback would put the last step's weights in place of its averages.
                kept = torch.load((best or last).best_model_path, map_location="cpu", weights_only=True)
                stage.load_state_dict(kept["state_dict"])
                trainer.predict(stage, datamodule=self.data, return_predictions=False)
            stopping.stop_if_asked(trainer)
        if trainer.is_global_zero:
            samples = trainer.global_step * self.data.train_dataloader().batch_size * trainer.world_size
            record = {
                "fingerprint": mark,
                "steps": trainer.global_step,
                "seconds": seconds,
                "samples_per_second": samples / seconds,
                "metrics": writer.metrics,
            }
            self.run.write_stage_record(stage.name, record)
        trainer.strategy.barrier()

    def _train(self, trainer: Trainer, stage: Stage, ckpt_path: str | None) -> None:
        try:
            trainer.fit(stage, datamodule=self.data, ckpt_path=ckpt_path, weights_only=True)
        except SystemExit:
            if trainer.interrupted:  # Lightning turns Ctrl-C into this
                raise KeyboardInterrupt from None
            raise

    def _checkpoints(self, stage: Stage) -> tuple[ModelCheckpoint | None, ModelCheckpoint]:
        """`best.ckpt` where the stage monitors something that is held out, and `last.ckpt` of every epoch."""
        folder = self.run.path / stage.name
        last = ModelCheckpoint(folder, filename="last", enable_version_counter=False)
        if not stage.monitor:
            return None, last
        if not stage.holds_out(self.data):
            self.console.print(f"{stage.name}: nothing is held out (…held_out, data.k): the last epoch is kept")
            return None, last
        return ModelCheckpoint(folder, filename="best", monitor=stage.monitor, enable_version_counter=False), last

    def _trainer(self, stage: Stage, callbacks: list[Callback]) -> Trainer:
        """A new Trainer from the one shared config: one used again would train 0 steps."""
        config = self.trainer.clone()
        config.callbacks = [*copy.deepcopy(_as_list(config.callbacks)), *callbacks]
        if stage.monitor and stage.patience and not self.fast and stage.holds_out(self.data):
            config.callbacks.append(EarlyStopping(stage.monitor, patience=stage.patience))
        if isinstance(stage, Policy):
            config.callbacks.append(self.rollout)
        if config.enable_progress_bar is not False:
            place = self.stages.index(stage) + 1
            config.callbacks.append(StageProgress(f"{place}/{len(self.stages)} {stage.name}"))
        if config.max_epochs is None:
            config.max_epochs = stage.epochs
        if not self.fast:
            folder = self.run.path / stage.name
            folder.mkdir(parents=True, exist_ok=True)
            extra = [logger for logger in _as_list(config.logger) if isinstance(logger, Logger)]
            config.logger = [CSVLogger(folder, name="", version=""), *copy.deepcopy(extra)]
        config.plugins = [*_as_list(config.plugins), WholeCheckpoints()]
        config.enable_model_summary = bool(config.enable_model_summary)
        config.num_sanity_val_steps = 0
        return Trainer(**vars(config))

    def _resume_path(self, trainer: Trainer, stage: Stage) -> str | None:
        path = self.run.checkpoint(stage.name)
        if not path.is_file():
            return None
        found = torch.load(path, map_location="cpu", weights_only=True)
        check_version(path, found.get("misodice_version"))
        if found["fingerprint"] != stage.fingerprint:
            self.console.print(f"{stage.name}: {path} is of another config or input; training anew")
            return None
        self.console.print(f"{stage.name}: going on from {path}")
        self._log_again(trainer.loggers[0], stage, found["global_step"])
        return str(path)

    def _log_again(self, logger: Logger, stage: Stage, steps: int) -> None:
        """What was logged in the first `steps` steps: CSVLogger begins a new file, and the curves must be whole."""
        for row in self.run.log(stage.name):
            step, logged = int(row.pop("step")), {name: value for name, value in row.items() if value}
            if step < steps:
                values = {name: int(value) if name == "epoch" else float(value) for name, value in logged.items()}
                logger.log_metrics(values, step)


def _as_list(given: Any) -> list[Any]:
    """Lightning takes one callback, logger or plugin, several, or none."""
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
