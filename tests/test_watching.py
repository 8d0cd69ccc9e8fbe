"""What a user sees of a run while it goes on: lines, bars, metrics.csv, loggers; and what the docs say of it."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning import Callback
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import misodice.callbacks.joining as joining
from misodice import CloneWeights, Data, Experiment, Labels, RewardModel, Rollout
from misodice.cli.main import main
from tests.helpers.terminal import Terminal, console_of
from tests.helpers.tiny_engine import Tiny

STAGES = ("preference", "discriminator", "value", "policy")
QUICK = {"max_epochs": 2, "enable_progress_bar": False}
DOCS = Path(__file__).parents[1] / "docs" / "metrics.md"


def experiment(run_dir: Path, data: Path, **others: Any) -> Experiment:
    given = {
        "env": Tiny(),
        "data": Data(str(data), k=5, batch_size=64),
        "labels": Labels(n_pairs=60),
        "rollout": Rollout(episodes=4, every_n_epochs=1),
        "trainer": QUICK,
        "run_dir": run_dir,
    }
    return Experiment(**given | others)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(tiny_file, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    experiment(run, tiny_file).fit()
    return run


def test_the_docs_name_every_metric_and_no_other(finished, tiny_file, tmp_path):
    experiment(tmp_path / "run", tiny_file, preference=RewardModel(), value=CloneWeights(0.5)).fit()
    logged = {name for run in (finished, tmp_path / "run") for name in rows_of(run / "metrics.csv")[0]}
    logged = {re.sub(r"_(expert|random)$", "_<source>", name) for name in logged}
    documented = re.findall(r"^\| `([^`]+)` \|", DOCS.read_text().partition("## TensorBoard")[0], re.M)
    assert sorted(documented) == sorted(logged)
    for line in DOCS.read_text().splitlines():
        if line.startswith("| `") and "/" in line.split("`")[1]:
            assert len([cell for cell in line.split(" | ") if cell.strip(" |")]) >= 3, line


def test_plain_lines_name_the_stages(tiny_file, tmp_path, capsys):
    # A pipe has no bar, whether one is wanted or not.
    experiment(tmp_path / "run", tiny_file, trainer={"max_epochs": 2}).fit()
    said = capsys.readouterr().out
    for place, stage in enumerate(STAGES, 1):
        assert re.search(rf"^{place}/4 {stage}: training, 2 epochs of \d steps?", said, re.M), said
        assert re.search(rf"^{place}/4 {stage}: epoch 1/2, loss ", said, re.M), said
        assert re.search(rf"^{place}/4 {stage}: done in 0:00:\d\d \(2 epochs, loss ", said, re.M), said
    for stage in STAGES[:2]:
        assert re.search(rf"{stage}: epoch 1/2, loss \S+, held_out_loss [\d.]+", said), said
    assert re.search(r"policy: epoch 1/2, loss \S+, return \S+, win_rate \S+", said), said
    assert re.search(r"value: epoch 1/2.*, ~0:00:\d\d left for all stages", said), said
    assert "\x1b" not in said
    experiment(tmp_path / "run", tiny_file, trainer={"max_epochs": 2}, value=CloneWeights()).fit(replace=True)
    assert "value: nothing to train; written: weight" in capsys.readouterr().out


def on_a_terminal(made: Experiment) -> Terminal:
    terminal = Terminal()
    made.console = console_of(terminal)
    return terminal


def test_a_terminal_has_a_bar_and_a_line_for_each_stage(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    made = experiment(tmp_path / "run", tiny_file, trainer={"max_epochs": 2})
    terminal = on_a_terminal(made)
    made.fit()
    screens = terminal.screens
    for place, stage in enumerate(STAGES, 1):
        bars = [lines for lines in screens if any(f"{place}/4 {stage} epoch 2/2" in line for line in lines)]
        assert any("loss " in line for lines in bars for line in lines), (stage, screens)
        assert re.search(rf"{place}/4 {stage}: done in 0:00:\d\d \(2 epochs, loss ", terminal.getvalue())
    assert "training," not in terminal.getvalue()


@pytest.mark.parametrize("bar", [RichProgressBar, TQDMProgressBar])
def test_a_bar_of_ones_own_replaces_ours(tiny_file, tmp_path, bar, capsys):
    seen: list[str] = []

    class Own(bar):
        def on_train_start(self, trainer, pl_module):
            seen.append(pl_module.name)
            super().on_train_start(trainer, pl_module)

    made = experiment(tmp_path / "run", tiny_file, trainer={"max_epochs": 2, "callbacks": [Own()]})
    terminal = on_a_terminal(made)
    made.fit()
    assert seen == list(STAGES)
    assert ": training, 2 epochs" in terminal.getvalue()
    assert "left for all stages" not in terminal.getvalue()
    # Without any bar it is the same run: nothing is trained again.
    experiment(tmp_path / "run", tiny_file, trainer=QUICK).fit()
    assert capsys.readouterr().out.count("not trained again") == 4
    # `enable_progress_bar false` turns off this one too.
    made = experiment(tmp_path / "off", tiny_file, trainer=QUICK | {"callbacks": Own()}, seed=1)
    made.fit()
    assert seen == list(STAGES)


class Look(Callback):
    """Reads the run's metrics.csv before every step of a stage."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: list[tuple[str, int, list[dict[str, str]]]] = []

    def __deepcopy__(self, memo: Any) -> "Look":
        return self

    def __getstate__(self) -> dict[str, str]:
        return {"path": str(self.path)}

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        rows = rows_of(self.path) if self.path.exists() else []
        self.seen.append((pl_module.name, trainer.current_epoch, rows))


