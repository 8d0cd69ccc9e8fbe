"""Two processes give what one gives, written once."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE
from typing import Any

import h5py
import pytest
import torch

from misodice.data.episodes import Episodes, rows_of_transitions
from misodice.datamodules.batches import Step
from misodice.modules import Discriminator
from tests.helpers.cli import fit, fit_command, metrics

ROOT = Path(__file__).parent.parent
LENGTH = ["--trainer.max_epochs", "3", "--data.batch_size", "16"]  # so that an epoch has several steps


def artefacts(run_dir: Path) -> set[str]:
    return {str(path.relative_to(run_dir)) for path in run_dir.rglob("*") if path.is_file()}


def in_two(run_dir: Path, data: Path, *more: str) -> dict[str, Any]:
    """`misodice fit` in two gloo processes, as arguments of `subprocess`."""
    ddp = ["--trainer.accelerator", "cpu", "--trainer.devices", "2", "--trainer.strategy", "ddp"]
    return {
        "args": [sys.executable, "-m", "misodice", *fit_command(run_dir, data, *ddp, *more)],
        "cwd": run_dir.parent,
        "env": {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        "text": True,
    }


def fit_in_two(run_dir: Path, data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**in_two(run_dir, data, *more), capture_output=True, timeout=300, check=False)


@dataclass
class Runs:
    """A run of one process, and one of two that Ctrl-C interrupted in the value stage and that then went on."""

    one: Path
    two: Path
    interrupted: tuple[int, str]
    """Its exit code and what it printed as errors."""
    left: list[int]
    """Its processes that lived on."""
    saved: int
    """Step of the value stage's checkpoint then."""
    printed: str
    """By the processes that went on."""


@pytest.fixture(scope="module")
def runs(tiny_file, tmp_path_factory) -> Runs:
    folder = tmp_path_factory.mktemp("runs")
    one, two = folder / "one", folder / "two"
    fit(one, tiny_file, *LENGTH)
    stop = {"class_path": "tests.helpers.dying.SignalAt"}
    stop["init_args"] = {"stage": "value", "step": 4, "number": int(signal.SIGINT), "once": str(folder / "once")}
    more = [*LENGTH, "--trainer.callbacks", json.dumps([stop]), "--ckpt_path", "last"]
    run = subprocess.Popen(**in_two(two, tiny_file, *more), start_new_session=True, stdout=PIPE, stderr=PIPE)
    _, error = run.communicate(timeout=300)
    for _ in range(100):  # whoever takes over the children of a process that has ended may be slow to bury them
        if not (left := processes_of_group(run.pid)):
            break
        time.sleep(0.1)
    saved = torch.load(two / "value" / "last.ckpt", weights_only=True)["global_step"]
    done = fit_in_two(two, tiny_file, *more)
    assert done.returncode == 0, done.stderr
    return Runs(one, two, (run.returncode, error), left, saved, done.stdout)


def test_ctrl_c_saves_first_and_leaves_no_process(runs):
    code, error = runs.interrupted
    assert code == 130, error
    assert "go on with --ckpt_path last" in error
    assert not runs.left
    assert runs.saved in (5, 6)
    assert "value: going on from" in runs.printed


def test_the_same_artefacts_written_once(runs):
    one, two, printed = runs.one, runs.two, runs.printed
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
    one, two = runs.one, runs.two
    steps = [json.loads((run / "policy" / "stage.json").read_text())["steps"] // 3 for run in (one, two)]  # 3 epochs
    assert steps[1] == -(-steps[0] // 2)
    assert [row["stage"] for row in metrics(one)] == [row["stage"] for row in metrics(two)]


def assert_log_ratio_is_the_checkpoint_s(run: Path, data: Path) -> None:
    """The column is what one forward pass on the CPU gives."""
    with h5py.File(run / "columns.h5") as file:
        written = file["log_ratio"][:]
    module = Discriminator.load_from_checkpoint(run / "discriminator" / "best.ckpt", "cpu", weights_only=True).eval()
    episodes = Episodes.read(data)
    rows = rows_of_transitions(episodes.length)
    step = Step(*map(torch.from_numpy, (episodes.obs[rows], episodes.state[rows], episodes.actions)))
    with torch.no_grad():
        expected = module(step).numpy()
    assert written == pytest.approx(expected, abs=1e-4)


def test_predictions_are_in_the_order_of_the_file(runs, tiny_file):
    """What two processes gathered is what one forward pass from the kept checkpoint gives."""
    assert_log_ratio_is_the_checkpoint_s(runs.two, tiny_file)


def test_two_processes_learn_what_one_learns_from_batches_of_twice_the_size(tiny_file, tmp_path):
    """Up to the order of floating-point sums, which Adam makes greater where a gradient is next to nothing.

    Whole batches alone, and of an episode no more steps than each has: a mean over two processes is a mean over all
    where both have as much.
    """
    same = ["--trainer.limit_train_batches", "4", "--preference.max_steps", "2", "--data.ranking", "preference"]
    whole = ["--data.batch_size", "32", "--preference.pairs", "8"]
    half = ["--data.batch_size", "16", "--preference.pairs", "4"]
    fit(tmp_path / "one", tiny_file, *same, *whole)
    done = fit_in_two(tmp_path / "two", tiny_file, *same, *half)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "one" / "labels.h5") as a, h5py.File(tmp_path / "two" / "labels.h5") as b:
        assert (a["expert"][:] == b["expert"][:]).all()
    with h5py.File(tmp_path / "one" / "columns.h5") as a, h5py.File(tmp_path / "two" / "columns.h5") as b:
        for name in a:
            assert b[name][:] == pytest.approx(a[name][:], rel=1e-3, abs=1e-4), name
    policies = [
        torch.load(tmp_path / run / "policy" / "last.ckpt", weights_only=True)["state_dict"] for run in ("one", "two")
    ]
    for name, values in policies[0].items():
        assert policies[1][name] == pytest.approx(values, abs=1e-4), name


@pytest.mark.parametrize("how", ["raises", pytest.param("is killed", marks=pytest.mark.slow)])
def test_a_process_that_dies_ends_the_other(tiny_file, tmp_path, how):
    die = {"class_path": "tests.helpers.dying.DieInSecond", "init_args": {"how": how}}
    done = fit_in_two(tmp_path / "run", tiny_file, "--trainer.callbacks", json.dumps([die]))
    assert done.returncode != 0
    if how == "raises":
        assert "the second process broke" in done.stderr
    assert not (tmp_path / "run" / "value" / "stage.json").exists()
    assert (tmp_path / "run" / "discriminator" / "stage.json").exists()


def processes_of_group(group: int) -> list[int]:
    """Those that live, zombies too."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            fields = path.read_text().rsplit(")", 1)[1].split()
            if int(fields[2]) == group:
                found.append(int(path.parent.name))
    return found
