"""Grids as files: the shipped ones, bad ones, and what is listed."""

import csv
import io
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import misodice
from misodice.cli.main import main
from misodice.cli.parser import arranged
from misodice.grid import setting
from misodice.grid.board import Board, Seen
from misodice.grid.grid import read_grid
from tests.helpers.cli import CONFIGS
from tests.helpers.grids import SMALL, write_grid


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """The current folder, with the shipped configs in it."""
    (tmp_path / "configs").symlink_to(CONFIGS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


GRIDS = sorted((CONFIGS / "benchmark").glob("*.yaml"))


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_shipped_grid_is_listed(here, path, capsys):
    assert main(["benchmark", "--grid", f"configs/benchmark/{path.name}", "--dry_run"]) == 0
    grid = yaml.safe_load(path.read_text())
    assert grid["name"] == path.stem
    sizes = [len(grid[field]) for field in ("tasks", "methods", "seeds")]
    count = sizes[0] * sizes[1] * sizes[2] * len(grid.get("variants", [None]))
    printed = capsys.readouterr().out
    assert f"{count} cells, {count} to do" in printed
    assert printed.count("/seed_") == count
    assert not (here / "runs").exists()


@pytest.mark.parametrize("all_options", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_options_of_the_shipped_grids_are_those_of_fit(here, lines, all_options):
    """A cell of every method and of every task's config; the slow test adds one of every set of options."""
    cells = [cell for path in GRIDS for cell in read_grid(path).cells(path.parent, here)]
    of_methods = {cell.method: cell for cell in cells}
    of_configs = {str(cell.configs): cell for cell in cells if cell.method == "misodice"}
    of_options = {(str(cell.options.get("labels.labeller")), *sorted(cell.options)): cell for cell in cells}
    for cell in (of_methods | of_configs | (of_options if all_options else {})).values():
        config = lines.parser.parse_args(arranged(cell.fit)).as_dict()["fit"]
        assert config["seed_everything"] == cell.seed
        assert config["method"] == cell.method
        assert config["env"]["init_args"] == cell.env["init_args"]
        assert config["env"]["class_path"].rpartition(".")[2] == cell.env["class_path"].rpartition(".")[2]


def paper(*tables: int) -> set[tuple[str, str, str | None, str]]:
    """Task, method, variant and labels of each entry of tables of the paper, in the names used here."""
    methods = {"bc_0.0": "bc_0", "bc_0.5": "bc_05", "bc_1.0": "bc_1", "vdn": "misodice_vdn"}
    entries = set()
    with Path(misodice.__file__).with_name("report").joinpath("paper_tables.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if int(row["table"]) in tables:
                method, _, study = row["method"].partition(":")
                task = row["task"].removesuffix("-v2")
                entries.add((task, methods.get(method, method), study, row["labels"]))
    return entries


def study(options: dict[str, Any]) -> str:
    """What a cell varies, as the paper's tables name it."""
    if "data.k" in options:
        return f"top_k={options['data.k']}"
    if "value.alpha" in options:
        return f"alpha={options['value.alpha']:.2f}"[:10]
    return ""


def labels(options: dict[str, Any]) -> str:
    if options.get("data.ranking") == "oracle":
        return "ground_truth"
    labeller = options["labels.labeller"]
    return "rule" if labeller == "RuleLabeller" else f"llm:{labeller['init_args']['model']}"


@pytest.mark.parametrize(
    ("name", "tables"),
    [
        ("main", (4, 5)),
        ("top_k", (6, 7)),
        ("alpha", (8, 9)),
        ("llm", (10,)),
        ("rule_labels", (11, 12)),
        ("ground_truth", (13, 14)),
    ],
)
def test_the_paper_grids_have_every_entry_of_its_tables(tmp_path, name, tables):
    path = CONFIGS / "benchmark" / f"paper_{name}.yaml"
    cells = read_grid(path).cells(path.parent, tmp_path)
    assert {
        (cell.env["init_args"]["task"], cell.method, study(cell.options), labels(cell.options)) for cell in cells
    } == paper(*tables)
    assert {cell.seed for cell in cells} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"methods": None}, ["methods"]),
        ({"methds": ["bc_0"]}, ["methds"]),
        ({"seeds": ["one"]}, ["seeds", "one"]),
        ({"seeds": []}, ["seeds", "at least one"]),
        ({"seeds": [1, 1]}, ["seeds", "none twice"]),
        ({"name": "../up"}, ["name", "'../up'", "folder"]),
        ({"tasks": {"a.b": {"config": "x.yaml"}}}, ["tasks", "'a.b'"]),
        ({"tasks": {"a": {"config": "absent.yaml"}}}, ["tasks.config", "absent.yaml"]),
        ({"tasks": {"a": {"config": "small.yaml", "collect": [{"behavior": "random"}]}}}, ["tasks", "behavior"]),
        ({"methods": ["bc_2"]}, ["methods", "bc_2", "near names", "bc_1"]),
        ({"options": {"data.path": "absent.h5"}}, ["hopper", "data.path", "absent.h5"]),
        ({"options": {"env.tsk": "Ant"}}, ["hopper", "env", "tsk"]),
        ({"options": {"env": "SMAXX"}}, ["hopper", "env", "SMAXX"]),
        ({"options": {"env": None}, "tasks": {"a": {"config": "small.yaml", "collect": []}}}, ["a", "env"]),
        ({"num_cpus": 0}, ["num_cpus is 0"]),
    ],
    ids=str,
)
def test_a_bad_grid_is_refused_by_its_field(here, fields, words, capsys):
    write_grid(here / "small.yaml", None, **fields)
    assert main(["benchmark", "--grid", "small.yaml"]) == 2
    message = capsys.readouterr().err
    assert all(word in message for word in ["misodice: ", *words]), message
    assert not (here / "runs").exists()


