"""Options that belong to their class, the order of config files, and what is said of a mistyped option."""

import ast
import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from misodice.cli import parser
from misodice.cli.main import main
from misodice.errors import MisodiceError
from misodice.labelling import Labeller
from misodice.modules import Mixer, Policy, Value

HERE = "tests.cli.test_parser"


class OwnMixer(Mixer):
    """A user's mixer, whose `hidden` is not HyperMixer's."""

    def __init__(self, n_agents: int, state_dim: int, hidden: int = 7) -> None:
        super().__init__(n_agents, state_dim)


class OwnLabeller(Labeller):
    """A user's labeller, whose `seed` is not RuleLabeller's."""

    def __init__(self, seed: int = 5) -> None:
        self.seed = seed


class OwnPolicy(Policy):
    """Adds an option, and keeps those of Policy but one."""

    def __init__(self, extra: int = 1, lr: float = 0.5, **options: Any) -> None:
        super().__init__(lr=lr, **options)


class OwnValue(Value):
    """Names two of Value's options anew, and hands none of the others on."""

    def __init__(self, alpha: float = 3.0, epochs: int = 2) -> None:
        super().__init__(alpha=alpha, epochs=epochs)


def printed(capsys: pytest.CaptureFixture[str], *arguments: str, config: str = "smacv2_zerg") -> dict[str, Any]:
    with pytest.raises(SystemExit) as ended:
        main(["fit", "--config", config, *arguments, "--print_config"])
    output = capsys.readouterr()
    assert ended.value.code == 0, output.err
    found: dict[str, Any] = yaml.safe_load(output.out)
    return found


def overlay(path: Path, **options: Any) -> list[str]:
    path.write_text(yaml.safe_dump(options))
    return ["--config", str(path)]


def mixer_of(config: dict[str, Any], slot: str = "value") -> dict[str, Any]:
    found: dict[str, Any] = config[slot]["init_args"]["mixer"]
    return found


def test_options_of_another_class_do_not_leak(tmp_path, capsys):
    """HyperMixer's `hidden` by default, from the command line and from a file, which OwnMixer has too."""
    wide = {"class_path": "HyperMixer", "init_args": {"hidden": 32}}
    own = f"{HERE}.OwnMixer"
    cases = {
        "from the line": ["--value.mixer", own],
        "over a file": [*overlay(tmp_path / "1.yaml", value={"mixer": wide}), "--value.mixer", own],
        "over the line": ["--value.mixer", "HyperMixer", "--value.mixer.hidden", "32", "--value.mixer", own],
        "from a file": overlay(tmp_path / "2.yaml", value={"mixer": own}),
        "two files": [
            *overlay(tmp_path / "3.yaml", value={"init_args": {"mixer": wide}}),
            *overlay(tmp_path / "4.yaml", value={"init_args": {"mixer": {"class_path": own}}}),
        ],
    }
    for where, arguments in cases.items():
        config = printed(capsys, *arguments)
        assert mixer_of(config) == {"class_path": own, "init_args": {"hidden": 7}}, where
        assert mixer_of(config, "discriminator")["init_args"] == {"hidden": 64}, where
    config = printed(capsys, *cases["from a file"], "--value.mixer.hidden", "9")
    assert mixer_of(config)["init_args"] == {"hidden": 9}
    # Whoever names the class that is there already changes nothing.
    config = printed(capsys, *cases["over a file"][:2], "--value.mixer", "HyperMixer")
    assert mixer_of(config)["init_args"] == {"hidden": 32}


def test_an_option_stays_where_both_classes_have_it_from_one_constructor(capsys):
    before = printed(capsys)["preference"]["init_args"]
    after = printed(capsys, "--preference", "RewardModel")["preference"]
    assert after["class_path"] == "misodice.RewardModel"
    # RewardStage declares these for both; gamma, beta, tau and max_weight are OMAPL's alone.
    kept = ("regulariser", "pairs", "max_steps", "patience", "lr", "epochs")
    assert {name: after["init_args"].pop(name) for name in kept} == {name: before[name] for name in kept}
    assert before["regulariser"] == 0.05
    assert set(after["init_args"]) == {"mixer", "network"}


def test_a_subclass_keeps_what_it_inherits(capsys):
    options = ["--policy.lr_schedule", "cosine", "--policy.lr", "0.25"]
    policy = printed(capsys, *options, "--policy", f"{HERE}.OwnPolicy")["policy"]["init_args"]
    assert [each["class_path"] for each in policy["weighting"]] == ["misodice.ByEpisode", "misodice.TopP"]
    assert (policy["lr_schedule"], policy["epochs"]) == ("cosine", 10)
    assert (policy["extra"], policy["lr"]) == (1, 0.5), "its own option is not Policy's of the same name"
    value = printed(capsys, "--value.alpha", "0.25", "--value", f"{HERE}.OwnValue")["value"]
    assert value["init_args"] == {"alpha": 3.0, "epochs": 2}


def test_a_class_without_the_options_takes_its_own_alone(capsys):
    assert printed(capsys, "--value", "CloneWeights")["value"]["init_args"] == {"beta": 1.0}
    labels = ["--labels.labeller.seed", "3", "--labels.labeller.flip", "0.5", "--labels.labeller"]
    labeller = printed(capsys, *labels, f"{HERE}.OwnLabeller")["labels"]["labeller"]
    assert labeller["init_args"] == {"seed": 5}


