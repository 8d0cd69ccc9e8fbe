"""Finished stages and answers that runs share."""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import h5py
import pytest
from rich.console import Console

from misodice.envs import MaMuJoCo, Source
from misodice.rollout.data_file import make_once
from tests.helpers.cli import CONFIGS, SMALL, TINY, fit, metrics

ROOT = CONFIGS.parent
STAGES = ("preference", "discriminator", "value", "policy")


def start(command: list[str], data: Path, run_dir: Path, shared: Path, *more: str) -> subprocess.Popen[str]:
    where = ["--data.path", str(data), "--run_dir", str(run_dir), "--shared_stages", str(shared)]
    return subprocess.Popen(
        [*command, "fit", "--env", TINY, *where, *SMALL, *more],
        cwd=data.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_another_run_takes_what_is_the_same_and_trains_the_rest(tiny_file, tmp_path, capsys):
    shared = ["--shared_stages", str(tmp_path / "shared")]
    fit(tmp_path / "a", tiny_file, *shared)
    fit(tmp_path / "alone", tiny_file, "--value.alpha", "0.5")
    capsys.readouterr()
    fit(tmp_path / "b", tiny_file, *shared, "--value.alpha", "0.5")
    printed = capsys.readouterr().out
    assert [stage for stage in STAGES if f"{stage}: taken from" in printed] == ["preference", "discriminator"]
    assert "labels: up to date" in printed
    results = [json.loads((tmp_path / run / "summary.json").read_text()) for run in ("alone", "b")]
    assert results[0]["rollout"] == results[1]["rollout"]
    assert results[0]["labels"] == results[1]["labels"]
    assert metrics(tmp_path / "alone") == metrics(tmp_path / "b")
    answers = [(tmp_path / run / "preferences.jsonl").read_text() for run in ("alone", "b")]
    assert answers[0] == answers[1]
    assert not [path for path in (tmp_path / "shared").iterdir() if path.suffix in (".tmp", ".owner")]

    fit(tmp_path / "b", tiny_file, *shared, "--value.alpha", "0.5")
    assert "taken from" not in capsys.readouterr().out, "what the run has itself is not copied again"


def test_a_finished_stage_that_was_never_published_is(tiny_file, tmp_path, capsys):
    bc = ["--config", str(CONFIGS / "methods" / "bc_0.yaml")]
    fit(tmp_path / "a", tiny_file, *bc)
    for run in ("a", "b"):
        fit(tmp_path / run, tiny_file, *bc, "--shared_stages", str(tmp_path / "shared"))
    assert "policy: taken from" in capsys.readouterr().out
    [place] = (tmp_path / "shared").glob("policy-*")
    (place / "last.ckpt").unlink()
    fit(tmp_path / "c", tiny_file, *bc, "--shared_stages", str(tmp_path / "shared"), status=2)
    assert f"{place}: last.ckpt is missing" in capsys.readouterr().err


def test_fast_dev_run_shares_nothing(tiny_file, tmp_path):
    fit(tmp_path / "run", tiny_file, "--shared_stages", str(tmp_path / "shared"), "--trainer.fast_dev_run", "true")
    assert not list(tmp_path.iterdir())


def test_two_runs_at_once_train_each_stage_once(tiny_file, tmp_path):
    runs = [start([sys.executable, "-m", "misodice"], tiny_file, tmp_path / name, tmp_path / "shared") for name in "ab"]
    printed = [run.communicate(timeout=300)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], printed
    for stage in STAGES:
        assert sum(f"{stage}: taken from" in text for text in printed) == 1, printed
        assert len(list((tmp_path / "shared").glob(f"{stage}-*"))) == 1
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("torchrun", "nodes"),
    [
        ([["--nproc_per_node", "2"]], 1),
        ([["--nnodes", "2", "--node_rank", rank, "--nproc_per_node", "1"] for rank in "01"], 2),
    ],
    ids=["one node", "two nodes"],
)
def test_torchrun_trains_one_run_and_shares_its_stages(tiny_file, tmp_path, torchrun, nodes):
    """The second run finds Phase 1 and the discriminator, which its second process must not wait for or train."""
    shared = tmp_path / "shared"
    ddp = ["--trainer.accelerator", "cpu", "--trainer.strategy", "ddp"]
    ddp += ["--trainer.devices", str(2 // nodes), "--trainer.num_nodes", str(nodes)]
    printed = ""
    for run, alpha in (("a", "0.05"), ("b", "0.5")):
        loopback = ["--master_addr", "127.0.0.1", "--master_port", "29517"]
        processes = [
            start(
                [sys.executable, "-m", "torch.distributed.run", *loopback, *node, "-m", "misodice"],
                *(tiny_file, tmp_path / run, shared, *ddp, "--value.alpha", alpha),
            )
            for node in torchrun
        ]
        printed = "".join(process.communicate(timeout=400)[0] for process in processes)
        assert not any(process.returncode for process in processes), printed
        assert printed.count("2 greedy rollouts") == 1
    assert [printed.count(f"{stage}: taken from") for stage in STAGES] == [1, 1, 0, 0], printed
    with h5py.File(tmp_path / "a" / "columns.h5") as a, h5py.File(tmp_path / "b" / "columns.h5") as b:
        assert (a["log_ratio"][:] == b["log_ratio"][:]).all()
        assert (a["weight"][:] != b["weight"][:]).any()


def test_an_episodes_file_that_two_need_is_made_once(tmp_path, capsys):
    console = Console()
    path = tmp_path / "data" / "hopper.h5"
    sources = [Source("random", 2, "random")]
    engine = MaMuJoCo("Hopper", "3x1")
    both = [Thread(target=make_once, args=(engine, sources, path, "here", console)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert capsys.readouterr().out.count("making it here") == 1
    assert path.is_file()
