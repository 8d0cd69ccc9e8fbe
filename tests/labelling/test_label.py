"""`misodice label`, and the labelling part of `fit`."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from misodice.cli.main import main
from misodice.data.preferences import Preferences
from misodice.labelling import Labeller
from tests.helpers.cli import TINY, fit
from tests.helpers.fake_openai import serve


class AlwaysTie(Labeller):
    """A judge that sees no difference."""

    def compare(self, episodes, first, second):
        return "tie"


class MoreSteps(Labeller):
    """Reads what every file has."""

    def compare(self, episodes, first, second):
        return "first" if episodes.length[first] > episodes.length[second] else "second"


def label(run_dir: Path, data: Path, *more: str, status: int = 0) -> None:
    small = ["--labels.n_pairs", "60", "--data.k", "5", "--trainer.max_epochs", "2"]
    where = ["--data.path", str(data), "--run_dir", str(run_dir), "--trainer.enable_progress_bar", "false"]
    assert main(["label", "--env", TINY, *where, *small, *more]) == status


def test_label_is_phase_1_and_fit_goes_on_from_it(tiny_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")  # a row of the table is one line
    run = tmp_path / "run"
    label(run, tiny_file)
    printed = capsys.readouterr().out
    assert "win counts alone" in printed
    assert "recovered reward" in printed
    assert "widest gap" in printed
    assert {path.name for path in run.iterdir()} == {
        *("preferences.jsonl", ".preferences.jsonl.lock", ".lock"),
        *("preference", "columns.h5", "labels.h5", "labels.png", "metrics.csv"),
    }
    assert len(Preferences.read(run / "preferences.jsonl").answer) == 60
    with h5py.File(run / "labels.h5") as file, h5py.File(run / "columns.h5") as columns:
        assert file["expert"][:].sum() == 5
        lengths = h5py.File(tiny_file)["episode/length"][:]
        sums = np.add.reduceat(columns["reward"][:].astype(float), np.cumsum(lengths) - lengths)
        assert file["score"][:] == pytest.approx(sums)
        assert set(np.argsort(-sums)[:5]) == set(np.flatnonzero(file["expert"][:]))
    answers = (run / "preferences.jsonl").read_bytes()
    fit(run, tiny_file)
    printed = capsys.readouterr().out
    assert "labels: up to date" in printed
    assert "preference: up to date" in printed
    assert (run / "preferences.jsonl").read_bytes() == answers
    labels = json.loads((run / "summary.json").read_text())["labels"]
    assert labels["labeller"] == "RuleLabeller"
    assert labels["quality"] == labels["recovered"]["quality"] is not None
    assert set(labels["win_counts"]) == {"quality", "kendall_tau", "precision_at_k", "auroc"}
    assert 0 <= labels["pair_accuracy"]["held_out"] <= 1
    assert labels["ties"] == pytest.approx(Preferences.read(run / "preferences.jsonl").tie_share)


def test_other_labels_train_again_and_other_stages_only_as_needed(tiny_file, tmp_path, capsys):
    run = tmp_path / "run"
    fit(run, tiny_file)
    before = {path.parent.name: path.stat().st_mtime_ns for path in run.glob("*/last.ckpt")}
    fit(run, tiny_file, "--labels.labeller.flip", "0.3", "--replace", "true")
    after = {path.parent.name: path.stat().st_mtime_ns for path in run.glob("*/last.ckpt")}
    assert all(after[stage] > before[stage] for stage in before)
    assert len(list(run.glob("preferences*.jsonl"))) == 2
    capsys.readouterr()
    fit(run, tiny_file, "--labels.labeller.flip", "0.3", "--data.k", "6", "--replace", "true")
    assert "preference: up to date" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fast", "words"),
    [
        (["--show", "2"], ["pair 0", "pair 1", "not answered yet"]),
        (["--dry_run"], ["60 of 60 pairs"]),
        (["--dry_run", "true"], ["60 of 60 pairs"]),
    ],
)
def test_looking_leaves_nothing(tiny_file, tmp_path, capsys, fast, words):
    label(tmp_path / "run", tiny_file, *fast)
    printed = capsys.readouterr().out
    assert all(word in printed for word in words), printed
    assert "pair 2" not in printed
    assert not (tmp_path / "run").exists()


def test_all_ties_stop_with_a_message(tiny_file, tmp_path, capsys):
    fit(tmp_path / "run", tiny_file, "--labels.labeller", "tests.labelling.test_label.AlwaysTie", status=2)
    message = capsys.readouterr().err
    assert "all 60 pairs are ties (60 judged equal)" in message
    assert "--show" in message
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_file_without_returns_needs_another_labeller(tiny_file, tmp_path, capsys):
    path = tmp_path / "silent.h5"
    shutil.copy(tiny_file, path)
    with h5py.File(path, "a") as file:
        for field in ("episode/return", "episode/source", "episode/won", "rewards"):
            del file[field]
    label(tmp_path / "run", path, status=2)
    assert "LLMLabeller" in capsys.readouterr().err
    fit(tmp_path / "run", path, "--labels.labeller", "tests.labelling.test_label.MoreSteps")
    labels = json.loads((tmp_path / "run" / "summary.json").read_text())["labels"]
    assert (labels["quality"], labels["auroc"]) == (None, None)
    assert labels["pair_accuracy"]["held_out"] is not None


def test_a_language_model_labels_in_fit(smax_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    with serve() as fake:
        llm = ["--labels.labeller", "LLMLabeller", "--labels.labeller.base_url", fake.url, "--labels.n_pairs", "20"]
        fit(tmp_path / "run", smax_file, *llm, config="smacv2_zerg")
        asked = len(fake.log)
        changed = ["--value.alpha", "0.5", "--replace", "true"]
        fit(tmp_path / "run", smax_file, *llm, *changed, config="smacv2_zerg")
        assert len(fake.log) == asked >= 40
    labels = json.loads((tmp_path / "run" / "summary.json").read_text())["labels"]
    assert labels["labeller"] == "LLMLabeller"
    assert labels["position_consistency"] == 1.0
    for path in (tmp_path / "run").rglob("*"):
        assert path.is_dir() or b"sk-secret" not in path.read_bytes()


def test_runs_may_share_answers(tiny_file, tmp_path, capsys):
    shared = ["--labels.path", str(tmp_path / "shared.jsonl")]
    label(tmp_path / "a", tiny_file, *shared)
    capsys.readouterr()
    label(tmp_path / "b", tiny_file, *shared, "--seed_everything", "1")
    assert "labels: up to date" in capsys.readouterr().out
    assert not list(tmp_path.glob("*/preferences.jsonl"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preference", "RewardModel", "--policy.weight", "local_weight"], ["'local_weight'", "OMAPL"]),
        (["--labels.n_pairs", "0"], ["labels.n_pairs: found 0", "a whole number from 1"]),
    ],
)
def test_bad_options_are_refused_before_anything(tiny_file, tmp_path, capsys, options, words):
    fit(tmp_path / "run", tiny_file, *options, status=2)
    message = capsys.readouterr().err
    assert all(word in message for word in words), message
    assert not list(tmp_path.rglob("*.ckpt"))


def test_the_oracle_and_the_reward_model(tiny_file, tmp_path):
    label(tmp_path / "run", tiny_file, "--labels.labeller", "OracleLabeller", "--preference", "RewardModel")
    with h5py.File(tmp_path / "run" / "columns.h5") as columns:
        assert set(columns) == {"reward"}