def test_metrics_grow_while_training_and_end_as_ever(tiny_file, tmp_path, monkeypatch):
    monkeypatch.setattr(joining, "EVERY", 0.0)
    monkeypatch.setattr(joining, "SHARE", 0.0)
    run = tmp_path / "run"
    look = Look(run / "metrics.csv")
    experiment(run, tiny_file, trainer=QUICK | {"max_epochs": 3, "callbacks": [look]}).fit()
    final = rows_of(run / "metrics.csv")
    for stage, epoch, rows in look.seen:
        before = [row for row in final if STAGES.index(row["stage"]) < STAGES.index(stage)]
        of_stage = [row for row in final if row["stage"] == stage and row["epoch"]]
        expected = before + [row for row in of_stage if int(row["epoch"]) < epoch]
        # As far as they were logged: the last epoch's own rows may be there, later columns are not.
        shown = [{name: value for name, value in row.items() if value} for row in rows]
        assert shown[: len(expected)] == [{name: value for name, value in row.items() if value} for row in expected]
    assert [row["stage"] for row in final] == sorted([row["stage"] for row in final], key=STAGES.index)


def test_an_interrupted_run_leaves_its_rows_and_goes_on_with_them(tiny_file, tmp_path, capsys):
    once = tmp_path / "once"
    stop = {"class_path": "tests.helpers.dying.SignalAt", "init_args": {}}
    stop["init_args"] = {"stage": "value", "step": 6, "number": 2, "once": str(once)}
    config = {
        "env": {"class_path": "tests.helpers.tiny_engine.Tiny"},
        "data": {"path": str(tiny_file), "k": 5, "batch_size": 64},
        "labels": {"n_pairs": 60},
        "rollout": {"episodes": 4, "every_n_epochs": 1},
        "trainer": QUICK | {"callbacks": [stop], "logger": {"class_path": "TensorBoardLogger"}},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    line = ["fit", "--config", str(tmp_path / "config.yaml"), "--run_dir", str(tmp_path / "run")]
    assert main(line) == 130
    rows = rows_of(tmp_path / "run" / "metrics.csv")
    assert {row["stage"] for row in rows} == {"preference", "discriminator", "value"}
    assert [row["epoch"] for row in rows if row["stage"] == "value"] == ["0"]
    # The rows of what an earlier run left behind are not of this run.
    assert main([*line, "--ckpt_path", "last"]) == 0
    once.unlink()
    assert main([*line[:-1], str(tmp_path / "whole"), "--trainer.callbacks", "null"]) == 0
    resumed, whole = (rows_of(tmp_path / name / "metrics.csv") for name in ("run", "whole"))
    assert resumed == whole
    capsys.readouterr()


def test_a_stage_that_is_trained_again_hides_the_old_rows_of_later_ones(tiny_file, tmp_path):
    run = tmp_path / "run"
    experiment(run, tiny_file).fit()
    whole = (run / "metrics.csv").read_bytes()
    look = Look(run / "metrics.csv")
    made = experiment(run, tiny_file, trainer=QUICK | {"callbacks": [look]})
    made.fit(replace=True)  # the callback counts, so all is trained again
    assert {row["stage"] for row in look.seen[0][2]} <= {"preference"} or look.seen[0][0] == "preference"
    later = [rows for stage, epoch, rows in look.seen if stage == "discriminator" and epoch == 1]
    assert {row["stage"] for row in later[-1]} <= {"preference", "discriminator"}
    assert (run / "metrics.csv").read_bytes() == whole
    # What is up to date keeps its rows, byte for byte.
    experiment(run, tiny_file, trainer=QUICK | {"callbacks": [look]}).fit(replace=True)
    assert (run / "metrics.csv").read_bytes() == whole


def events(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder)).Reload()


