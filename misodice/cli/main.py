"""The command line: `fit` trains the stages in order; `test` rolls a policy out; the rest dispatches to its module."""

from __future__ import annotations

import copy
import errno
import json
import logging
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console

from misodice.callbacks.rollout import Rollout
from misodice.callbacks.stopping import sigterm_as_ctrl_c
from misodice.cli.commands import COMMANDS, run_command
from misodice.data.preferences import Preferences
from misodice.datamodules.table import Transitions
from misodice.envs import EnvConfig
from misodice.errors import MisodiceError
from misodice.labelling.labels import Labels
from misodice.labelling.report import report_labels
from misodice.modules import Discriminator, Policy, Preference, Value
from misodice.modules.stage import Stage
from misodice.pipeline.pipeline import Pipeline, needed
from misodice.pipeline.precision import warning_of_slow_precision
from misodice.pipeline.stage_cache import SharedStages
from misodice.rollout.evaluation import evaluate, print_result
from misodice.rollout.film import film
from misodice.rollout.source_file import check_against_env, find_or_make
from misodice.runs.files import cannot_write, write_json
from misodice.runs.run_dir import RunDir, versions

PHASE_2: tuple[type[Stage], ...] = (Discriminator, Value, Policy)


class PhaseTrainer(Trainer):
    """Lightning's Trainer, whose methods are LightningCLI's subcommands: one is added, one takes an option more."""

    def test(self, *args: Any, video: str | None = None, **kwargs: Any) -> Any:
        """Roll a trained policy out.

        Args:
            video: file to write a film of greedy episodes to (.mp4), for smax and mamujoco.
        """
        return super().test(*args, **kwargs)

    def label(self, show: int | None = None, dry_run: bool = False) -> None:
        """Phase 1 alone: ask for preferences, learn the reward, rank the episodes.

        Args:
            show: print this many pairs as the labeller sees them, with its answers so far, and do nothing else.
            dry_run: print what the answers would cost, and do nothing else.
        """
        raise NotImplementedError("labelling is no method of one Trainer: run `misodice label`")


