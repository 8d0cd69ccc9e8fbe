"""A run of one device is the first of one, whatever the environment says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.utilities import rank_zero_only

from misodice import Experiment
from misodice.pipeline.alone import OneProcess, is_alone
from misodice.pipeline.trainers import TrainerOptions
from tests.helpers.cli import fit_command

ROOT = Path(__file__).parents[2]
SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "seeds",
    "SLURM_NODELIST": "localhost",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
}
OTHERS = [
    SLURM | {"SLURM_NTASKS_PER_NODE": "4"},
    SLURM | {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
    {"RANK": "3", "LOCAL_RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "1"},
    {"RANK": "abc", "LOCAL_RANK": "", "WORLD_SIZE": "x", "MASTER_PORT": "y", "NODE_RANK": "z"},
    {"GROUP_RANK": "1", "TORCHELASTIC_RUN_ID": "none", "RANK": "2", "LOCAL_RANK": "0", "WORLD_SIZE": "4"},
]


@pytest.fixture
def rank():
    """A process whose rank Lightning has read from the environment when it was imported."""
    before = rank_zero_only.rank
    rank_zero_only.rank = 3
    yield
    rank_zero_only.rank = before


@pytest.mark.usefixtures("rank")
@pytest.mark.parametrize("variables", OTHERS, ids=["srun", "ntasks", "torchrun", "nonsense", "elastic"])
@pytest.mark.parametrize("strategy", ["auto", "ddp"])
def test_one_device_is_the_first_of_one(monkeypatch, tmp_path, variables, strategy):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = TrainerOptions({"accelerator": "cpu", "devices": 1, "strategy": strategy, "default_root_dir": tmp_path})
    assert options.alone
    trainer = options.plain()
    assert (trainer.global_rank, trainer.local_rank, trainer.node_rank, trainer.world_size) == (0, 0, 0, 1)
    assert trainer.is_global_zero
    assert rank_zero_only.rank == 0
    made = Experiment(trainer={"accelerator": "cpu", "devices": 1, "strategy": strategy}, run_dir=tmp_path)
    assert made.is_global_zero


@pytest.mark.usefixtures("rank")
@pytest.mark.parametrize(
    "options",
    [
        {"devices": 2, "strategy": "ddp"},
        {"devices": 1, "num_nodes": 2, "strategy": "ddp"},
        {"devices": 1, "plugins": [LightningEnvironment()]},
    ],
    ids=["two devices", "two machines", "an environment of the user's own"],
)
def test_a_run_of_several_is_not_alone_and_keeps_its_rank(options):
    assert not is_alone({"accelerator": "cpu", "logger": False} | options)
    assert rank_zero_only.rank == 3


def test_its_own_address(monkeypatch):
    monkeypatch.setenv("MASTER_PORT", "1")
    environment = OneProcess()
    assert environment.main_address == "127.0.0.1"
    assert environment.main_port == environment.main_port > 1
    assert not environment.creates_processes_externally


def test_a_task_of_srun_trains_its_own_run(tiny_file, tmp_path):
    command = fit_command("run", tiny_file, "--data.ranking", "return", "--trainer.max_epochs", "1")
    environment = {**os.environ, **OTHERS[0], "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "misodice", *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "written: run" in done.stdout
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["rollout"]["episodes"] == 2
    assert {"config.yaml", "metrics.csv"} <= {path.name for path in (tmp_path / "run").iterdir()}