def test_tensorboard_shows_runs_and_stages_apart(finished, tiny_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = {
        "env": {"class_path": "tests.helpers.tiny_engine.Tiny"},
        "data": {"path": str(tiny_file), "k": 5, "batch_size": 64},
        "labels": {"n_pairs": 60},
        "rollout": {"episodes": 4, "every_n_epochs": 1},
        "trainer": QUICK,
    }
    Path("mine.yaml").write_text(yaml.safe_dump(config))
    line = ["fit", "--config", "mine.yaml"]
    loggers = json.dumps(["TensorBoardLogger", {"class_path": "CSVLogger", "init_args": {"save_dir": "shared"}}])
    for seed in ("0", "1"):
        assert main([*line, "--seed_everything", seed, "--trainer.logger", loggers]) == 0
        run = Path("runs/mine/misodice") / f"seed_{seed}"
        for stage in STAGES:
            label = f"mine_misodice_seed_{seed}"
            board = run / "tensorboard" / label / stage
            assert list(board.glob("events.out.tfevents*")), board
            logged = {tag for tag in events(board).Tags()["scalars"] if "/" in tag}
            own = {name for row in rows_of(run / stage / "metrics.csv") for name, value in row.items() if value}
            assert logged == own - {"epoch", "step"}
            given = yaml.safe_load((board / "hparams.yaml").read_text())
            assert given == yaml.safe_load((run / "config.yaml").read_text()), "the whole config"
            assert rows_of(Path("shared") / label / stage / "metrics.csv") == rows_of(run / stage / "metrics.csv")
    assert not Path("lightning_logs").exists()
    # The saved config names the same loggers, and they change no result.
    saved = yaml.safe_load(Path("runs/mine/misodice/seed_1/config.yaml").read_text())["trainer"]["logger"]
    assert [each["class_path"].rpartition(".")[2] for each in saved] == ["TensorBoardLogger", "CSVLogger"]
    assert "save_dir" not in saved[0]["init_args"]
    assert saved[1]["init_args"]["save_dir"] == "shared"
    before = (finished / "metrics.csv").read_bytes()
    assert before == Path("runs/mine/misodice/seed_0/metrics.csv").read_bytes()


def test_logger_objects_from_python(tiny_file, tmp_path, capsys):
    given = [TensorBoardLogger, CSVLogger(tmp_path / "csv", name="mine")]
    made = experiment(tmp_path / "run", tiny_file, trainer=QUICK | {"logger": given})
    made.fit()
    for stage in STAGES:
        assert list((tmp_path / "run" / "tensorboard" / "run_misodice_seed_0" / stage).glob("events*"))
        assert rows_of(tmp_path / "csv" / "mine" / stage / "metrics.csv")
    # Another training of a stage takes the place of the first one in the run's own folder.
    first = set((tmp_path / "run" / "tensorboard").rglob("value/events*"))
    capsys.readouterr()
    experiment(tmp_path / "run", tiny_file, trainer=QUICK).fit(retrain="value")
    assert set((tmp_path / "run" / "tensorboard").rglob("value/events*")) == first, "no logger was asked for"
    made.fit(retrain="value")
    assert not first & set((tmp_path / "run" / "tensorboard").rglob("value/events*"))


def test_fast_dev_run_speaks_of_no_folder_and_logs_nowhere(tiny_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    trainer = {"fast_dev_run": True, "logger": [TensorBoardLogger, CSVLogger("logs")]}
    assert experiment(tmp_path / "runs" / "run", tiny_file, trainer=trainer).fit() is None
    said = capsys.readouterr().out
    assert ".fast_dev_run" not in said
    assert str(tmp_path / "runs") not in said
    assert "nothing of it is kept" in said
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