def test_no_file_and_no_yaml(here, capsys):
    assert main(["benchmark", "--grid", "absent.yaml"]) == 2
    assert "absent.yaml does not exist" in capsys.readouterr().err
    (here / "bad.yaml").write_text("name: [")
    assert main(["benchmark", "--grid", "bad.yaml"]) == 2
    assert "bad.yaml" in capsys.readouterr().err


def test_without_ray_the_extra_is_named(here, hopper_file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write_grid(here / "small.yaml", hopper_file)
    assert main(["benchmark", "--grid", "small.yaml", "--dry_run", "true"]) == 0
    assert main(["benchmark", "--grid", "small.yaml"]) == 2
    assert "pip install 'misodice[benchmark]'" in capsys.readouterr().err


def test_cells_at_the_same_time_share_no_stage(here):
    path = CONFIGS / "benchmark" / "few_experts.yaml"
    cells = read_grid(path).cells(path.parent, here)
    assert {cell.method for cell in cells[: len(cells) // 8]} == {"misodice"}
    assert len({(cell.task, cell.seed) for cell in cells[:9]}) == 9


MIXER = """
import torch

class Mixer(torch.nn.Module):  # {comment}
    width = {width}
"""


def test_the_fingerprint_is_of_what_makes_the_result(here, hopper_file):
    def mark(**fields: Any) -> str:
        path = write_grid(here / "small.yaml", hopper_file, **fields)
        return read_grid(path).cells(here, here)[0].fingerprint

    def task(config: str, **options: Any) -> dict[str, Any]:
        return {"hopper": {"config": config, "options": options}}

    text = (CONFIGS / "mamujoco_hopper.yaml").read_text()
    (here / "commented.yaml").write_text(f"# other\n\n{text}")
    (here / "changed.yaml").write_text(text.replace("k: 200", "k: 201"))
    (here / "copy.h5").write_bytes(hopper_file.read_bytes())
    shown = {"trainer.log_every_n_steps": 7, "trainer.enable_progress_bar": False, "data.path": "copy.h5"}
    same = mark()
    assert same == mark(name="other", seeds=[0, 1], num_cpus=2)
    assert same == mark(tasks=task("commented.yaml"))
    assert mark(options=SMALL | {"data.path": str(hopper_file)}) == mark(options=SMALL | shown)
    others = [
        mark(options={"data.k": 6}),
        mark(methods=["bc_1"]),
        mark(tasks=task("changed.yaml")),
        mark(tasks=task("mamujoco_hopper", **{"env.partition": None})),
        mark(tasks=task("mamujoco_hopper", **{"trainer.gradient_clip_val": 1.0})),
        mark(options=SMALL),
    ]
    assert len({same, *others}) == 7


def test_an_edit_of_a_users_class_makes_its_cells_run_again(here, hopper_file, monkeypatch):
    monkeypatch.syspath_prepend(str(here))
    write_grid(here / "small.yaml", hopper_file, options={"value.mixer": "grid_mixer.Mixer"}, methods=["misodice"])

    def mark(comment: str, width: int) -> str:
        (here / "grid_mixer.py").write_text(MIXER.format(comment=comment, width=width))
        setting._mark.cache_clear()  # as in another process
        return read_grid(here / "small.yaml").cells(here, here)[0].fingerprint

    first = mark("a", 8)
    assert first == mark("another comment", 8)
    assert first != mark("a", 16)


def test_a_grid_outside_a_checkout_finds_configs_and_methods(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("configs/benchmark/quick.yaml", "benchmark/quick", "quick"):
        assert main(["benchmark", "--grid", name, "--dry_run", "true"]) == 0
        assert "16 cells, 16 to do" in capsys.readouterr().out
    write_grid(tmp_path / "my.yaml", None, tasks={"zerg": {"config": "configs/smacv2_zerg.yaml"}}, methods=["indd"])
    (cell,) = read_grid(tmp_path / "my.yaml").cells(tmp_path, tmp_path)
    assert [path.stem for path in cell.configs] == ["smacv2_zerg", "indd"]
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "indd.yaml").write_text("method: mine\n")
    (cell,) = read_grid(tmp_path / "my.yaml").cells(tmp_path, tmp_path)
    assert cell.configs[1] == tmp_path / "methods" / "indd.yaml", "the user's own comes first"


def test_the_environment_of_a_grid_is_that_of_fit(here):
    engines = {}
    for name, options in {
        "as configured": {},
        "another task": {"env.task": "zerg_10_vs_10"},
        "another engine": {"env": "SMAX", "env.task": "zerg_10_vs_10"},
        "of the user": {"env": {"class_path": "tests.helpers.tiny_engine.Tiny"}},
        "none": {"env": None},
    }.items():
        tasks = {"zerg": {"config": "smacv2_zerg", "options": options}}
        write_grid(here / "small.yaml", None, tasks=tasks)
        (cell,) = read_grid(here / "small.yaml").cells(here, here)
        engines[name] = cell.env and (cell.env["class_path"].rpartition(".")[2], cell.env["init_args"].get("task"))
    assert engines["as configured"] == ("SMAC", "zerg_5_vs_5")
    assert engines["another task"] == ("SMAC", "zerg_10_vs_10")
    assert engines["another engine"] == ("SMAX", "zerg_10_vs_10")
    assert engines["of the user"][0] == "Tiny"
    assert engines["none"] is None


def test_the_board_shows_each_seed_and_fits_the_terminal(here):
    path = CONFIGS / "benchmark" / "paper_top_k.yaml"
    cells = read_grid(path).cells(path.parent, here)
    console = Console(width=100, height=30, force_terminal=True, color_system=None, file=io.StringIO())
    board = Board("paper_top_k", cells, console)
    for cell, state in zip(reversed(cells), ("running", "done", "failed"), strict=False):
        board.seen[cell.name] = Seen(state, time.time() - 60, tries=2)
    with console.capture() as captured:
        console.print(board)
    printed = captured.get()
    assert "380" not in printed
    assert "377 waiting, 1 running, 1 done, 1 failed" in printed
    assert f"▸ {cells[-1].name}: data and labels, 0:01:00, try 2" in printed
    assert "zerg_20_vs_23.k_1200" in printed, "a row where something happens is shown before others"
    assert "···▸" in printed
    assert "more" in printed
    assert len(printed.splitlines()) <= 30
