"""Every option of `misodice fit`: each value is supported, or refused before any training in one line that names it."""

import json
import math
import shlex
from enum import StrEnum
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from lightning import Callback

from misodice.datamodules.options import Data
from misodice.envs import SMAC, SMAX, MaMuJoCo, Source, StarCraft2
from misodice.errors import MisodiceError
from misodice.experiment import Experiment
from misodice.labelling import Labels, RecordedLabeller, RuleLabeller
from misodice.modules import (
    OMAPL,
    AgentMLP,
    CloneWeights,
    Discriminator,
    GaussianHead,
    HyperMixer,
    Policy,
    QMIXMixer,
    RewardModel,
    TopP,
    Value,
)
from misodice.pipeline.trainer_checks import DEFAULTS
from misodice.rollout.evaluation import Rollout
from misodice.runs.parts import parameters_of
from tests.helpers.options import ANYTHING, ODD, Lines

CALLBACKS = "lightning.pytorch.callbacks"
PLUGINS = "lightning.pytorch.plugins"
REFUSED = {
    "seed_everything": ["-1", "4294967296", "foo", "false"],
    "run_dir": ["''", "s3://bucket/x"],
    "method": ["''", "a/b", ".."],
    "shared_stages": ["''", "s3://bucket/x"],
    "env": ["MaMujoco", "foo.Bar", "misodice.Value"],
    "data.path": ["''"],
    "data.ranking": ["foo", "null"],
    "data.k": ["0", "-1", "null", "1.5", "[]", "true"],
    "data.batch_size": ["0", "-1", "1000000000000"],
    "data.minibatches": ["0", "-1", "1.5"],
    "data.held_out": ["-0.1", "1", "1.5", ".inf"],
    "labels.labeller": ["RuleLabeler", "null", "misodice.Value"],
    "labels.labeller.flip": ["-0.1", "2"],
    "labels.labeller.seed": ["-1"],
    "labels.n_pairs": ["0", "-1"],
    "labels.seed": ["-1"],
    "labels.held_out": ["1", "-1"],
    "labels.path": ["''"],
    "labels.other_answers": ["foo", "null"],
    "replace": ["foo"],
    "preference": ["foo", "null", "Value"],
    "preference.gamma": ["-0.1", "1.5"],
    "preference.beta": ["0", "-1", "1e-300", ".inf"],
    "preference.tau": ["0", "5"],
    "preference.max_weight": ["0"],
    "preference.regulariser": ["-1", ".inf"],
    "preference.pairs": ["0"],
    "preference.max_steps": ["0"],
    "preference.patience": ["0"],
    "preference.mixer.hidden": ["0"],
    "discriminator.patience": ["-1", "0"],
    "discriminator.mixing": ["foo"],
    "discriminator.lr": ["0", "-1", "nan", ".inf", "null"],
    "discriminator.network.hidden": ["[]", "[0]", "[-1]", "64"],
    "value": ["foo", "null", "OMAPL.x", "misodice.Valeu"],
    "value.mixer": ["HyperMixr", "AgentMLP"],
    "value.alpha": ["-1", "null", "x", "1e300"],
    "value.gamma": ["-1", "1", "1.5"],
    "value.objective": ["foo"],
    "value.ratio": ["''"],
    "value.mask_last": ["3"],
    "value.max_weight": ["0.5"],
    "value.window": ["0", "-1", "null"],
    "value.epochs": ["0", "-1", "1.5"],
    "policy.weight": ["''"],
    "policy.weighting": ["ByEpisode", "null", "[null]", "[Foo]", "'[{class_path:'"],
    "policy.lr_schedule": ["foo"],
    "rollout.episodes": ["0", "-1"],
    "rollout.every_n_epochs": ["-1"],
    "trainer.foo": ["1"],
    "trainer.devices": ["0", "1000000000", "foo"],
    "trainer.num_nodes": ["0", "-1"],
    "trainer.precision": ["16-mixed", "16-true", "bf16-true", "transformer-engine", "foo"],
    "trainer.strategy": ["fsdp", "deepspeed"],
    "trainer.fast_dev_run": ["-1"],
    "trainer.max_epochs": ["0", "-1", "-2", "x"],
    "trainer.min_epochs": ["-1", "1000"],
    "trainer.max_steps": ["0", "2"],
    "trainer.max_time": ["foo", "00:00:00:01"],
    "trainer.limit_train_batches": ["0", "-1", "1.5"],
    "trainer.limit_val_batches": ["0", "0.5"],
    "trainer.limit_test_batches": ["0", "2"],
    "trainer.limit_predict_batches": ["0", "2"],
    "trainer.overfit_batches": ["1", "0.5", "-1"],
    "trainer.val_check_interval": ["0", "100000", "-1"],
    "trainer.check_val_every_n_epoch": ["0", "1000", "null"],
    "trainer.num_sanity_val_steps": ["-2"],
    "trainer.log_every_n_steps": ["-1"],
    "trainer.enable_checkpointing": ["false"],
    "trainer.accumulate_grad_batches": ["0", "-1"],
    "trainer.gradient_clip_val": ["-1"],
    "trainer.gradient_clip_algorithm": ["foo", "norm"],
    "trainer.barebones": ["true"],
    "trainer.reload_dataloaders_every_n_epochs": ["-1"],
    "trainer.default_root_dir": ["''", "s3://bucket/x"],
    "trainer.model_registry": ["foo"],
    "trainer.callbacks": [
        *("foo", f"'[{{class_path: {CALLBACKS}.EarlyStopping, init_args: {{monitor: val_loss}}}}]'"),
        *("[Timer]", "[BatchSizeFinder]", "[LearningRateFinder]", "BackboneFinetuning"),
        "'[{class_path: ModelPruning, init_args: {pruning_fn: l1_unstructured}}]'",
    ],
    "trainer.logger": ["foo"],
    "trainer.plugins": [
        *("foo", f"{PLUGINS}.AsyncCheckpointIO", f"{PLUGINS}.HalfPrecision"),
        f"'{{class_path: {PLUGINS}.MixedPrecision, init_args: {{precision: 16-mixed, device: cpu}}}}'",
    ],
    "trainer.profiler": ["foo", "simple", "advanced", "pytorch", "SimpleProfiler"],
}
ACCEPTED = [
    "--data.k=1 --data.held_out=0 --labels.held_out=0 --value.max_weight=.inf --value.alpha=0 --value.gamma=0 "
    "--env=null --policy.weighting=[] --seed_everything=true --rollout.every_n_epochs=0 --labels.other_answers=use "
    "--replace=true --trainer.limit_train_batches=1 --trainer.limit_val_batches=1 --trainer.check_val_every_n_epoch=2 "
    "--trainer.max_steps=-1 --trainer.gradient_clip_val=0 --trainer.precision=64-true --trainer.min_epochs=1",
    "--value.objective=logsumexp --value.mask_last=false --value.gamma=1 --policy.head=GaussianHead "
    "--policy.head.min_std=1 --trainer.val_check_interval=0.5 --trainer.num_sanity_val_steps=-1 "
    "--trainer.gradient_clip_val=1 --trainer.gradient_clip_algorithm=value --trainer.accelerator=cpu "
    "--trainer.devices=1 --trainer.strategy=ddp",
    f"--trainer.fast_dev_run=3 --trainer.plugins={PLUGINS}.DoublePrecision --trainer.profiler=SimpleProfiler "
    "--trainer.profiler.dirpath=x --trainer.profiler.filename=y",
    f"--trainer.callbacks={CALLBACKS}.EarlyStopping --trainer.callbacks.monitor=value/loss",
]
"""Command lines; what stands in one does not depend on the rest of it. Each takes most of a second."""


