"""Real grids on Ray, with what may befall their cells."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from misodice.cli.main import main
from tests.helpers.cli import CONFIGS, TINY
from tests.helpers.grids import SMALL, misfortune, write_grid

ROOT = CONFIGS.parent


def benchmark(folder: Path, *more: str) -> int:
    return main(["benchmark", "--grid", str(folder / "grid.yaml"), "--root", str(folder / "runs"), *more])


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """cell.json of every cell, by row and method."""
    home = folder / "runs" / "small"
    found = {str(path.parent.relative_to(home)): json.loads(path.read_text()) for path in home.rglob("cell.json")}
    return {"/".join(Path(name).parts[:2]): record for name, record in found.items()}


def log(folder: Path, row: str, method: str = "bc_0") -> str:
    return (folder / "runs" / "small" / row / method / "seed_0" / "log.txt").read_text()


SOURCES = [
    {"behaviour": "heuristic", "episodes": 20, "source": "expert"},
    {"behaviour": "random", "episodes": 40, "source": "random"},
]


@pytest.fixture(scope="module")
def grid(tmp_path_factory) -> dict[str, Any]:
    """A grid on an episodes file of its own, of which some cells meet with something; run once."""
    folder = tmp_path_factory.mktemp("grid")
    variants = {
        "good": {},
        "twin": {},
        "option": {"value.alfa": 1},
        "nan": {"policy.lr": 1e30},
        "worker": misfortune("worker", folder / "worker"),
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump({"env": {"class_path": TINY}}))
    task = {"config": str(folder / "tiny.yaml"), "collect": SOURCES}
    write_grid(folder / "grid.yaml", None, tasks={"tiny": task}, variants=variants)
    status = benchmark(folder)
    return {"folder": folder, "status": status, "variants": variants, "task": task, "records": records(folder)}


def test_the_rest_finishes_where_cells_fail(grid):
    assert grid["status"] == 1
    states = {name: record["status"] for name, record in grid["records"].items()}
    assert states == {
        **{f"tiny.{name}/bc_0": "done" for name in ("good", "twin", "worker")},
        **{f"tiny.{name}/bc_0": "failed" for name in ("option", "nan")},
    }
    home = grid["folder"] / "runs" / "small"
    expected = json.loads((home / "grid.json").read_text())["cells"]
    assert {cell["folder"] for cell in expected} == {f"tiny.{name}/bc_0/seed_0" for name in grid["variants"]}
    done = {path.parent.parent.parent.name for path in home.rglob("summary.json")}
    assert done == {"tiny.good", "tiny.twin", "tiny.worker"}


@pytest.mark.parametrize(("variant", "words"), [("option", "alfa"), ("nan", "stage policy")])
def test_a_failure_has_its_reason_and_is_not_tried_again(grid, variant, words):
    record = grid["records"][f"tiny.{variant}/bc_0"]
    assert words in record["reason"]
    assert record["tries"] == 1
    assert record["options"] == SMALL | grid["variants"][variant]


def test_shared_work_is_done_once(grid):
    logs = {name: log(grid["folder"], f"tiny.{name}") for name in grid["variants"]}
    assert sum("$ misodice collect" in text for text in logs.values()) == 1
    assert sum("policy: taken from" in logs[name] for name in ("good", "twin")) == 1
    home = grid["folder"] / "runs" / "small"
    assert len(list((home / "data").glob("*.h5"))) == 1
    results = [json.loads((home / f"tiny.{name}/bc_0/seed_0/summary.json").read_text()) for name in ("good", "twin")]
    assert results[0]["rollout"] == results[1]["rollout"]


def test_a_cell_whose_worker_is_killed_is_tried_again_and_goes_on(grid):
    record = grid["records"]["tiny.worker/bc_0"]
    assert (record["status"], record["tries"], record["reason"]) == ("done", 2, None)
    assert "policy: going on from" in log(grid["folder"], "tiny.worker")
    assert ended([int(pid) for pid in (grid["folder"] / "worker").read_text().split()])


def test_only_what_failed_or_changed_runs_again(grid, capsys, monkeypatch):
    folder, tasks = grid["folder"], {"tiny": grid["task"]}
    monkeypatch.setitem(sys.modules, "ray", None)  # where all is done, nothing is started
    write_grid(folder / "grid.yaml", None, tasks=tasks, variants={"good": {}, "twin": {}})
    assert benchmark(folder) == 0
    assert "2 of 2 cells are done and not run again" in capsys.readouterr().out
    changed = grid["variants"] | {"good": {"value.alpha": 0.5}}
    write_grid(folder / "grid.yaml", None, tasks=tasks, variants=changed)
    assert benchmark(folder, "--dry_run", "true") == 0
    assert "5 cells, 2 done, 2 failed, 1 to do" in capsys.readouterr().out


def ended(processes: list[int], seconds: float = 60) -> bool:
    """Whether every process ends within a time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in processes):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_grid_leaves_no_process_and_goes_on(hopper_file, tmp_path, how, capsys):
    once = tmp_path / "once"
    write_grid(tmp_path / "grid.yaml", hopper_file, variants={"hang": misfortune("hang", once)})
    root = ["--root", str(tmp_path / "runs")]
    running = subprocess.Popen(
        [sys.executable, "-m", "misodice", "benchmark", "--grid", str(tmp_path / "grid.yaml"), *root],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job would ignore it
    )
    while not once.exists() or len(once.read_text().split()) < 2:
        assert running.poll() is None, running.communicate()[0]
        time.sleep(0.1)
    started = [int(pid) for pid in once.read_text().split()]
    running.send_signal(how)
    printed, _ = running.communicate(timeout=120)
    assert ended(started), "the cell, and the worker that started it"
    if how != signal.SIGKILL:
        assert running.returncode == 130
        assert "the same command goes on" in printed
        assert not records(tmp_path)
    assert not list(tmp_path.rglob("summary.json"))
    assert benchmark(tmp_path) == 0
    assert records(tmp_path)["hopper.hang/bc_0"]["status"] == "done"
    assert "policy: going on from" in log(tmp_path, "hopper.hang")


