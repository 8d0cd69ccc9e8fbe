"""Every file of examples/, run outside the checkout by the command in its docstring."""

import ast
import importlib
import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

from misodice import Episodes, Policy, Result
from misodice.cli.main import main

ROOT = Path(__file__).parents[1]
QUICK = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.enable_progress_bar", "false"]
SMALL = {
    "fit": ["--labels.n_pairs", "20", "--data.batch_size", "64", "--rollout.episodes", "2", *QUICK],
    "label": ["--labels.n_pairs", "20", "--data.k", "3", *QUICK],
}


def command_of(name: str) -> list[str]:
    """The words of the command in a file's docstring, with `SMALL` after them."""
    docstring = ast.get_docstring(ast.parse((ROOT / "examples" / f"{name}.py").read_text())) or ""
    (line,) = (line for line in docstring.splitlines() if line.startswith("misodice "))
    _, *words = shlex.split(line)
    return [*words, *SMALL.get(words[0], [])]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory, smax_file):
    """Where a user works: a copy of the examples, and a file that names no engine, so that nothing is rolled out."""
    path = tmp_path_factory.mktemp("user")
    shutil.copytree(ROOT / "examples", path / "examples", ignore=shutil.ignore_patterns("__pycache__", "runs"))
    zerg = Episodes.read(smax_file)
    replace(zerg, header=replace(zerg.header, env={"task": "zerg_5_vs_5"})).write(path / "zerg.h5")
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "examples"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        # The command line adds the current folder; the checkout, which pytest put there, would come before it.
        patch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).resolve() != ROOT])
        sys.path.append(str(path))
        yield path
    for name in [name for name in sys.modules if name.partition(".")[0] == "examples"]:
        assert Path(sys.modules.pop(name).__file__).is_relative_to(path)
    sys.modules.update(before)


@pytest.fixture(scope="module")
def exported(folder) -> Path:
    own_data = importlib.import_module("examples.own_data")
    return own_data.main(trainer={"max_epochs": 1, "limit_train_batches": 2, "enable_progress_bar": False})


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("attention_mixer", "zerg.h5"),
        ("residual_network", "zerg.h5"),
        ("laplace_head", "data/two_goals.h5"),
        ("state_reward", "zerg.h5"),
        ("state_ratio", "zerg.h5"),
        ("ratio_weights", "zerg.h5"),
        ("clip_weights", "zerg.h5"),
        ("entropy_policy", "zerg.h5"),
    ],
)
def test_part_of_the_training(folder, exported, name, data):
    where = ["--env", "null", "--data.path", data, "--data.k", "3", "--run_dir", f"runs/{name}"]
    assert main([*command_of(name), *where, "--shared_stages", "shared"]) == 0
    run = folder / "runs" / name
    assert f"class_path: examples.{name}." in (run / "config.yaml").read_text()
    assert Result.read(run).returns is None
    policy = Policy.load(run / "policy" / "last.ckpt")
    spec = policy.spec
    obs = torch.zeros(7, spec.n_agents, spec.obs_dim)
    available = torch.ones(7, spec.n_agents, spec.n_actions, dtype=torch.bool) if spec.discrete else None
    assert policy.act(obs, available).shape[:2] == (7, spec.n_agents)


def test_labeller(folder):
    where = ["--env", "null", "--data.path", "zerg.h5", "--run_dir", "runs/labeller"]
    assert main([*command_of("feature_labeller"), *where]) == 0
    lines = [json.loads(line) for line in (folder / "runs/labeller/preferences.jsonl").read_text().splitlines()]
    answers = [line["answer"] for line in lines if line["kind"] == "preference"]
    assert len(answers) == 20
    assert {"first", "second"} <= set(answers)


def test_describer(folder, capsys):
    where = ["--env", "null", "--data.path", "zerg.h5", "--run_dir", "runs/describer"]
    assert main([*command_of("feature_describer"), *where]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "Step 0: " in printed
    assert "ally_0.health 1.00" in printed


def test_actor(folder):
    assert main(command_of("sticky_actor")) == 0
    episodes = Episodes.read(folder / "data" / "sticky.h5")
    assert list(episodes.source) == ["sticky"] * 50
    again = episodes.actions[1:] == episodes.actions[:-1]
    assert 0.6 < again.mean() < 0.9


def test_importer(folder):
    assert main(command_of("csv_importer")) == 0
    where = ["--env", "examples.rendezvous.Rendezvous", "--data.path", "data/log.h5", "--run_dir", "runs/log"]
    assert main(["fit", *where, "--data.ranking", "return", "--data.k", "1", *SMALL["fit"]]) == 0
    assert Result.read("runs/log").summary["engine"] == "rendezvous"
    assert Episodes.read("data/log.h5").n_episodes == 3


def test_engine(folder):
    assert main(command_of("rendezvous")) == 0
    result = Result.read(folder / "runs" / "rendezvous")
    assert len(result.returns) == 2
    assert result.win_rate is not None
    assert result.summary["task"] == "line"
    assert main(["test", "--config", "runs/rendezvous/config.yaml", "--rollout.episodes", "3"]) == 0


def test_own_data_without_an_environment(exported):
    agent = torch.jit.load(exported)
    action = agent(torch.zeros(2, 2), torch.arange(2))[0]
    assert action.shape == (2, 2)
    assert Result.read("runs/two_goals").returns is None


def test_notebook(folder):
    path = folder / "examples" / "first_run.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count is None and not cell.outputs for cell in cells)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    printed = str(cells[-1].outputs)
    assert "discriminator: up to date" in printed
    assert "value: up to date" not in printed
    assert "Result(runs/first" in printed
