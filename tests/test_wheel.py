"""The wheel in an empty folder, as a user has it."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.helpers.cli import CONFIGS

ROOT = CONFIGS.parent
pytestmark = pytest.mark.slow
SMALL = [
    *("--labels.n_pairs", "20", "--data.k", "3", "--data.batch_size", "256", "--rollout.episodes", "2"),
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--trainer.enable_progress_bar", "false"),
]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in ("misodice", "configs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    folder = tmp_path_factory.mktemp("wheel")
    command = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def misodice(wheel, tmp_path_factory):
    """Runs a command of the installed wheel in an empty folder; what it prints."""
    installed, empty = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("empty")
    command = ["install", "--no-deps", "--target", str(installed), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *command], check=True)
    environment = os.environ | {"PYTHONPATH": str(installed)}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "misodice", *arguments], cwd=empty, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = [sys.executable, "-c", "import misodice; print(misodice.__file__)"]
    found = subprocess.run(where, cwd=empty, env=environment, capture_output=True, text=True, check=True).stdout
    assert found.startswith(str(installed)), "not the checkout"
    run.folder = empty
    return run


def test_it_holds_the_configs_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    configs = {f"misodice/configs/{path.relative_to(CONFIGS)}" for path in CONFIGS.rglob("*.yaml")}
    assert {name for name in names if name.endswith(".yaml")} == configs
    assert {name.split("/")[0] for name in names} <= {"misodice", wheel.name.split("-py3")[0] + ".dist-info"}
    assert not any("test" in name for name in names)


def test_the_main_commands_run_in_an_empty_folder(misodice, smax_file):
    data = ["--data.path", str(smax_file), *SMALL]
    misodice("fit", "--config", "configs/smacv2_zerg.yaml", *data)
    overlays = ["--config", "configs/paper/smacv2.yaml", "--config", "methods/bc_1"]
    misodice("fit", "--config", "smacv2_zerg", *overlays, *data)
    summaries = sorted((misodice.folder / "runs" / "smacv2_zerg").rglob("summary.json"))
    assert [json.loads(path.read_text())["method"] for path in summaries] == ["bc_1", "misodice"]
    assert "16 cells, 16 to do" in misodice("benchmark", "--grid", "configs/benchmark/quick.yaml", "--dry_run", "true")
    misodice("configs", "--output", "configs")
    assert (misodice.folder / "configs" / "benchmark" / "quick.yaml").is_file()