class MisodiceCLI(LightningCLI):
    """LightningCLI with several modules, trained one after another, instead of one."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        data = {"model", "datamodule"}
        return {
            "fit": data | {"train_dataloaders", "val_dataloaders"},
            "validate": data | {"dataloaders", "verbose"},
            "test": data | {"dataloaders", "verbose"},
            "label": set(),
        }

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({"trainer.default_root_dir": "runs"})
        parser.add_argument(
            "--run_dir", type=str | None, help="Default: <default_root_dir>/<config>/<method>/seed_<seed>."
        )
        parser.add_argument(
            "--shared_stages",
            type=str | None,
            help="Folder of finished stages and answers, found by fingerprint: what is there is taken, what is trained "
            "is put there, and runs that need the same at once wait for one of them.",
        )
        parser.add_argument("--method", type=str, default="misodice", help="Name of the method in paths and results.")
        parser.add_class_arguments(EnvConfig, "env")
        parser.add_lightning_class_args(Transitions, "data")
        parser.add_class_arguments(Labels, "labels")
        parser.set_defaults({"labels.labeller": {"class_path": "misodice.labelling.RuleLabeller"}})
        parser.add_lightning_class_args(Preference, "preference", subclass_mode=True)
        parser.set_defaults({"preference": {"class_path": "misodice.modules.OMAPL"}})
        for stage in PHASE_2:
            parser.add_lightning_class_args(stage, stage.name)
        parser.add_class_arguments(Rollout, "rollout")

    def _parse_ckpt_path(self) -> None:
        """A checkpoint here belongs to a stage and its sequence, and never overrides the config."""

    def instantiate_classes(self) -> None:
        self.options = self.config[self.subcommand]
        self.config_init = self.parser.instantiate(self.config)
        init = self.config_init[self.subcommand]
        self.datamodule: Transitions = init.data
        self.env: EnvConfig = init.env
        self.rollout: Rollout = init.rollout
        self.labels: Labels = init.labels
        self.stages: list[Stage] = [init[name] for name in ("preference", *(stage.name for stage in PHASE_2))]
        self.model = self.stages[-1]
        self.console = Console(quiet=getattr(rank_zero_only, "rank", 0) != 0, soft_wrap=True)
        # A copy: a Trainer appends its default callbacks to the list that it is given.
        self.trainer_options = copy.deepcopy(init.trainer)
        # Trains nothing itself (each stage gets one of its own), but refuses bad trainer options at once.
        self.trainer = self.instantiate_trainer()
        if slow := warning_of_slow_precision(self.trainer):
            self.console.print(slow, highlight=False)
        self.seed = int(self.options.seed_everything)
        self.run = RunDir(self._run_dir())
        self.shared = Path(self.options.shared_stages) if self.options.shared_stages else None

    def _run_dir(self) -> Path:
        if self.options.run_dir:
            return Path(self.options.run_dir)
        config = Path(str(self.options.config[0])).stem if self.options.config else self.env.task
        root = Path(str(self.options.trainer.default_root_dir))
        return root / config / str(self.options.method) / f"seed_{self.seed}"

    @property
    def fast(self) -> bool:
        """Whether a step of each stage is all there is, and nothing is left of it."""
        return bool(self.options.trainer.fast_dev_run)

    @property
    def is_global_zero(self) -> bool:
        return not self.console.quiet

    def fit(self, ckpt_path: str | None = None, **kwargs: Any) -> None:
        """Train what is not up to date, in order; roll the policy out; write summary.json."""
        # SLURM starts a requeued job with the same command.
        resume = ckpt_path == "last" or int(os.environ.get("SLURM_RESTART_COUNT", "0")) > 0
        with self._alone():
            self._fit(resume)

    def _alone(self) -> AbstractContextManager[None]:
        """The run directory is this process's and those that it starts for other devices."""
        return self.run.hold() if self.is_global_zero and not self.fast else nullcontext()

    def _fit(self, resume: bool) -> None:
        pipeline = self._pipeline(needed(self.stages, self.datamodule.ranking))
        if self.is_global_zero and not self.fast:
            self._save_config()
        pipeline.fit(resume)
        if self.is_global_zero and not self.fast:
            self.run.join_metrics([stage.name for stage in pipeline.stages])
            self._summarise(pipeline)

    def label(self, show: int | None = None, dry_run: bool = False, **kwargs: Any) -> None:
        """Phase 1 alone; or look at pairs, or at the price."""
        if show is not None or dry_run:
            self._prepare_data()
            self._attach_labels()
            if show is not None:
                self.labels.show(show, self.console)
            else:
                self.labels.estimate(self.console)
            return
        with self._alone():
            pipeline = self._pipeline(self.stages[:1])
            pipeline.fit(resume=False)
            if self.is_global_zero and not self.fast:
                self._report_labels(pipeline)

    def _pipeline(self, stages: Sequence[Stage]) -> Pipeline:
        """The stages on their data, every pair answered that they learn from."""
        self._prepare_data()
        if isinstance(stages[0], Preference):
            self._answer_pairs(self.fast)
        return Pipeline(
            stages=stages,
            data=self.datamodule,
            run=self.run,
            trainer=self.trainer_options,
            options=json.loads(self._parser(self.subcommand).dump(self.options, format="json", skip_unset=False)),
            seed=self.seed,
            console=self.console,
            rollout=self.rollout,
            labels=self.labels.fingerprint if isinstance(stages[0], Preference) else None,
            shared=SharedStages(self.shared, self.run, self.console) if self.shared else None,
        )

    def _answer_pairs(self, fast: bool) -> None:
        self._attach_labels()
        if fast:
            # fast_dev_run asks nobody and leaves nothing: that the first is always better is as good as any answer.
            pairs = self.labels.file.pairs
            self.datamodule.prefer(Preferences(pairs, np.zeros(len(pairs), np.int8), {}), self.labels.held_out)
        else:
            self.datamodule.prefer(self.labels.answer(self.is_global_zero, self.console), self.labels.held_out)

    def _attach_labels(self) -> None:
        self.labels.attach(self.datamodule.digest, self.datamodule.episodes, self.run.path, self.shared)

    def _report_labels(self, pipeline: Pipeline) -> dict[str, Any]:
        """The `labels` part of summary.json, also as a table and a picture."""
        learnt = isinstance(pipeline.stages[0], Preference)
        labeller = type(self.labels.labeller).__name__ if learnt else None
        return report_labels(self.datamodule, labeller, self.run.path, self.console)

    def _prepare_data(self) -> None:
        path = find_or_make(self.options.data.path, self.env, self.console, self.is_global_zero)
        self.datamodule.attach(path, self.run.path, self.seed)
        self.env = check_against_env(path, self.datamodule.episodes, self.env, self.console)
        self.options.env.engine = self.env.engine
        self.rollout.attach(self.env, self.seed)
        self.datamodule.check()

    def _save_config(self) -> None:
        # The results that lie there are of the config that is replaced here.
        (self.run.path / "summary.json").unlink(missing_ok=True)
        self.options.run_dir = str(self.run.path)
        self._parser("fit").save(
            self.options, str(self.run.path / "config.yaml"), skip_unset=False, overwrite=True, multifile=False
        )

    def _summarise(self, pipeline: Pipeline) -> None:
        policy = Policy.load(self.run.checkpoint("policy"))
        episodes = self.datamodule.episodes
        result = evaluate(policy, self.rollout, episodes, self.console)
        records = {stage.name: self.run.stage_record(stage.name) or {} for stage in pipeline.stages}
        summary = {
            "task": self.env.task,
            "engine": self.env.engine,
            "env": self.rollout.played_on,
            "data": {"path": str(self.datamodule.file), "digest": self.datamodule.digest},
            "method": self.options.method,
            "seed": self.seed,
            "labels": self._report_labels(pipeline),
            "stages": {
                name: {key: record.get(key) for key in ("steps", "seconds", "samples_per_second")}
                for name, record in records.items()
            },
            "rollout": result,
            "versions": versions(),
            "fingerprint": pipeline.marks["policy"],
        }
        write_json(self.run.path / "summary.json", summary)
        print_result(str(self.options.method), result, episodes, self.console)
        self.console.print(f"written: {self.run.path}")

    def test(self, ckpt_path: str | None = None, video: str | None = None, **kwargs: Any) -> None:
        """Roll a trained policy out on the engine of its data, and film it."""
        path = self.run.checkpoint("policy") if ckpt_path in (None, "best", "last") else Path(str(ckpt_path))
        policy = Policy.load(path)
        self._prepare_data()
        episodes = self.datamodule.episodes
        result = evaluate(policy, self.rollout, episodes, self.console)
        print_result(str(self.options.method), result, episodes, self.console)
        if video is not None:
            film(policy, self.env, Path(video), self.seed, self.console)

    validate = test


