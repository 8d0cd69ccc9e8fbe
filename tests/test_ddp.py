"""Two processes give what one gives, written once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest
import torch

from misodice.data.episodes import Episodes, rows_of_transitions
from misodice.datamodules.batch import Step
from misodice.modules import Discriminator
from tests.test_cli import CONFIGS, SMALL, fit, metrics

ROOT = Path(__file__).parent.parent


def artefacts(run_dir: Path) -> set[str]:
    return {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def runs(smax_file, tmp_path_factory) -> tuple[Path, Path, str]:
    """A run of one process, a run of two, and what the two printed."""
    folder = tmp_path_factory.mktemp("runs")
    one, two = folder / "one", folder / "two"
    fit(one, smax_file)
    ddp = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    where = ["--data.path", str(smax_file), "--run_dir", str(two)]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "misodice", "fit", "--config", str(CONFIGS / "smacv2_zerg.yaml")),
            *(*where, *SMALL, *ddp),
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return one, two, done.stdout


def test_the_same_artefacts_written_once(runs):
    one, two, printed = runs
    assert artefacts(two) == artefacts(one)
    assert printed.count("2 greedy rollouts") == 1
    with h5py.File(one / "labels.h5") as a, h5py.File(two / "labels.h5") as b:
        # Two processes take other batches, so the recovered reward may rank a little otherwise.
        assert a["expert"].shape == b["expert"].shape
        assert a["expert"][:].sum() == b["expert"][:].sum() == 5
    with h5py.File(one / "columns.h5") as a, h5py.File(two / "columns.h5") as b:
        assert set(a) == set(b)
        assert {name: a[name].shape for name in a} == {name: b[name].shape for name in b}
        assert b["weight"][:].mean() == pytest.approx(1.0, abs=1e-4)


def test_each_process_learns_from_its_own_half(runs):
    one, two, _ = runs
    steps = [json.loads((run / "policy" / "stage.json").read_text())["steps"] for run in (one, two)]
    assert steps[1] == -(-steps[0] // 2) or steps[1] == steps[0] // 2
    assert [row["stage"] for row in metrics(one)] == [row["stage"] for row in metrics(two)]


def test_predictions_are_in_the_order_of_the_file(runs, smax_file):
    """What two processes gathered is what one forward pass from the kept checkpoint gives."""
    _, two, _ = runs
    with h5py.File(two / "columns.h5") as file:
        gathered = file["log_ratio"][:]
    module = Discriminator.load_from_checkpoint(two / "discriminator" / "best.ckpt", weights_only=True).eval()
    episodes = Episodes.read(smax_file)
    rows = rows_of_transitions(episodes.length)
    step = Step(*map(torch.from_numpy, (episodes.obs[rows], episodes.state[rows], episodes.actions)))
    with torch.no_grad():
        expected = module(step).numpy()
    assert gathered == pytest.approx(expected, abs=1e-4)