def test_another_engine_plays_the_same_task(capsys):
    given = ["--env.task", "protoss_5_vs_5", "--env"]
    assert printed(capsys, *given, "SMAX")["env"]["init_args"] == {"task": "protoss_5_vs_5"}
    hopper = printed(capsys, *given, "MaMuJoCo")["env"]["init_args"]
    assert hopper["task"] == "Hopper", "a task of StarCraft is none of MuJoCo's"


@pytest.mark.parametrize("own_first", [True, False])
def test_an_option_wins_over_a_config_wherever_it_stands(capsys, own_first):
    own, config = ["--data.path", "mine.h5", "--value.alpha", "0.25"], ["--config", "smacv2_zerg"]
    arguments = [*own, *config] if own_first else [*config, *own]
    with pytest.raises(SystemExit):
        main(["fit", *arguments, "--print_config"])
    found = yaml.safe_load(capsys.readouterr().out)
    assert found["data"]["path"] == "mine.h5"
    assert found["value"]["init_args"]["alpha"] == 0.25


def test_of_two_configs_the_later_one_wins(tmp_path, capsys):
    first = overlay(tmp_path / "1.yaml", value={"alpha": 0.5}, method="first")
    second = overlay(tmp_path / "2.yaml", value={"alpha": 0.75})
    config = printed(capsys, *first, "--data.k", "3", *second)
    assert (config["value"]["init_args"]["alpha"], config["method"], config["data"]["k"]) == (0.75, "first", 3)


def test_arguments_are_arranged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").touch()
    Path("b.yaml").touch()
    for given, arranged in (
        ([], []),
        (["fit"], ["fit"]),
        (["fit", "--x", "1", "--config=a.yaml"], ["fit", "--config", "a.yaml", "--x", "1"]),
        (["fit", "--config", "b", "-c", "a", "--x"], ["fit", "--config", "b.yaml", "--config", "a.yaml", "--x"]),
        (["fit", "--print_config", "skip_default"], ["fit", "--print_config=skip_default"]),
        (["label", "--dry_run"], ["label", "--dry_run=true"]),
        (["label", "--dry_run", "--x", "1"], ["label", "--dry_run=true", "--x", "1"]),
        (["label", "--dry_run", "false", "--x"], ["label", "--dry_run", "false", "--x"]),
        (["label", "--dry_run=false"], ["label", "--dry_run=false"]),
    ):
        assert parser.arranged(given) == arranged
    for given in (["fit", "--config"], ["fit", "--config="]):
        with pytest.raises(MisodiceError, match="--config: found nothing, expected a YAML file"):
            parser.arranged(given)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["fit", "--value.alfa", "1"], "alfa"),
        (["fit", "--valu.alpha", "1"], "--valu.alpha"),
        (["fit", "--data.kk", "3"], "--data.kk"),
        (["fit", "--trainer.max_epoch", "3"], "--trainer.max_epoch"),
        (["fit", "--env.tusk", "3m"], "tusk"),
        (["label", "--labels.labeller.flop", "0.1"], "flop"),
        (["collect", "--output", "x.h5", "--env", "SMAX", "--sauces", "[]"], "--sauces"),
        (["report", "--runs", "x", "--outputs", "y"], "--outputs"),
    ],
)
def test_a_mistyped_option_is_named_first(tmp_path, monkeypatch, capsys, arguments, name):
    monkeypatch.chdir(tmp_path)
    configs = ["--config", "smacv2_zerg", "--data.path", "absent.h5"] if arguments[0] in ("fit", "label") else []
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *configs])
    assert ended.value.code == 2
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("error: ")
    assert name in first
    assert len(others) == 1, "no page of usage"
    assert others[0].endswith("--help lists the options")


@pytest.mark.parametrize("options", [{"value": {"alfa": 1}}, {"dada": {"k": 1}}, {"data": {"kk": 1}}])
def test_a_mistyped_option_of_a_file_is_named_first(tmp_path, capsys, options):
    with pytest.raises(SystemExit) as ended:
        main(["fit", *overlay(tmp_path / "mine.yaml", **options)])
    assert ended.value.code == 2
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert "usage:" not in output
    wrong = json.dumps(options).split('"')[-2]
    assert wrong in output or next(iter(options)) in output.splitlines()[0]


def test_jsonargparse_has_the_function_that_is_replaced():
    """No public setting does what `drop_options_of_another_class` does."""
    assert parser.typehints.discard_init_args_on_class_path_change is parser.drop_options_of_another_class
    source = Path(str(importlib.util.find_spec("jsonargparse._typehints").origin)).read_text()
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    replaced = functions["discard_init_args_on_class_path_change"]
    ours = inspect.signature(parser.drop_options_of_another_class).parameters
    assert [argument.arg for argument in replaced.args.args] == list(ours)
    assert source.count("discard_init_args_on_class_path_change(") > 1, "it is defined, and called nowhere"


def test_a_number_of_batches_stays_whole_whatever_was_imported_first():
    code = (
        "from typing import Optional, Union\nOptional[Union[float, int]]\n"
        "from misodice.cli.main import main\n"
        "main(['fit', '--trainer.limit_train_batches', '500', '--trainer.limit_val_batches', '1', '--print_config'])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stdout
    assert "limit_train_batches: 500\n" in printed
    assert "limit_val_batches: 1\n" in printed
