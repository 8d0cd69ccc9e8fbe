"""Trains what is not up to date, one stage after another, each with a Trainer of its own."""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from lightning import Callback, Trainer, seed_everything
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from rich.console import Console

from misodice.callbacks.checkpoints import Best, Last, read_checkpoint
from misodice.callbacks.clock import RunClock
from misodice.callbacks.column_writer import ColumnWriter
from misodice.callbacks.lines import StageLines
from misodice.callbacks.marking import Mark
from misodice.callbacks.progress import StageBar
from misodice.callbacks.rollout import LogRollouts
from misodice.callbacks.stopping import SaveWhenStopped
from misodice.callbacks.watching import Watching
from misodice.data.columns import column_fingerprint, read_column
from misodice.data.episodes import Episodes
from misodice.data.pairs import LabelledPairs
from misodice.data.ranking import rank_episodes, recovered_returns, top_k, write_labels
from misodice.datamodules.base import StageData
from misodice.datamodules.experts import Experts
from misodice.datamodules.inputs import Inputs, ReadColumns
from misodice.datamodules.options import Data
from misodice.datamodules.table import TransitionTable
from misodice.errors import MisodiceError
from misodice.modules.stage import Stage
from misodice.pipeline.expected import expected_steps
from misodice.pipeline.loggers import RunLoggers, RunNames
from misodice.pipeline.marks import Marks
from misodice.pipeline.rehearsal import rehearse
from misodice.pipeline.run_logs import RunLogs
from misodice.pipeline.stage_cache import StageCache
from misodice.pipeline.together import minibatches_of
from misodice.pipeline.trainer_checks import one_line
from misodice.pipeline.trainers import TrainerOptions
from misodice.runs.run_dir import RunDir, check_version


