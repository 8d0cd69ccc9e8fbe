"""A run that is killed at any write, or told to stop at any step, ends as one that was left alone."""

import json
import signal
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from filelock import FileLock

from misodice.data.episodes import Episodes
from misodice.envs import MaMuJoCo, Source
from misodice.rollout.collect import collect
from tests.helpers.cli import fit, fit_command, metrics
from tests.helpers.dying import Processes, kill_until_done

STAGES = ("preference", "discriminator", "value", "policy")
LENGTH = ["--trainer.max_epochs", "3", "--data.batch_size", "16"]  # so that an epoch has several steps


@pytest.fixture(scope="module")
def processes() -> Processes:
    return Processes()


def arguments(data: Path, *more: str) -> list[str]:
    return fit_command("run", data, "--ckpt_path", "last", *LENGTH, *more)


def assert_equal(one: Path, other: Path) -> None:
    """Every number that two runs made is the same, to the last bit."""
    for stage in STAGES:
        for name in ("last.ckpt", "best.ckpt"):
            if not (one / stage / name).is_file():
                continue
            kept = [torch.load(run / stage / name, weights_only=True) for run in (one, other)]
            assert kept[0]["global_step"] == kept[1]["global_step"], (stage, name)
            for key, values in kept[0]["state_dict"].items():
                assert torch.equal(values, kept[1]["state_dict"][key]), (stage, name, key)
    for name in ("columns.h5", "labels.h5"):
        with h5py.File(one / name) as a, h5py.File(other / name) as b:
            assert set(a) == set(b)
            for key in a:
                assert np.array_equal(a[key][:], b[key][:]), (name, key)
    answers = [sorted((run / "preferences.jsonl").read_text().splitlines()) for run in (one, other)]
    assert answers[0] == answers[1]
    rollouts = [json.loads((run / "summary.json").read_text())["rollout"] for run in (one, other)]
    assert rollouts[0] == rollouts[1]


@pytest.fixture(scope="module")
def whole(tiny_file, tmp_path_factory) -> Path:
    """The run that was left alone."""
    run = tmp_path_factory.mktemp("whole") / "run"
    fit(run, tiny_file, *LENGTH)
    return run


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_killed_before_any_write(processes, tiny_file, whole, tmp_path, kills):
    killed = kill_until_done(processes, arguments(tiny_file), tmp_path, seed=kills, kills=kills)
    assert killed >= min(kills, 20), f"it ended after {killed} kills"
    print(f"{killed} kills")
    assert_equal(whole, tmp_path / "run")


@pytest.mark.slow
def test_killed_at_any_moment(processes, tiny_file, whole, tmp_path):
    """Between writes, too: in a step, a validation, a predict pass, a rollout."""
    alone = tmp_path / "alone"
    assert processes.run(arguments(tiny_file), alone) == 0
    ended = time.time()
    started, at_work = ((alone / name).stat().st_mtime for name in ("started", "run/config.yaml"))
    # Every process starts up and then does its part of the work. Ten parts are less than all of it; on a machine that
    # has become twice as fast since, five are.
    parts = 0.9 * np.random.default_rng(0).dirichlet(np.ones(10))
    killed = 0
    for seconds in at_work - started + parts * (ended - at_work):
        code = processes.run(arguments(tiny_file), tmp_path, seconds=seconds)
        if code == 0:
            break
        assert code == -signal.SIGKILL, (tmp_path / "output.txt").read_text()[-2000:]
        killed += 1
    else:
        assert processes.run(arguments(tiny_file), tmp_path) == 0
    assert killed >= 5, f"it ended after {killed} kills"
    print(f"{killed} kills in {ended - started:.1f} s, of which {at_work - started:.1f} s start it up")
    assert_equal(whole, tmp_path / "run")


def stop(stage: str, step: int, number: int, folder: Path) -> dict[str, object]:
    once = str(folder / f"{stage}_{step}")
    arguments = {"stage": stage, "step": step, "number": int(number), "once": once}
    return {"class_path": "tests.helpers.dying.SignalAt", "init_args": arguments}