@pytest.mark.parametrize("option", REFUSED)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_option(lines, option):
    for value in REFUSED[option]:
        message = lines.refusal(shlex.split(f"--{option}={value}"))
        assert message is not None, f"--{option}={value} is accepted"
        assert option in message, message


def test_what_is_supported_is_built(lines):
    for words in ACCEPTED:
        assert lines.refusal(words.split()) is None, words


BLOCKS = ("data", "labels", "value", "policy", "trainer", "labels.labeller", "value.mixer", "policy.weighting")


@pytest.mark.parametrize("option", [*BLOCKS, "trainer.callbacks", "trainer.plugins", "env"])
def test_a_file_of_bytes_in_place_of_options_is_one_line(lines, tmp_path, option):
    (tmp_path / "h.h5").write_bytes(b"\x89HDF\xa8\xff")
    message = lines.refusal([f"--{option}", str(tmp_path / "h.h5")])
    assert message is not None
    assert message.removeprefix("error: ").startswith(f"{option}: ")
    assert "codec" not in message
    assert (f"did you mean --{option}.path?" in message) == (option in ("data", "labels"))


class Step(StrEnum):
    """Of a user's callback."""

    BATCH = "batch"


class WithEnum(Callback):
    """Has an Enum as a default, which YAML does not know."""

    def __init__(self, step: str = Step.BATCH) -> None:
        self.step = step


def test_an_enum_of_a_callback_is_described_by_its_value(lines):
    experiment = lines.build([f"--trainer.callbacks={__name__}.WithEnum"])
    assert experiment.config["trainer"]["callbacks"]["init_args"] == {"step": "batch"}