@pytest.mark.slow
def test_a_full_disk_fails_and_a_killed_cell_is_tried_so_often(hopper_file, tmp_path, capsys):
    variants = {
        "disk": misfortune("disk"),
        "once": misfortune("cell", tmp_path / "once"),
        "always": misfortune("cell"),
    }
    write_grid(tmp_path / "grid.yaml", hopper_file, variants=variants)
    assert benchmark(tmp_path) == 1
    found = {name: (record["status"], record["tries"]) for name, record in records(tmp_path).items()}
    assert found == {
        "hopper.disk/bc_0": ("failed", 1),
        "hopper.once/bc_0": ("done", 2),
        "hopper.always/bc_0": ("failed", 3),
    }
    printed = " ".join(capsys.readouterr().out.split())
    assert "No space left on device" in printed
    assert "killed by SIGKILL" in printed
    assert "policy: going on from" in log(tmp_path, "hopper.once")


@pytest.mark.slow
def test_what_this_machine_cannot_give_is_refused(hopper_file, tmp_path, capsys):
    write_grid(tmp_path / "grid.yaml", hopper_file, num_gpus=1000)
    assert benchmark(tmp_path) == 2
    assert "num_gpus is 1000" in capsys.readouterr().err
    assert not records(tmp_path)


def test_a_ray_that_does_not_start_is_told(hopper_file, tmp_path, monkeypatch, capsys):
    write_grid(tmp_path / "grid.yaml", hopper_file)
    (tmp_path / "taken").touch()
    # A file, where Ray wants a folder for its sockets, and no other folder to take.
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / "taken"))
    monkeypatch.setattr("misodice.grid.cluster.SHORT_FOLDER", tmp_path / "taken")
    assert benchmark(tmp_path) == 2
    printed = capsys.readouterr().err
    assert "Ray does not start on this machine" in printed
    assert "goes on from here" in printed
    assert not records(tmp_path)


@pytest.mark.slow
def test_a_grid_joins_a_cluster(hopper_file, tmp_path):
    """One with a token of its own: a Ray without one runs what anybody sends it."""
    environment = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex, "PYTHONPATH": str(ROOT)}
    grid = write_grid(tmp_path / "grid.yaml", hopper_file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"

    def joined() -> tuple[int, str]:
        command = ["benchmark", "--grid", str(grid), "--root", str(tmp_path / "runs"), "--address", address]
        done = subprocess.run(
            [sys.executable, "-m", "misodice", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    status, printed = joined()
    assert status == 2
    assert f"cannot join a Ray cluster at {address}" in printed
    ray = Path(sys.executable).with_name("ray")
    options = ["--num-cpus", "2", "--include-dashboard", "false", "--port", address.rpartition(":")[2]]
    head = subprocess.Popen(
        [ray, "start", "--head", "--block", *options],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert head.stdout is not None
        assert any("Ray runtime started" in line for line in head.stdout)
        status, printed = joined()
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
    assert status == 0, printed
    assert "1/1 hopper/bc_0/seed_0: done" in printed
    assert records(tmp_path)["hopper/bc_0"]["status"] == "done"