QUIET = (
    "You're using the WeightAveraging callback with a model that overrides",
    # The loaders index tensors in memory: workers would only copy them.
    ".*does not have many workers.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*have no `validation_step`",
    "Couldn't infer the batch indices",
    "Total length of `list` across ranks is zero",
    "The number of training batches",
    # A rollout is played and logged by one process.
    "It is recommended to use `self.log.*rollout/",
    "Checkpoint directory .* exists and is not empty",
    "Experiment logs directory .* exists and is not empty",
    # Of JAX, about ffmpeg: another program takes the fork's place at once.
    "os.fork.. was called",
)
"""Warnings that do not apply here, most of them Lightning's."""


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What a disk that is full or read-only says, whoever writes."""


def with_flags(arguments: Sequence[str]) -> list[str]:
    """`--dry_run` alone is `--dry_run true`: jsonargparse takes a bool for an option with a value."""
    following = [*arguments[1:], "--"]
    bare = [word == "--dry_run" and after.startswith("-") for word, after in zip(arguments, following, strict=True)]
    return ["--dry_run=true" if alone else word for word, alone in zip(arguments, bare, strict=True)]


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake ends in one message and exit status 2."""
    arguments = with_flags(sys.argv[1:] if args is None else args)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # so that a class path finds a user's module beside which the command was given
    # LightningCLI warns where both are given, in tests sys.argv is pytest's, and DDP's other processes start from it.
    sys.argv = [*sys.argv[:1], *(arguments if args is None else [])]
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in QUIET:
        warnings.filterwarnings("ignore", message=message)
    try:
        with sigterm_as_ctrl_c():
            if arguments and arguments[0] in COMMANDS:
                return run_command(arguments)
            MisodiceCLI(
                trainer_class=PhaseTrainer,
                args=None if args is None else arguments,
                save_config_callback=None,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
    except MisodiceError as error:
        print(f"misodice: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"misodice: {cannot_write(error.filename or 'a file of the run', error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("misodice: interrupted; go on with --ckpt_path last", file=sys.stderr)
        return 130
    return 0
