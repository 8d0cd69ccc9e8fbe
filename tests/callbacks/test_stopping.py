"""A stage that is told to stop; whole runs are in tests/test_killed.py."""

import signal
import threading
from pathlib import Path

import pytest
import torch
from lightning import Callback

from misodice.callbacks import stopping
from misodice.callbacks.stopping import SaveWhenStopped, sigterm_as_ctrl_c
from misodice.datamodules.successors import Successors
from misodice.modules import Value
from tests.helpers.small import table_of, train


class Send(Callback):
    """Raises a signal in the middle of a step, so often."""

    def __init__(self, step: int, number: int, times: int = 1) -> None:
        self.step, self.number, self.times = step, number, times

    def on_before_optimizer_step(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            for _ in range(self.times):
                signal.raise_signal(self.number)


def fit(path: Path, send: Send) -> None:
    data = Successors(table_of([4, 6]), torch.zeros(10), False, 2, seed=0)
    with SaveWhenStopped(path) as stop:
        trainer = train(Value(), data, stop, send)
        stop.stop_if_asked(trainer)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_step_is_finished_and_saved(tmp_path, capsys, number):
    before = signal.getsignal(number)
    # Lightning turns what ends its loop into an exit.
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / "last.ckpt", Send(1, number))
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 2
    assert f"{signal.Signals(number).name}: stopping after this step" in capsys.readouterr().out
    assert signal.getsignal(number) is before


def test_what_is_asked_in_the_last_step_is_done_after_the_epoch(tmp_path):
    """Lightning saves the epoch's end itself."""
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "last.ckpt", Send(4, signal.SIGINT))
    assert not (tmp_path / "last.ckpt").exists()


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        fit(tmp_path / "last.ckpt", Send(1, signal.SIGINT, times=2))
    assert not (tmp_path / "last.ckpt").exists()


def test_slurm_is_asked_to_start_the_job_again(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(stopping.SLURMEnvironment, "detect", staticmethod(lambda: True))
    monkeypatch.setattr(stopping.subprocess, "run", lambda command, check: asked.append(command))
    for name, value in (("SLURM_JOB_ID", "7"), ("SLURM_ARRAY_JOB_ID", "5"), ("SLURM_ARRAY_TASK_ID", "3")):
        monkeypatch.setenv(name, value)
    path, before = tmp_path / "last.ckpt", signal.getsignal(signal.SIGUSR1)
    with SaveWhenStopped(path) as stop:
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            stop.stop_if_asked(_Alone())
    assert asked == [["scontrol", "requeue", "5_3"]]
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_job_that_slurm_does_not_start_again_ends_as_any_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stopping.SLURMEnvironment, "detect", staticmethod(lambda: True))
    monkeypatch.setenv("PATH", str(tmp_path))  # no scontrol
    with SaveWhenStopped(tmp_path / "last.ckpt") as stop:
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            stop.stop_if_asked(_Alone())
    assert "SLURM does not start the job again" in capsys.readouterr().out


def test_a_thread_takes_no_signals(tmp_path):
    """A server may train in a thread, where Python lets nobody handle signals."""
    entered = []

    def work() -> None:
        with sigterm_as_ctrl_c(), SaveWhenStopped(tmp_path / "last.ckpt") as stop:
            entered.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [None]


class _Alone:
    """The only process of a run."""

    is_global_zero = True

    @property
    def strategy(self):
        return self

    def reduce_boolean_decision(self, decision, all):
        return decision


def test_sigterm_is_as_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), sigterm_as_ctrl_c():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
