"""The command line: `fit` trains the stages in order, one Trainer each; the rest dispatches to its module."""

from __future__ import annotations

import copy
import json
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.table import Table

from misodice.callbacks.column_writer import ColumnWriter
from misodice.callbacks.rollout import Rollout
from misodice.commands import COMMANDS, run_command
from misodice.data.collect import collect, default_sources
from misodice.data.columns import column_fingerprint, write_column
from misodice.datamodules.transitions import Transitions
from misodice.envs import EnvConfig, make_env, resolve_engine
from misodice.errors import MisodiceError
from misodice.modules import Discriminator, Policy, Value
from misodice.modules.stage import Stage
from misodice.run import RunDir, file_digest, fingerprint, rollout_summary, versions, write_json

STAGES: tuple[type[Stage], ...] = (Discriminator, Value, Policy)


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


class MisodiceCLI(LightningCLI):
    """LightningCLI with three modules instead of one."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        data = {"model", "datamodule"}
        return {
            "fit": data | {"train_dataloaders", "val_dataloaders"},
            "validate": data | {"dataloaders", "verbose"},
            "test": data | {"dataloaders", "verbose"},
        }

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({"trainer.default_root_dir": "runs"})
        parser.add_argument(
            "--run_dir", type=str | None, help="Default: <default_root_dir>/<config>/<method>/seed_<seed>."
        )
        parser.add_argument("--method", type=str, default="misodice", help="Name of the method in paths and results.")
        parser.add_class_arguments(EnvConfig, "env")
        parser.add_lightning_class_args(Transitions, "data")
        for stage in STAGES:
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
        self.stages: list[Stage] = [init[stage.name] for stage in STAGES]
        self.model = self.stages[-1]
        self.is_global_zero = getattr(rank_zero_only, "rank", 0) == 0
        self.console = Console(quiet=not self.is_global_zero, soft_wrap=True)
        self.trainer = self.instantiate_trainer()
        self.seed = int(self.options.seed_everything)

    # --- fit -------------------------------------------------------------------------------------------------------

    def fit(self, ckpt_path: str | None = None, **kwargs: Any) -> None:
        """Train what is not up to date, in order; roll the policy out; write summary.json."""
        self.fast = bool(self.options.trainer.fast_dev_run)
        self.run = RunDir(self._run_dir())
        self.run.check_writable()
        self._prepare_data()
        data = self.datamodule
        marks = self._fingerprints()
        if self.is_global_zero:
            data.label(marks["labels"])
            self._save_config()
        todo = [stage for stage in self.stages if not self._up_to_date(stage, marks[stage.name])]
        for stage in self.stages:
            if stage not in todo:
                self.console.print(f"{stage.name}: up to date ({self.run.path / stage.name}), not trained again")
        for stage in todo:
            self._fit_stage(stage, marks[stage.name], ckpt_path)
        if self.fast or not self.is_global_zero:
            return
        self.run.join_metrics([stage.name for stage in self.stages])
        self._summarise(marks["policy"])

    def _run_dir(self) -> Path:
        if self.fast:
            return Path(tempfile.mkdtemp(prefix="misodice-fast-dev-run-"))
        if self.options.run_dir:
            return Path(self.options.run_dir)
        config = Path(str(self.options.config[0])).stem if self.options.config else self.env.task
        root = Path(str(self.options.trainer.default_root_dir))
        return root / config / str(self.options.method) / f"seed_{self.seed}"

    def _prepare_data(self) -> None:
        """Find or make the episodes file and hold it against the environment, before anything is trained."""
        options = self.options
        explicit = options.data.path
        engine = resolve_engine(self.env)
        if engine == "smax" and self.env.engine == "auto":
            self.console.print("StarCraft II not found: using smax, the game-free engine (see docs/concepts.md)")
        path = Path(explicit) if explicit else Path("data") / f"{engine}_{self._task_name()}.h5"
        if self.is_global_zero and not path.is_file():
            if explicit:
                raise MisodiceError(
                    f"data.path: {path} does not exist; name a file, or leave data.path out to have one made"
                )
            env = EnvConfig(**{**vars(self.env), "engine": engine})
            self.console.print(f"{path}: making it from the bundled behaviour policies")
            collect(env, default_sources(env, engine), path, seed=0)
        while not path.is_file():
            time.sleep(1.0)
        self.datamodule.attach(path, self.run.path, self.seed)
        episodes = self.datamodule.episodes
        found = episodes.header.env
        if self.env.engine not in ("auto", found["engine"]):
            raise MisodiceError(
                f"{path}: made with engine {found['engine']!r}, but env.engine is {self.env.engine!r}; results of two "
                "engines are not comparable: choose a file of that engine, or env.engine auto"
            )
        self.env.engine = options.env.engine = found["engine"]
        sample = make_env(self.env, 1)
        expected = sample.header.env
        differing = [key for key in expected if key != "version" and found.get(key) != expected[key]]
        for key in differing:
            raise MisodiceError(
                f"{path}: env option {key!r} is {found.get(key)!r} in the file and {expected[key]!r} in the config; "
                "make them the same"
            )
        sizes = {
            "agents": (episodes.n_agents, sample.n_agents),
            "observation": (episodes.obs.shape[2], sample.obs_dim),
            "state": (episodes.state.shape[1], sample.state_dim),
            "actions": (episodes.n_actions, sample.n_actions),
        }
        for what, (in_file, in_env) in sizes.items():
            if in_file != in_env:
                raise MisodiceError(
                    f"{path}: {what} size is {in_file} in the file and {in_env} in the environment {self.env.task}; "
                    "set env.* to what made the file"
                )
        if found.get("version") != expected["version"]:
            self.console.print(
                f"warning: {path} was made with {found.get('version')}, rollouts use {expected['version']}: "
                "returns may differ"
            )
        sample.close()
        _ = self.datamodule.expert

    def _task_name(self) -> str:
        parts = [self.env.task.lower()]
        if self.env.engine == "mamujoco":
            layout = self.env.layout or f"obsk{self.env.agent_obsk}"
            parts += [part for part in (self.env.partition, layout) if part]
        return "_".join(parts)

    def _fingerprints(self) -> dict[str, str]:
        options = self._parser(self.subcommand).dump(self.options, format="json", skip_unset=False)
        plain = json.loads(options)
        data, trainer = plain["data"], plain["trainer"]
        # Trainer options that say how to show or where to write do not change what is learnt.
        shown = ("logger", "callbacks", "enable_", "default_root_dir", "log_every", "profiler", "max_time")
        trainer = {key: value for key, value in trainer.items() if not key.startswith(shown)}
        marks = {"labels": fingerprint(file_digest(self.datamodule.file), data["ranking"], data["k"])}
        mark = fingerprint(marks["labels"], self.seed, data["batch_size"], data["held_out"], trainer)
        for stage in self.stages:
            mark = marks[stage.name] = fingerprint(mark, plain[stage.name])
        return marks

    def _up_to_date(self, stage: Stage, mark: str) -> bool:
        record = self.run.stage_record(stage.name)
        if record is None or record["fingerprint"] != mark:
            return False
        if stage.column:
            return column_fingerprint(self.run.columns, stage.column) == mark
        return self.run.checkpoint(stage.name).is_file()

    def _fit_stage(self, stage: Stage, mark: str, ckpt_path: str | None) -> None:
        # Before each stage, so that its result does not depend on whether the earlier ones ran or were restored.
        seed_everything(self.seed, workers=True, verbose=False)
        stage.fingerprint = mark
        folder = self.run.path / stage.name
        data = self.datamodule
        data.stage = stage
        monitor = stage.monitor if data.holds_out else None
        if monitor != stage.monitor:
            self.console.print(f"{stage.name}: no episodes held out (data.held_out, data.k): the last epoch is kept")
        checkpoint = ModelCheckpoint(
            folder,
            filename="best",
            monitor=monitor,
            save_top_k=1 if monitor else 0,
            save_last=True,
            enable_version_counter=False,
        )
        writer = ColumnWriter(self.run.columns, mark, data.episodes.n_transitions)
        trainer = self._stage_trainer(stage, folder, [checkpoint, writer])
        resume = self._resume_path(stage, mark) if ckpt_path == "last" else None
        started = time.perf_counter()
        trainer.fit(stage, datamodule=data, ckpt_path=resume, weights_only=True)
        seconds = time.perf_counter() - started
        if trainer.interrupted:
            raise KeyboardInterrupt
        if self.fast:
            if stage.column:
                write_column(self.run.columns, stage.column, np.ones(data.episodes.n_transitions, np.float32), mark)
            return
        if stage.column:
            best = checkpoint.best_model_path or None
            trainer.predict(stage, datamodule=data, ckpt_path=best, return_predictions=False, weights_only=True)
        if trainer.is_global_zero:
            samples = trainer.global_step * data.batch_size * trainer.world_size
            record = {
                "fingerprint": mark,
                "steps": trainer.global_step,
                "seconds": seconds,
                "samples_per_second": samples / seconds,
                "metrics": writer.metrics,
            }
            self.run.write_stage_record(stage.name, record)
        trainer.strategy.barrier()

    def _stage_trainer(self, stage: Stage, folder: Path, callbacks: list[Callback]) -> Trainer:
        """A new Trainer from the one shared config: one used again would train 0 steps."""
        config = self.config_init[self.subcommand].trainer.clone()
        config.callbacks = copy.deepcopy(config.callbacks or []) + callbacks
        if stage.monitor and not self.fast and self.datamodule.holds_out:
            config.callbacks.append(EarlyStopping(stage.monitor, patience=getattr(stage, "patience", 5)))
        self.rollout.env_config, self.rollout.seed = self.env, self.seed
        if isinstance(stage, Policy):
            config.callbacks.append(self.rollout)
        if config.enable_progress_bar is not False:
            place = self.stages.index(stage) + 1
            config.callbacks.append(StageProgress(f"{place}/{len(self.stages)} {stage.name}"))
        if config.max_epochs is None:
            config.max_epochs = stage.epochs
        if not self.fast:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "metrics.csv").unlink(missing_ok=True)
            loggers: Sequence[Logger] = config.logger if isinstance(config.logger, list) else [config.logger]
            extra = [logger for logger in loggers if isinstance(logger, Logger)]
            config.logger = [CSVLogger(folder, name="", version=""), *copy.deepcopy(extra)]
        config.enable_model_summary = bool(config.enable_model_summary)
        config.num_sanity_val_steps = 0
        return Trainer(**vars(config))

    def _resume_path(self, stage: Stage, mark: str) -> str | None:
        path = self.run.checkpoint(stage.name)
        if not path.is_file():
            return None
        if torch.load(path, map_location="cpu", weights_only=True)["fingerprint"] != mark:
            self.console.print(f"{stage.name}: {path} is of another config or input; training anew")
            return None
        self.console.print(f"{stage.name}: going on from {path}")
        return str(path)

    def _save_config(self) -> None:
        if self.fast:
            return
        self.options.run_dir = str(self.run.path)
        self._parser("fit").save(
            self.options, str(self.run.path / "config.yaml"), skip_unset=False, overwrite=True, multifile=False
        )

    # --- rollouts --------------------------------------------------------------------------------------------------

    def _summarise(self, mark: str) -> None:
        policy = Policy.load_from_checkpoint(self.run.checkpoint("policy"), map_location="cpu", weights_only=True)
        returns, won, _ = self._play(policy)
        poor, expert = self._reference_returns()
        records = {stage.name: self.run.stage_record(stage.name) or {} for stage in self.stages}
        result = rollout_summary(returns, won, poor, expert)
        write_json(
            self.run.path / "summary.json",
            {
                "task": self.env.task,
                "engine": self.env.engine,
                "method": self.options.method,
                "seed": self.seed,
                "labels": {
                    "labeller": self.datamodule.ranking,
                    "ties": None,
                    "quality": self._label_quality(),
                    "kendall_tau": None,
                    "precision_at_k": self._precision(),
                    "auroc": None,
                },
                "stages": {
                    name: {key: record.get(key) for key in ("steps", "seconds", "samples_per_second")}
                    for name, record in records.items()
                },
                "rollout": result,
                "versions": versions(),
                "fingerprint": mark,
            },
        )
        self._print_result(result, poor, expert)
        self.console.print(f"written: {self.run.path}")

    def _play(self, policy: Policy) -> tuple[list[float], list[bool] | None, list[int]]:
        self.rollout.env_config, self.rollout.seed = self.env, self.seed
        with self.console.status(f"{self.rollout.episodes} greedy rollouts of {self.env.task}"):
            return self.rollout.play(policy)

    def _reference_returns(self) -> tuple[float | None, float | None]:
        episodes = self.datamodule.episodes
        if episodes.source is None or episodes.returns is None:
            return None, None
        poor = episodes.returns[episodes.source != "expert"]
        return (float(poor.mean()) if len(poor) else None), episodes.mean_return("expert")

    def _label_quality(self) -> float | None:
        returns = self.datamodule.episodes.returns
        if returns is None:
            return None
        expert = self.datamodule.expert
        ideal = np.sort(returns)[-int(expert.sum()) :].mean()
        spread = ideal - returns.mean()
        return float((returns[expert].mean() - returns.mean()) / spread) if spread > 0 else None

    def _precision(self) -> float | None:
        source = self.datamodule.episodes.source
        return None if source is None else float((source[self.datamodule.expert] == "expert").mean())

    def _print_result(self, result: dict[str, Any], poor: float | None, expert: float | None) -> None:
        table = Table(title=f"{self.env.task} ({self.env.engine}), {result['episodes']} greedy rollouts")
        table.add_column("")
        table.add_column("return", justify="right")
        table.add_column("win rate", justify="right")
        table.add_column("normalised", justify="right")
        episodes = self.datamodule.episodes

        def wins(chosen: np.ndarray) -> str:
            return "–" if episodes.won is None or not chosen.any() else f"{episodes.won[chosen].mean():.2f}"

        if poor is not None and expert is not None and episodes.source is not None:
            table.add_row("data: poor", f"{poor:.2f}", wins(episodes.source != "expert"), "0.00")
            table.add_row("data: expert", f"{expert:.2f}", wins(episodes.source == "expert"), "1.00")
        rate, score = result["win_rate"], result["normalised_score"]
        table.add_row(
            self.options.method,
            f"{result['return_mean']:.2f} ± {result['return_std']:.2f}",
            "–" if rate is None else f"{rate:.2f}",
            "–" if score is None else f"{score:.2f}",
        )
        self.console.print(table)

    def test(self, ckpt_path: str | None = None, **kwargs: Any) -> None:
        """Roll a trained policy out on the engine of its data."""
        self.fast = False
        self.run = RunDir(self._run_dir())
        path = self.run.checkpoint("policy") if ckpt_path in (None, "best", "last") else Path(str(ckpt_path))
        if not path.is_file():
            raise MisodiceError(
                f"ckpt_path: {path} does not exist; train with `misodice fit`, or name a policy's checkpoint"
            )
        self._prepare_data()
        policy = Policy.load_from_checkpoint(path, map_location="cpu", weights_only=True)
        returns, won, _ = self._play(policy)
        poor, expert = self._reference_returns()
        self._print_result(rollout_summary(returns, won, poor, expert), poor, expert)

    validate = test


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake ends in one message and exit status 2."""
    arguments = list(sys.argv[1:] if args is None else args)
    # LightningCLI warns where both are given; in tests sys.argv is pytest's.
    sys.argv = sys.argv[:1] if args is not None else sys.argv
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # The loaders index tensors in memory: workers would only copy them.
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*have no `validation_step`")
    warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
    warnings.filterwarnings("ignore", message="The number of training batches")
    warnings.filterwarnings("ignore", message="Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", message="Experiment logs directory .* exists and is not empty")
    try:
        if arguments and arguments[0] in COMMANDS:
            run_command(arguments)
        else:
            MisodiceCLI(
                args=None if args is None else arguments,
                save_config_callback=None,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
            )
    except MisodiceError as error:
        print(f"misodice: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("misodice: interrupted; go on with --ckpt_path last", file=sys.stderr)
        return 130
    return 0
