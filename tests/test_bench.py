"""`make bench` on data too small to tell anything: it runs, and its tables are whole. No time is asserted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
STAGES = ["preference", "discriminator", "value", "policy"]


def bench(*options: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "perf" / "throughput.py"), "--rounds", "1", "--steps", "2", *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def rows(printed: str, columns: int) -> list[list[str]]:
    """The cells of a table's lines, without its head."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(line) == columns for line in cells)
    return cells[2:]


def test_stages_stand_beside_bare_loops():
    printed = bench("--only", "training", "--data", "zerg_5_vs_5", "Ant", "--transitions", "4000")
    found = rows(printed, 7)
    assert [line[:2] for line in found] == [
        [data, stage] for data in ("zerg_5_vs_5", "Ant") for stage in [*STAGES, "all three"]
    ]
    assert all(float(line[2]) > 0 for line in found)


def test_stages_stand_beside_those_of_another_checkout():
    printed = bench("--only", "training", "--data", "zerg_5_vs_5", "--transitions", "2000", "--against", str(ROOT))
    assert [line[:2] for line in rows(printed, 6)] == [["zerg_5_vs_5", stage] for stage in [*STAGES, "all three"]]


def test_a_whole_fit(smax_file):
    small = "--data.k 10 --labels.n_pairs 60 --trainer.max_epochs 1"
    printed = bench("--only", "fit", "--fit-data", str(smax_file), "--fit-options", small)
    found = {line[0]: float(line[1]) for line in rows(printed, 2)}
    assert [*found][:4] == STAGES
    assert found["all"] > 0


def test_a_side_that_fails_says_why(smax_file):
    command = [sys.executable, str(ROOT / "perf" / "throughput.py"), "--only", "fit", "--fit-data", str(smax_file)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "here (" in done.stderr
    assert "data.k is 200" in done.stderr