def test_told_to_stop_it_saves_first(tiny_file, whole, tmp_path, capsys):
    """In the middle of an epoch, at its end, in another's first step; the last step of all."""
    length = [*LENGTH, "--ckpt_path", "last"]
    steps = {stage: torch.load(whole / stage / "last.ckpt", weights_only=True)["global_step"] // 3 for stage in STAGES}
    at = [("discriminator", 2), ("discriminator", steps["discriminator"] - 1), ("value", steps["value"])]
    at += [("policy", steps["policy"] + 3), ("policy", 3 * steps["policy"] - 1)]
    signals = [signal.SIGINT, signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    stops = [stop(stage, step, number, tmp_path) for (stage, step), number in zip(at, signals, strict=True)]
    length += ["--trainer.callbacks", json.dumps(stops)]
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    for (stage, step), number in zip(at, signals, strict=True):
        capsys.readouterr()
        fit(tmp_path / "stopped", tiny_file, *length, status=130)
        printed = capsys.readouterr()
        assert f"{number.name}: stopping after this step" in printed.out
        assert "go on with --ckpt_path last" in printed.err
        kept = torch.load(tmp_path / "stopped" / stage / "last.ckpt", weights_only=True)
        assert kept["global_step"] in (step + 1, step + 2), "it did not save at once"
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    fit(tmp_path / "stopped", tiny_file, *length)
    assert_equal(whole, tmp_path / "stopped")
    # Every epoch has its row still, of all its steps.
    assert metrics(tmp_path / "stopped") == metrics(whole)


def test_slurm_requeues_the_job_and_goes_on(tiny_file, tmp_path, monkeypatch, capsys):
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{scontrol.parent}:/usr/bin:/bin")
    job = {"NTASKS": "1", "JOB_ID": "17", "JOB_NAME": "train", "PROCID": "0", "LOCALID": "0", "NODEID": "0"}
    for name, value in {**job, "ARRAY_JOB_ID": "16", "ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    callbacks = ["--trainer.callbacks", json.dumps([stop("value", 4, signal.SIGUSR1, tmp_path)])]
    fit(tmp_path / "run", tiny_file, *callbacks, status=130)
    assert (tmp_path / "requeued").read_text() == "requeue 16_3\n"
    assert torch.load(tmp_path / "run" / "value" / "last.ckpt", weights_only=True)["global_step"] == 5
    assert not list(tmp_path.rglob("hpc_ckpt*"))
    capsys.readouterr()
    # The same command, without --ckpt_path.
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    fit(tmp_path / "run", tiny_file, *callbacks)
    assert "value: going on from" in capsys.readouterr().out


def test_one_process_in_a_run_directory(tiny_file, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        fit(tmp_path / "run", tiny_file, status=2)
    message = capsys.readouterr().err
    assert f"{tmp_path / 'run'}: another process is at work" in message
    assert {path.name for path in (tmp_path / "run").iterdir()} == {".lock"}


def test_a_run_directory_of_another_version(tiny_file, tmp_path, capsys):
    run = tmp_path / "run"
    fit(run, tiny_file)
    record = json.loads((run / "value" / "stage.json").read_text())
    (run / "value" / "stage.json").write_text(json.dumps({**record, "version": "0.0.9"}))
    before = (run / "policy" / "last.ckpt").read_bytes()
    fit(run, tiny_file, status=2)
    message = capsys.readouterr().err
    assert f"{run / 'value' / 'stage.json'}: made by misodice 0.0.9" in message
    assert "another --run_dir" in message
    assert (run / "policy" / "last.ckpt").read_bytes() == before

    (run / "value" / "stage.json").unlink()
    kept = torch.load(run / "value" / "last.ckpt", weights_only=True)
    torch.save({**kept, "misodice_version": "0.0.9"}, run / "value" / "last.ckpt")
    fit(run, tiny_file, "--ckpt_path", "last", status=2)
    assert f"{run / 'value' / 'last.ckpt'}: made by misodice 0.0.9" in capsys.readouterr().err


def test_a_full_disk(processes, tiny_file, whole, tmp_path):
    """A limit on the size of one file stands for it: writes fail in the same places, with another number."""
    folder = tmp_path / "full"
    folder.mkdir()
    assert processes.run(arguments(tiny_file), folder, file_size=200_000) == 2
    printed = (folder / "output.txt").read_text()
    assert "preference/best.ckpt: cannot be written (File too large)" in printed
    assert "Traceback" not in printed
    assert not list((folder / "run").rglob("*.tmp"))
    assert processes.run(arguments(tiny_file), folder) == 0
    assert_equal(whole, folder / "run")


SOURCES = json.dumps([{"behaviour": "random", "episodes": 64, "source": "random"}])
COLLECT = ["collect", "--env", "MaMuJoCo", "--env.task", "Hopper", "--sources", SOURCES, "--output", "all.h5"]


@pytest.mark.parametrize("file_size", [4_000, pytest.param(60_000, marks=pytest.mark.slow)])
def test_collecting_on_a_full_disk(processes, tmp_path, file_size):
    assert processes.run(COLLECT, tmp_path, file_size=file_size) == 2
    printed = (tmp_path / "output.txt").read_text()
    assert "all.h5: cannot be written (File too large)" in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.glob("*.h5*"))


@pytest.mark.slow
def test_collecting_killed_leaves_nothing_half_written(processes, tmp_path):
    for event in range(1, 8):
        code = processes.run(COLLECT, tmp_path, event=event)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if (tmp_path / "all.h5").exists():
            assert Episodes.read(tmp_path / "all.h5").n_episodes == 64
            (tmp_path / "all.h5").unlink()
    assert Episodes.read(tmp_path / "all.h5").n_episodes == 64
    sources = [Source("random", 64, "random")]
    collect(MaMuJoCo("Hopper"), sources, tmp_path / "again.h5", seed=0)
    assert (Episodes.read(tmp_path / "all.h5").obs == Episodes.read(tmp_path / "again.h5").obs).all()


@pytest.mark.slow
def test_memory_and_files_stay_as_they_are_over_200_epochs(processes, tiny_file, tmp_path):
    watch = {"class_path": "tests.helpers.dying.Watch", "init_args": {"path": str(tmp_path / "watched")}}
    length = ["--trainer.max_epochs", "200", "--discriminator.patience", "200", "--rollout.every_n_epochs", "20"]
    more = ["--data.ranking", "oracle", "--trainer.callbacks", json.dumps([watch])]
    assert processes.run(arguments(tiny_file, *length, *more), tmp_path) == 0
    seen = [json.loads(line) for line in (tmp_path / "watched").read_text().splitlines()]
    for stage in STAGES[1:]:
        epochs = [line for line in seen if line["stage"] == stage]
        assert len(epochs) == 200
        grown = (epochs[-1]["memory"] - epochs[30]["memory"]) / 2**20
        print(f"{stage}: {epochs[30]['memory'] / 2**20:.0f} MiB after 30 epochs, {grown:+.1f} MiB after 200")
        assert grown < 20
        assert epochs[-1]["files"] == epochs[30]["files"]
