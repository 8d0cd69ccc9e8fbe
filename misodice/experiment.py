"""Experiment: what `fit`, `label` and `test` do, for Python and for the command line alike."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from lightning.pytorch.utilities import rank_zero_only

from misodice.callbacks.rollout import LogRollouts
from misodice.data.columns import Columns
from misodice.data.content import content_digest
from misodice.data.episodes import Episodes
from misodice.data.pairs import LabelledPairs
from misodice.data.preferences import Preferences
from misodice.data.ranking import check_ranking
from misodice.datamodules.options import Data
from misodice.envs import Engine, engine_of_file
from misodice.errors import MisodiceError
from misodice.labelling.job import LabelJob
from misodice.labelling.labels import Labels
from misodice.labelling.report import label_figures, show_labels
from misodice.modules import OMAPL, Discriminator, Policy, RewardStage, Stage, Value
from misodice.pipeline.loggers import RunNames
from misodice.pipeline.marks import Marks, marks_of
from misodice.pipeline.order import needed
from misodice.pipeline.pipeline import Pipeline
from misodice.pipeline.precision import note_on_precision
from misodice.pipeline.quiet import quiet_lightning
from misodice.pipeline.slots import SLOTS, check_slots
from misodice.pipeline.stage_cache import StageCache
from misodice.pipeline.together import minibatches_of
from misodice.pipeline.trainers import TrainerOptions
from misodice.result import Result
from misodice.rollout.data_file import check_against_env, find_or_make
from misodice.rollout.evaluation import Evaluation, Rollout, evaluate, print_result
from misodice.rollout.film import film
from misodice.runs.configs import with_whole_paths
from misodice.runs.console import console
from misodice.runs.differences import differences
from misodice.runs.files import write_json, write_text
from misodice.runs.fingerprint import fingerprint
from misodice.runs.limits import PATH, SEED, Limit, check_limits, or_none
from misodice.runs.memory import keep_freed_memory
from misodice.runs.parts import check_kind, config_of
from misodice.runs.run_dir import RunDir, versions

LIMITS = {
    "run_dir": or_none(PATH),
    "method": Limit(
        "a name without /, \\ and line breaks, which names a folder",
        lambda value: (
            isinstance(value, str)
            and value.strip() not in ("", ".", "..")
            and value.isprintable()
            and not set(value) & set("/\\")
        ),
    ),
    "seed": SEED,
    "shared_stages": or_none(PATH),
}


@dataclass(frozen=True)
class Ready:
    """What is to be trained, its pairs and who answered them (None where no stage needs any), and the saved config."""

    pipeline: Pipeline
    preferences: Preferences | None
    labeller: str | None
    config: dict[str, Any]


class Experiment:
    """One run: its data, its labels, its stages in order, and where its results go.

    Example:
        >>> experiment = Experiment(env=SMAX("zerg_5_vs_5"), value=Value(alpha=0.1), run_dir="runs/mine")
        >>> result = experiment.fit()
        >>> result.normalised_score, experiment.columns["weight"].mean()

    Args:
        env: where the policy is rolled out; None takes what the episodes file says, if that is a built-in engine, and
            else trains without rollouts.
        data: which episodes, and how D_E is chosen.
        labels: which pairs are asked, and who answers.
        preference: learns a reward from the answers.
        discriminator: the ratio stage, which writes `log_ratio`.
        value: the weight stage, which writes `weight`.
        policy: the policy stage, which has act(obs, available_actions).
        rollout: how many episodes are played, and how often.
        trainer: options of Lightning's Trainer, for every stage.
        run_dir: folder of the results; None is runs/<task>/<method>/seed_<seed>.
        method: name of the method in results.
        seed: of everything random.
        shared_stages: folder of finished stages and answers, found by fingerprint: what is there is taken, what is
            trained is put there, and runs that need the same at once wait for one of them.
        trainer_config: `trainer` as plain values, for config.yaml; None describes the objects.

    Raises:
        MisodiceError: a stage is made for another slot, or an option is wrong.
    """

    def __init__(
        self,
        env: Engine | None = None,
        data: Data | None = None,
        labels: Labels | None = None,
        preference: RewardStage | None = None,
        discriminator: Stage | None = None,
        value: Stage | None = None,
        policy: Stage | None = None,
        rollout: Rollout | None = None,
        trainer: Mapping[str, Any] | None = None,
        run_dir: str | Path | None = None,
        method: str = "misodice",
        seed: int = 0,
        shared_stages: str | Path | None = None,
        trainer_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.env = env
        self.data = Data() if data is None else data
        self.labels = Labels() if labels is None else labels
        self.rollout = Rollout() if rollout is None else rollout
        self.stages: tuple[Stage, ...] = (
            OMAPL() if preference is None else preference,
            Discriminator() if discriminator is None else discriminator,
            Value() if value is None else value,
            Policy() if policy is None else policy,
        )
        expected: dict[str, tuple[Any, type]] = {
            **{slot: (stage, Stage) for slot, stage in zip(SLOTS, self.stages, strict=True)},
            "env": (env, Engine | None),  # type: ignore[dict-item]
            "data": (self.data, Data),
            "labels": (self.labels, Labels),
            "rollout": (self.rollout, Rollout),
        }
        for name, (given, kind) in expected.items():
            check_kind(name, given, kind)
        check_limits("", LIMITS, {"run_dir": run_dir, "method": method, "seed": seed, "shared_stages": shared_stages})
        check_slots(self.stages)
        self.method, self.seed = method, seed
        self.trainer = TrainerOptions({} if trainer is None else trainer, trainer_config, self.stages)
        task = env.task if env is not None else Path(self.data.path or "run").stem
        place = Path("runs") / task / method / f"seed_{seed}" if run_dir is None else Path(run_dir)
        # fast_dev_run leaves nothing: its folder is removed at the end.
        self.run = RunDir(place.with_name(f".{place.name}.fast_dev_run") if self.trainer.fast else place)
        if shared_stages and Path(shared_stages).exists() and not Path(shared_stages).is_dir():
            raise MisodiceError(f"shared_stages: {shared_stages} is a file, expected a folder; name another one")
        self.shared_stages = Path(shared_stages) if shared_stages and not self.trainer.fast else None
        self.is_global_zero = self.trainer.alone or getattr(rank_zero_only, "rank", 0) == 0
        self.console = console(quiet=not self.is_global_zero)

    @property
    def config(self) -> dict[str, Any]:
        """All options as plain values, as config.yaml has them."""
        return {
            "seed_everything": self.seed,
            "method": self.method,
            "run_dir": str(self.run.path),
            "shared_stages": None if self.shared_stages is None else str(self.shared_stages),
            "env": config_of(self.env),
            "data": config_of(self.data)["init_args"],
            "labels": config_of(self.labels)["init_args"],
            **{stage.name: config_of(stage) for stage in self.stages},
            "rollout": config_of(self.rollout)["init_args"],
            "trainer": self.trainer.described,
        }

    @property
    def policy(self) -> Any:
        """The trained policy: `policy.act(obs, available_actions)`."""
        # A class of a notebook or of a function cannot be found by its name; the experiment has it.
        return self.stages[-1].load(self.run.checkpoint("policy"), like=self.stages[-1])

    @property
    def columns(self) -> Columns:
        """What the stages wrote: "reward", "log_ratio", "weight", one entry a transition."""
        return Columns(self.run.columns)

    @property
    def result(self) -> Result:
        """The summary of the finished run."""
        return Result.read(self.run.path)

    @cached_property
    def path(self) -> Path:
        """The episodes file, which is made where none is named."""
        return find_or_make(self.data.path, self.env, self.is_global_zero, self.console)

    @cached_property
    def episodes(self) -> Episodes:
        """D_U."""
        episodes = Episodes.read(self.path)
        check_ranking(episodes, self.data.ranking, self.data.k, str(self.path))
        return episodes

    @cached_property
    def digest(self) -> str:
        """Hash of what the episodes file says, and not of its bytes."""
        return content_digest(self.episodes)

    @cached_property
    def engine(self) -> Engine | None:
        """Where the policy is rolled out, held against the file; None where nothing can be played."""
        header = self.episodes.header.env
        engine = self.env if self.env is not None else engine_of_file(header)
        if engine is None:
            named = f"engine {header['engine']!r}, which is not built in" if header.get("engine") else "no engine"
            self.console.print(
                f"{self.path}: names {named}, and no env is given: nothing is rolled out", highlight=False
            )
            return None
        return check_against_env(self.path, self.episodes, engine, self.console)

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """Plays the policy; None where nothing can be played."""
        return None if self.engine is None else Evaluation(self.engine, self.rollout.episodes, self.seed)

    def fit(
        self, ckpt_path: str | None = None, retrain: str | Sequence[str] = (), replace: bool = False
    ) -> Result | None:
        """Train what is not up to date, in order; roll the policy out; write summary.json.

        Args:
            ckpt_path: "last" goes on with an interrupted stage from its last checkpoint.
            retrain: stages that are trained anew even if they are up to date, and with them those that come after.
            replace: replace a finished run of other options or other data that lies in the run directory.

        Returns:
            The result; None after fast_dev_run, and in all processes of a distributed run but the first.

        Raises:
            MisodiceError: an option, a file or the environment does not fit, or a finished run of other options or
                data is in the run directory; nothing is trained then.
        """
        again = [retrain] if isinstance(retrain, str) else list(retrain)
        unknown = [name for name in again if name not in SLOTS]
        if unknown:
            raise MisodiceError(f"retrain: unknown stage {unknown[0]!r}, expected some of {', '.join(SLOTS)}")
        if ckpt_path not in (None, "last"):
            raise MisodiceError(
                f"ckpt_path: found {ckpt_path!r}, expected 'last', which goes on with an interrupted run; `fit` starts "
                "from no other checkpoint"
            )
        # SLURM starts a requeued job with the same command.
        resume = ckpt_path == "last" or os.environ.get("SLURM_RESTART_COUNT", "0").strip() not in ("", "0")
        with self._working():
            chosen = needed(self.stages, self.data.ranking)
            ready = self._prepare(chosen, again, resume, replace)
            if self.is_global_zero:
                self._save_config(ready)
            ready.pipeline.fit(resume)
            if self.trainer.fast:
                self.console.print("fast_dev_run: every stage has run; nothing of it is kept")
            if not self.is_global_zero or self.trainer.fast:
                return None
            self.run.join_metrics([stage.name for stage in chosen])
            return self._summarise(ready)

    def label(
        self, show: int | None = None, dry_run: bool = False, output: str | None = None, replace: bool = False
    ) -> None:
        """Phase 1 alone: ask for preferences, learn the reward, rank the episodes.

        Args:
            show: print this many pairs as the labeller sees them, with its answers so far, and do nothing else.
            dry_run: print what the answers would cost, and do nothing else.
            output: with show: text file to write the pairs to, whole, in place of the terminal; it must not exist.
            replace: replace Phase 1 of a finished run of other options or other data in the run directory.
        """
        if show is not None and dry_run:
            raise MisodiceError("show and dry_run were both given, and each does nothing else; give one of them")
        if output is not None and show is None:
            raise MisodiceError(f"output is {output!r}, which goes with show alone; give --show 3 too")
        if output is not None:
            check_limits("", {"output": PATH}, {"output": output})
        if show is not None:
            self._label_job().show(show, None if output is None else Path(output))
        elif dry_run:
            self._label_job().estimate()
        else:
            with self._working():
                ready = self._prepare(self.stages[:1], [], False, replace, ask_again=True)
                ready.pipeline.fit(resume=False)
                if self.is_global_zero and not self.trainer.fast:
                    self._show_labels(self._label_figures(ready), ready.pipeline)
                    self.console.print("to train on these answers, give the same command with fit in place of label")

    def test(self, ckpt_path: str | None = None, video: str | None = None) -> dict[str, Any]:
        """Roll a trained policy out.

        Args:
            ckpt_path: of a policy; None, "last" and "best" are the run's own.
            video: file to write a film of greedy episodes to (.mp4), for engines that can be drawn.

        Returns:
            The figures that stand as "rollout" in summary.json.

        Raises:
            MisodiceError: there is no such policy, or no environment to play in.
        """
        own = ckpt_path in (None, "best", "last")
        policy: Any = self.policy if own else self.stages[-1].load(str(ckpt_path))
        if self.engine is None or self.evaluation is None:
            raise MisodiceError(f"{self.path}: names no built-in engine, so nothing can be played; name one by --env")
        with quiet_lightning():
            result = evaluate(policy, self.evaluation, self.episodes, self.console)
            print_result(self.method, result, self.episodes, self.console)
            if video is not None:
                film(policy, self.engine, Path(video), self.seed, self.console)
        return result

    def validate(self, ckpt_path: str | None = None) -> dict[str, Any]:
        """The same as `test`.

        Args:
            ckpt_path: of a policy; None, "last" and "best" are the run's own.
        """
        return self.test(ckpt_path)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """The run directory is this process's and those that it starts for other devices."""
        with ExitStack() as held:
            held.enter_context(quiet_lightning())
            if note := note_on_precision(self.trainer.plain()):
                self.console.print(note, highlight=False)
            keep_freed_memory()
            self.trainer.loggers.check(RunNames(self.run.path, self.method, self.seed, {}))
            machines = self.trainer.given.get("num_nodes") or 1
            if machines > 1:
                self.console.print(
                    f"a run of {machines} machines: it begins when each of them has started this command"
                )
            if self.is_global_zero:
                held.enter_context(self.run.hold())
                if self.trainer.fast:
                    held.callback(shutil.rmtree, self.run.path)
            yield

    def _label_job(self) -> LabelJob:
        return LabelJob(
            self.labels,
            self.episodes,
            self.digest,
            self.run.path,
            self.shared_stages,
            self.is_global_zero,
            self.console,
        )

    def _prepare(
        self, stages: Sequence[Stage], retrain: list[str], resume: bool, replace: bool, ask_again: bool = False
    ) -> Ready:
        """The stages on their data, every pair answered that they learn from."""
        evaluation = self.evaluation  # first: what cannot be played is told before anybody is asked
        for stage in stages:
            minibatches_of(stage, self.data.minibatches, self.trainer, "cpu")  # so is what cannot be trained together
        job = self._label_job() if any(stage.needs_pairs for stage in stages) else None
        config = self._config_with(job)
        if not replace and not self.trainer.fast:
            self._keep_finished(stages[-1].name, self._marks(stages, job), config, resume)
        if job is not None and not self.trainer.fast:
            job.check()
        preferences = None if job is None else self._answers(job, ask_again)
        pairs = None if preferences is None else LabelledPairs.of(preferences, self.labels.held_out, self.seed)
        rollouts = None
        if evaluation is not None and stages[-1] is self.stages[-1] and not self.trainer.fast:
            rollouts = LogRollouts(evaluation, self.rollout.every_n_epochs)
        shared = self.shared_stages
        pipeline = Pipeline(
            stages=stages,
            episodes=self.episodes,
            data=self.data,
            pairs=pairs,
            marks=self._marks(stages, job),
            run=self.run,
            trainer=self.trainer,
            seed=self.seed,
            rollouts=rollouts,
            cache=StageCache(shared, self.run, self.is_global_zero, self.console) if shared else None,
            retrain=retrain,
            is_global_zero=self.is_global_zero,
            console=self.console,
            names=RunNames(self.run.path, self.method, self.seed, config),
        )
        return Ready(pipeline, preferences, None if job is None else job.labeller, config)

    def _marks(self, stages: Sequence[Stage], job: LabelJob | None) -> Marks:
        answers = None
        if job is not None:
            # A pair that is left out now may have an answer in a later run.
            without = [sorted(job.left_out)] if job.left_out else []
            answers = fingerprint(job.fingerprint, self.labels.held_out, *without)
        return marks_of(stages, self.data, self.digest, self.trainer, self.seed, answers)

    def _answers(self, job: LabelJob, ask_again: bool) -> Preferences:
        if self.trainer.fast:
            # fast_dev_run asks nobody: that the first is always better is as good as any answer.
            return Preferences(job.pairs, np.zeros(len(job.pairs), np.int8), {})
        return job.answer(ask_again)

    def _keep_finished(self, stage: str, marks: Marks, config: dict[str, Any], resume: bool) -> None:
        """Refuse to replace a finished run. Edits of the user's own code are not refused: its options are the same.

        Args:
            stage: the last one of this command.
            marks: fingerprints of the stages as they are now.
            config: all options as they are now.
            resume: whether the run is gone on with, so that only the length of the training may differ.
        """
        summary, record = self.run.summary(), self.run.stage_record(stage)
        if summary is None or record is None or record["fingerprint"] == marks.stages[stage]:
            return
        changes = differences(self.run.config(), config, longer=resume)
        found = summary.get("data") or {}
        if found.get("digest") != self.digest:
            changes.insert(0, f"data: other episodes than {found.get('path')} had then")
        if changes:
            raise MisodiceError(
                f"{self.run.path}: holds a finished run of other options ({'; '.join(changes)}); choose another "
                "--run_dir, or another --method, which is part of its default, or replace it by --replace true (in "
                "Python fit(replace=True))"
            )

    def _config_with(self, job: LabelJob | None) -> dict[str, Any]:
        """The config as it is saved: what was found is in it, and files are named by paths that hold in every folder.

        Args:
            job: the pairs, whose answers may be those of another labeller; None where nobody is asked.
        """
        config = self.config
        config["data"] = config["data"] | {"path": str(self.path.resolve())}
        config["env"] = config_of(self.engine)
        config["labels"] = with_whole_paths(config["labels"] if job is None else job.options)
        return config

    def _save_config(self, ready: Ready) -> None:
        summary = self.run.summary()
        if summary is not None and summary.get("fingerprint") != ready.pipeline.marks.stages["policy"]:
            # The results that lie there are of what is replaced here.
            self.run.forget_summary()
        text = yaml.safe_dump(ready.config, sort_keys=False, allow_unicode=True)
        write_text(self.run.path / "config.yaml", text)

    def _label_figures(self, ready: Ready) -> dict[str, Any]:
        """The `labels` part of summary.json."""
        pipeline, learnt = ready.pipeline, ready.preferences is not None
        return label_figures(
            episodes=self.episodes,
            ranking=self.data.ranking,
            k=self.data.k,
            score=pipeline.score if learnt or self.data.ranking != "preference" else None,
            recovered=pipeline.recovered if learnt else None,
            preferences=ready.preferences,
            pairs=pipeline.pairs,
            labeller=ready.labeller,
        )

    def _show_labels(self, figures: dict[str, Any], pipeline: Pipeline) -> None:
        """The same as a table and a picture."""
        recovered = None if pipeline.pairs is None else pipeline.recovered
        show_labels(figures, self.episodes, self.data.ranking, self.data.k, recovered, self.run.path, self.console)

    def _summarise(self, ready: Ready) -> Result:
        pipeline = ready.pipeline
        engine, header = self.engine, self.episodes.header.env
        result = None
        if self.evaluation is not None:
            result = evaluate(self.policy, self.evaluation, self.episodes, self.console)
        records = {stage.name: self.run.stage_record(stage.name) or {} for stage in pipeline.stages}
        summary: dict[str, Any] = {
            "task": header.get("task", self.path.stem) if engine is None else engine.task,
            "engine": header.get("engine") if engine is None else engine.name,
            "env": header if self.evaluation is None else self.evaluation.played_on,
            "data": {"path": str(self.path), "digest": self.digest},
            "method": self.method,
            "seed": self.seed,
            "labels": self._label_figures(ready),
            "stages": {
                name: {key: record.get(key) for key in ("steps", "seconds", "samples_per_second")}
                for name, record in records.items()
            },
            "rollout": result,
            "versions": versions(),
            "fingerprint": pipeline.marks.stages["policy"],
        }
        # First of all: what is printed or drawn may fail.
        write_json(self.run.path / "summary.json", summary)
        self._show_labels(summary["labels"], pipeline)
        if result is not None:
            print_result(self.method, result, self.episodes, self.console)
        self.console.print(f"written: {self.run.path}")
        return Result(self.run.path, summary)
