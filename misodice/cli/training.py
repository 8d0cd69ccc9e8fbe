"""fit, label, test and validate: LightningCLI parses, Experiment works."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import yaml
from lightning import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from misodice.cli.parser import TrainingParser
from misodice.datamodules.options import Data
from misodice.envs import Engine
from misodice.experiment import Experiment
from misodice.labelling.labels import Labels
from misodice.modules import OMAPL, Discriminator, Policy, RewardStage, Stage, Value
from misodice.pipeline.slots import SLOTS
from misodice.pipeline.trainer_checks import LOCAL
from misodice.rollout.evaluation import Rollout
from misodice.runs.limits import SEED, check_limits, or_none
from misodice.runs.parts import class_path, import_class

KEPT = ("method", "shared_stages", "env", "data", "labels", "rollout", *SLOTS)
"""Options that Experiment takes as they are."""
FOLDERS = ("run_dir", "shared_stages")
DEFAULTS: dict[str, tuple[type[Stage], type[Stage]]] = {
    "preference": (RewardStage, OMAPL),
    "discriminator": (Stage, Discriminator),
    "value": (Stage, Value),
    "policy": (Stage, Policy),
}
"""Base class of each slot, and the class that stands there unless another is named."""


# jsonargparse describes options by YAML, which knows no Enum: one as a default, as Lightning's Timer has, is its value.
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_data(member.value))

NUMBERS_OR_SHARES = tuple(
    f"trainer.{name}"
    for name in (
        *("limit_train_batches", "limit_val_batches", "limit_test_batches", "limit_predict_batches"),
        *("overfit_batches", "val_check_interval", "gradient_clip_val"),
    )
)


class TrainingCLI(LightningCLI):
    """LightningCLI whose subcommands are the methods of Experiment.

    Args:
        arguments: the command and its options.
        from_process: whether they are those of the process, which LightningCLI then reads itself.
    """

    def __init__(self, arguments: Sequence[str], from_process: bool) -> None:
        arguments = _with_help_of_slots(arguments)
        if from_process:
            sys.argv = [sys.argv[0], *arguments]
        asks = any(word in ("-h", "--help") for word in arguments)
        self.shown = {slot: _named(slot, arguments) for slot in DEFAULTS} if asks else {}
        if asks:  # the options of these classes are shown; which classes they are need not be read again
            arguments = [arguments[0], "--help"]
            sys.argv = [sys.argv[0], *(arguments if from_process else [])]
        super().__init__(
            # Its methods are the subcommands; the Trainer's own options are added beside them.
            trainer_class=cast(type[Trainer], Experiment),
            args=None if from_process else list(arguments),
            parser_class=TrainingParser,
            parser_kwargs={"prog": "misodice"},
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        return {"fit": set(), "validate": set(), "test": set(), "label": set()}

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument(
            "--run_dir", type=str | None, help="Default: <trainer.default_root_dir>/<config>/<method>/seed_<seed>."
        )
        parser.add_argument(
            "--shared_stages",
            type=str | None,
            help="Folder of finished stages and answers, found by fingerprint: what is there is taken, what is trained "
            "is put there, and runs that need the same at once wait for one of them.",
        )
        parser.add_argument("--method", type=str, default="misodice", help="Name of the method in paths and results.")
        parser.add_argument(
            "--env",
            type=Engine | None,
            default=None,
            help="Where the policy is rolled out: SMAC, SMAX, StarCraft2, MaMuJoCo, or the class path of your own "
            "Engine. null: what the episodes file says.",
        )
        parser.add_class_arguments(Data, "data")
        parser.add_class_arguments(Labels, "labels")
        for slot, (base, default) in DEFAULTS.items():
            if slot in self.shown:  # the options of the class that stands there, not only how another is named
                parser.add_class_arguments(self.shown[slot], slot, help=f"--{slot} CLASS names another class; now")
            else:
                parser.add_lightning_class_args(base, slot, subclass_mode=True)
                parser.set_defaults({slot: {"class_path": class_path(default)}})
        parser.add_class_arguments(Rollout, "rollout")

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = self.init_parser(**kwargs)
        parser.prog = f"misodice {subcommand}"
        parser.usage = f"misodice {subcommand} --config CONFIG [options]"
        # The command's own options, misodice's, and Lightning's many last.
        self._subcommand_method_arguments[subcommand] = parser.add_method_arguments(klass, subcommand)
        self._add_arguments(parser)
        parser.add_lightning_class_args(Trainer, "trainer")
        parser.set_defaults({"trainer.default_root_dir": "runs"})
        # Each stage makes loggers of its own, from their classes and arguments. Where they write is the run's affair,
        # so that a class that must be told need not be told by the user.
        logger: Any = next(action for action in parser._actions if action.dest == "trainer.logger")
        logger.sub_add_kwargs = {**logger.sub_add_kwargs, "instantiate": False, "linked_targets": {"save_dir"}}
        for action in parser._actions:
            # A number of batches is an int and a share a float. Python may remember Optional[Union[float, int]], which
            # is equal to it, for Lightning's Optional[Union[int, float]]: then 500 would be read as 500.0.
            if action.dest in NUMBERS_OR_SHARES:
                action._typehint = int | float | None  # type: ignore[attr-defined]
        return parser

    def _set_seed(self) -> None:
        seed = self.config[self.subcommand].seed_everything
        if seed is not True:  # true is a seed by chance; false would be no seed at all
            check_limits("", {"seed_everything": SEED}, {"seed_everything": seed})
        super()._set_seed()

    def _parse_ckpt_path(self) -> None:
        """A checkpoint here belongs to a stage and its sequence, and never overrides the config."""

    def instantiate_classes(self) -> None:
        self.config_init = self.parser.instantiate(self.config)
        given, options = self.config_init[self.subcommand], self.config[self.subcommand]
        plain = json.loads(self._parser(self.subcommand).dump(options, format="json", skip_unset=False))
        seed = int(options.seed_everything)
        check_limits("", {name: or_none(LOCAL) for name in FOLDERS}, {name: options[name] for name in FOLDERS})
        experiment = Experiment(
            **{name: given[name] for name in KEPT},
            trainer=vars(given.trainer),
            trainer_config=plain["trainer"],
            run_dir=self._run_dir(plain, given.env, seed) if options.run_dir is None else options.run_dir,
            seed=seed,
        )
        # LightningCLI calls the subcommand's method of what it knows as the trainer.
        self.trainer = cast(Trainer, experiment)

    def _run_dir(self, plain: dict[str, Any], env: Engine | None, seed: int) -> Path:
        config = self.config[self.subcommand].config
        name = Path(str(config[0])).stem if config else env.task if env is not None else "run"
        return Path(plain["trainer"]["default_root_dir"]) / name / str(plain["method"]) / f"seed_{seed}"

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        given = self.config_init[subcommand]
        return {name: given[name] for name in self._subcommand_method_arguments[subcommand]}


def _with_help_of_slots(arguments: Sequence[str]) -> list[str]:
    """`--value.help` alone is that of the class in the slot, and not of its base class."""
    words = list(arguments)
    for slot in DEFAULTS:
        for place, (word, following) in enumerate(pairwise([*arguments, "-"])):
            if word == f"--{slot}.help" and following.startswith("-"):
                words[place] = f"{word}={class_path(_named(slot, arguments))}"
    return words


def _named(slot: str, arguments: Sequence[str]) -> type[Stage]:
    """The class that the arguments name for a slot, or its default."""
    base, default = DEFAULTS[slot]
    for word, following in pairwise([*arguments, ""]):
        name, equals, given = word.partition("=")
        if name == f"--{slot}":
            return import_class(given if equals else following, base, f"--{slot}")
    return default