@dataclass(frozen=True)
class Pipeline:
    """One run of the stages.

    Args:
        stages: those to be trained, in order (see `order.needed`). They are copied: a run leaves them as they are.
        episodes: D_U.
        data: how D_E is chosen.
        pairs: labelled pairs; None where no stage needs them.
        marks: fingerprints of the stages.
        run: where everything is written.
        trainer: the Trainer's options.
        seed: of everything random.
        rollouts: evaluates the last stage while it trains; None plays nothing.
        cache: finished stages of other runs; None where none are looked for.
        retrain: names of stages that are trained anew even if they are up to date.
        is_global_zero: whether this process writes and speaks for all.
        console: where lines on the stages go; the progress bar too, if it is a terminal.
        names: what loggers are told of the run.
    """

    stages: Sequence[Stage]
    episodes: Episodes
    data: Data
    pairs: LabelledPairs | None
    marks: Marks
    run: RunDir
    trainer: TrainerOptions
    seed: int
    rollouts: LogRollouts | None
    cache: StageCache | None
    retrain: Collection[str]
    is_global_zero: bool
    console: Console
    names: RunNames

    @cached_property
    def table(self) -> TransitionTable:
        """D_U as tensors, on the device of the training."""
        return TransitionTable.of(self.episodes).on(self.trainer.plain().strategy.root_device)

    @property
    def recovered(self) -> np.ndarray:
        """G(σ) = Σ R(s, a) of every episode, [E], once the preference stage has written `reward` (Algorithm 2)."""
        return recovered_returns(read_column(self.run.columns, "reward"), self.episodes.length)

    @property
    def score(self) -> np.ndarray:
        """What the episodes are ranked by, [E]; by "preference" once the preference stage has written `reward`."""
        ranking = self.data.ranking
        return self.recovered if ranking == "preference" else rank_episodes(self.episodes, ranking)

    def fit(self, resume: bool) -> None:
        """Train every stage that is not up to date; with `resume`, go on from an interrupted one's last checkpoint."""
        todo = [stage for stage in self.stages if not self._up_to_date(stage)]
        if todo:
            rehearse(todo, self.table.spec)
        together = {stage.name: self._minibatches(stage) for stage in todo}
        clock = RunClock({stage.name: self._expected_steps(stage) for stage in todo})
        logs = self._logs([stage.name for stage in self.stages if stage not in todo])
        if self.data.ranking != "preference":
            self._write_labels()
        for stage in self.stages:
            if stage not in todo:
                folder = self.run.path / stage.name
                self.console.print(f"{stage.name}: up to date ({folder}), not trained again")
                if self.cache:
                    self.cache.publish(stage, self.marks.stages[stage.name])
            elif self.cache is None or self._again(stage):
                self._fit_stage(stage, together[stage.name], resume, clock, logs)
            else:
                with self.cache.turn(stage, self.marks.stages[stage.name], partial(self._up_to_date, stage)) as mine:
                    if mine:
                        self._fit_stage(stage, together[stage.name], resume, clock, logs)
            clock.end(stage.name)
            logs.current.add(stage.name)
            if "reward" in stage.writes and self.data.ranking == "preference":
                self._write_labels()

    def _again(self, stage: Stage) -> bool:
        """Whether it is to be trained in any case, since it or a stage before it was named."""
        before = [each.name for each in self.stages[: self.stages.index(stage) + 1]]
        return any(name in self.retrain for name in before)

    def _write_labels(self) -> None:
        if self.is_global_zero:
            score = self.score
            write_labels(self.run.path / "labels.h5", score, top_k(score, self.data.k), self.marks.labels)

    def _up_to_date(self, stage: Stage) -> bool:
        mark = self.marks.stages[stage.name]
        record = self.run.stage_record(stage.name)
        if record is None or record["fingerprint"] != mark or self._again(stage):
            return False
        columns_fit = all(column_fingerprint(self.run.columns, column) == mark for column in stage.writes)
        return columns_fit and (self.run.checkpoint(stage.name).is_file() or not stage.trained)

    def _expected_steps(self, stage: Stage) -> int:
        pairs = None if self.pairs is None else int((~self.pairs.held_out).sum())
        return expected_steps(stage, self.episodes.n_transitions, pairs, self.data.batch_size, self.trainer)

    def _minibatches(self, stage: Stage) -> int:
        device = self.trainer.plain().strategy.root_device.type
        together, why = minibatches_of(stage, self.data.minibatches, self.trainer, device)
        if why is not None:
            self.console.print(f"{stage.name}: each step is made by itself: {why}", highlight=False, markup=False)
        return together

    def _logs(self, current: Sequence[str]) -> RunLogs:
        # What fast_dev_run leaves nothing of is not for W&B or TensorBoard either.
        loggers = RunLoggers(None) if self.trainer.fast else self.trainer.loggers
        for note in loggers.notes:
            self.console.print(note, highlight=False, markup=False)
        order = [stage.name for stage in self.stages]
        return RunLogs(self.run, order, current, loggers, self.names, self.is_global_zero)

    def _watching(self, place: str, clock: RunClock) -> Watching:
        """What shows a stage: a bar on a terminal, else lines."""
        # FORCE_COLOR makes any file a terminal for rich; a bar in a log would be a thousand lines.
        terminal = self.console.is_interactive and self.console.file.isatty()
        if self.trainer.shows_bar and not self.trainer.own_bar and terminal:
            # Another console: this one does not wrap lines, and a bar that is too long would break.
            return StageBar(place, clock, Console(file=self.console.file, force_terminal=True))
        return StageLines(place, clock, self.console, epochs=not self.trainer.own_bar)

    def _fit_stage(self, recipe: Stage, minibatches: int, resume: bool, clock: RunClock, logs: RunLogs) -> None:
        # Before each stage, so that its result does not depend on whether the earlier ones ran or were restored.
        seed_everything(self.seed, workers=True, verbose=False)
        clock.begin(recipe.name)
        stage = copy.deepcopy(recipe)
        mark = self.marks.stages[stage.name]
        writer = ColumnWriter(self.run.columns, mark, self.episodes)
        place = f"{self.stages.index(recipe) + 1}/{len(self.stages)} {stage.name}"
        watching = self._watching(place, clock)
        seconds = 0.0
        with SaveWhenStopped(self.run.checkpoint(stage.name)) as stopping:
            datamodule = stage.datamodule(self._inputs(stage))
            if not isinstance(datamodule, StageData):
                raise MisodiceError(
                    f"{stage.name}: {type(stage).__name__}.datamodule returned {type(datamodule).__name__}, expected a "
                    "StageData"
                )
            datamodule.minibatches = minibatches
            best, last = self._checkpoints(stage, datamodule)
            # `best` before `last`, which says where the best is: killed in between, the epoch is made again.
            kept = [callback for callback in (best, last) if callback is not None]
            done = self._steps_done(stage) if resume and stage.trained else None
            with logs.of_stage(stage.name, done) as (loggers, join):
                own = [Mark(self.marks.resume[stage.name]), stopping, writer, join, watching, *kept]
                trainer = self._trainer(recipe, datamodule, loggers, own)
                if stage.trained:
                    started = time.perf_counter()
                    self._train(
                        trainer, stage, datamodule, None if done is None else str(self.run.checkpoint(stage.name))
                    )
                    seconds = time.perf_counter() - started
                    if not (best or last).best_model_path:
                        raise MisodiceError(
                            f"{stage.name}: no epoch was finished, so there is nothing to keep; look at "
                            "trainer.limit_train_batches and data.held_out, and at callbacks of your own"
                        )
                stopping.stop_if_asked(trainer)
                if stage.writes:
                    if stage.trained:
                        # Not by `ckpt_path`: an averaging callback would put the last step's weights in place of its
                        # averages.
                        content = torch.load((best or last).best_model_path, map_location="cpu", weights_only=True)
                        stage.load_state_dict(content["state_dict"])
                    trainer.predict(stage, datamodule=datamodule, return_predictions=False)
                stopping.stop_if_asked(trainer)
        if trainer.is_global_zero:
            samples = 0
            if stage.trained:
                samples = trainer.global_step * datamodule.batch_size * trainer.world_size
            record = {
                "fingerprint": mark,
                "steps": trainer.global_step,
                "seconds": seconds,
                "samples_per_second": samples / seconds if seconds else None,
                "metrics": writer.metrics,
            }
            self.run.write_stage_record(stage.name, record)
        trainer.strategy.barrier()
        line = f"{place}: nothing to train; written: {', '.join(stage.writes)}"
        if stage.trained:
            score = None if best is None or best.best_model_score is None else float(best.best_model_score)
            line = watching.summary(stage, seconds, score)
        self.console.print(line, highlight=False, markup=False)

    def _inputs(self, stage: Stage) -> Inputs:
        table = self.table
        read = {name: torch.from_numpy(read_column(self.run.columns, name)).to(table.device) for name in stage.reads}
        experts = None
        if stage.needs_experts:
            experts = Experts.of(top_k(self.score, self.data.k), self.data.held_out, self.seed)
        return Inputs(
            table=table,
            columns=ReadColumns(f"{stage.name}: {type(stage).__name__}", read),
            experts=experts,
            pairs=self.pairs,
            batch_size=self.data.batch_size,
            seed=self.seed,
        )

    def _train(self, trainer: Trainer, stage: Stage, datamodule: StageData, ckpt_path: str | None) -> None:
        try:
            trainer.fit(stage, datamodule=datamodule, ckpt_path=ckpt_path, weights_only=True)
        except SystemExit:
            if trainer.interrupted:  # Lightning turns Ctrl-C into this
                raise KeyboardInterrupt from None
            raise
        except (MisconfigurationException, RuntimeError) as error:
            # A callback's metric that the stage does not log, or a share of batches that is less than one.
            if isinstance(error, RuntimeError) and "conditioned on metric" not in str(error):
                raise
            raise MisodiceError(f"{stage.name}: an option of trainer cannot be used: {one_line(error)}") from error

    def _checkpoints(self, stage: Stage, datamodule: StageData) -> tuple[ModelCheckpoint | None, ModelCheckpoint]:
        """`best.ckpt` where the stage monitors something that is held out, and `last.ckpt` of every epoch."""
        folder = self.run.path / stage.name
        # At the end of an epoch, however seldom something held out is looked at.
        last = Last(folder, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
        if not stage.monitor:
            return None, last
        if not datamodule.holds_out:
            self.console.print(f"{stage.name}: nothing is held out (…held_out, data.k): the last epoch is kept")
            return None, last
        return Best(folder, filename="best", monitor=stage.monitor, enable_version_counter=False), last

    def _trainer(
        self, stage: Stage, datamodule: StageData, loggers: Sequence[Logger], callbacks: list[Callback]
    ) -> Trainer:
        if stage.monitor and stage.patience and datamodule.holds_out:
            callbacks.append(EarlyStopping(stage.monitor, patience=stage.patience))
        if stage is self.stages[-1] and self.rollouts is not None:
            callbacks.append(self.rollouts)
        return self.trainer.trainer(stage.name, stage.epochs, loggers, callbacks)

    def _steps_done(self, stage: Stage) -> int | None:
        """Steps of the checkpoint that the stage goes on from; None where it is trained anew."""
        path = self.run.checkpoint(stage.name)
        if not path.is_file():
            return None
        found = read_checkpoint(path)
        check_version(path, found.get("misodice_version"))
        if found["fingerprint"] != self.marks.resume[stage.name]:
            self.console.print(f"{stage.name}: {path} is of another config or input; training anew")
            return None
        self.console.print(f"{stage.name}: going on from {path}")
        return int(found["global_step"])