@pytest.mark.slow
@settings(max_examples=1500, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_value_of_any_option_of_the_command_line_is_built_or_refused(data, lines):
    action = data.draw(st.sampled_from(sorted(option_names(lines))))
    value = data.draw(ANYTHING)
    lines.refusal([f"--{action}={value if isinstance(value, str) else json.dumps(value)}"])


def option_names(lines: Lines) -> list[str]:
    """All options of `fit` that take a value, and those of the classes that stand in it by default."""
    known = [each.dest for each in lines._parser("fit")._actions]
    inner = {"preference": OMAPL, "discriminator": Discriminator, "value": Value, "policy": Policy}
    own = [f"{slot}.{name}" for slot, cls in inner.items() for name in parameters_of(cls)]
    own += [f"{slot}.mixer.hidden" for slot in ("preference", "discriminator", "value")]
    own += [f"{slot}.network.hidden" for slot in inner] + ["labels.labeller.flip", "labels.labeller.seed"]
    left_out = ("help", "print_config", "config", "print_shtab")
    return [name for name in {*known, *own} if not any(word in name for word in left_out)]


def test_no_option_is_forgotten(lines):
    """An option of `fit --help` that is not in a table here would be tried by nobody."""
    tried = set(REFUSED) | {words.partition("=")[0].removeprefix("--") for line in ACCEPTED for words in line.split()}
    free = {
        # Text, classes, files and switches without a value that cannot be; Lightning looks at the machine's affairs.
        *("ckpt_path", "retrain", "data", "labels", "rollout", "trainer", "discriminator", "policy"),
        *("preference.mixer", "preference.network", "discriminator.mixer", "discriminator.network", "value.network"),
        *("policy.head", "policy.network", "trainer.enable_progress_bar", "trainer.enable_model_summary"),
        *("trainer.deterministic", "trainer.benchmark", "trainer.inference_mode", "trainer.use_distributed_sampler"),
        *("trainer.detect_anomaly", "trainer.sync_batchnorm", "trainer.enable_autolog_hparams"),
        "trainer.min_steps",
    }
    # One constructor checks these for all stages, and one class makes these networks.
    shared = {f"{slot}.{name}" for slot in ("preference", "discriminator", "value", "policy") for name in SHARED}
    assert set(option_names(lines)) - tried - free - shared == set()


SHARED = ("lr", "epochs", "mixer.hidden", "network.hidden")
CLASSES = {
    **{Value: {}, OMAPL: {}, RewardModel: {}, Discriminator: {}, CloneWeights: {}, Policy: {}, TopP: {}},
    **{Labels: {}, RuleLabeller: {}, RecordedLabeller: {"path": "x"}, Data: {}, Rollout: {}},
    **{MaMuJoCo: {}, SMAX: {}, SMAC: {}, StarCraft2: {}, Experiment: {}},
    **{Source: {"behaviour": "random", "episodes": 1, "source": "x"}},
    HyperMixer: {"n_agents": 2, "state_dim": 3},
    QMIXMixer: {"n_agents": 2, "state_dim": 3},
    AgentMLP: {"n_agents": 2, "inputs": 3, "outputs": 1},
    GaussianHead: {"n_actions": 2},
}


def refusal(make) -> str | None:
    """What a Python caller is told; None where the object is made."""
    try:
        make()
    except MisodiceError as error:
        return str(error)
    return None


NUMBERS = (HyperMixer, QMIXMixer, AgentMLP, GaussianHead)
"""Made by a stage, which gives them the sizes of the data."""


def taken(cls: type) -> list[str]:
    given_by_stage = CLASSES[cls] if cls in NUMBERS else {}
    return [name for name in parameters_of(cls) if name not in given_by_stage and name not in ("behaviour",)]


@settings(max_examples=600, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_python_callers_get_an_object_or_one_line(data):
    cls = data.draw(st.sampled_from(list(CLASSES)))
    name = data.draw(st.sampled_from(taken(cls)))
    value = data.draw(ANYTHING)
    if name == "hidden" and isinstance(value, int) and value > 300:
        return  # allowed, and a matter of memory
    message = refusal(lambda: cls(**CLASSES[cls] | {name: value}))
    assert message is None or (name in message and len(message.splitlines()) == 1), message


@pytest.mark.parametrize("name", DEFAULTS)
def test_trainer_options_of_python_callers(name):
    """Each option with each odd value: a Trainer of it can be asked for, or one line says why not."""
    for value in ODD:
        message = refusal(lambda value=value: Experiment(trainer={name: value}))
        assert message is None or (f"trainer.{name}" in message and len(message.splitlines()) == 1), message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Value(alpha=-1), r"^value\.alpha: found -1, expected a number from 0 to 1000000$"),
        (lambda: Value(gamma=math.nan), r"^value\.gamma: found nan, expected a share from 0 to 1$"),
        (lambda: Value(mask_last="no"), r"^value\.mask_last: found 'no', expected true or false$"),
        (lambda: OMAPL(tau=5), r"^preference\.tau: found 5"),
        (lambda: Policy(head=partial(GaussianHead, kind="cauchy")), r"^policy\.head\.kind: found 'cauchy'"),
        (lambda: Labels(labeller=RuleLabeller), r"^labels\.labeller: found .*call it: RuleLabeller\(…\)"),
        (lambda: Data(k=0), r"^data\.k: found 0, expected a whole number, at least 1$"),
        (lambda: Experiment(seed=-1), r"^seed: found -1"),
        (
            lambda: Experiment(trainer={"max_epoch": 3}),
            r"^trainer\.max_epoch is not an option; .* max_epochs\?",
        ),
        (lambda: Experiment(trainer=3), r"^trainer: found 3, expected a dictionary"),
        (lambda: SMAC(games=0), r"^env\.games: found 0"),
    ],
)
def test_the_line_says_what_was_found_and_expected(make, words):
    with pytest.raises(MisodiceError, match=words):
        make()
