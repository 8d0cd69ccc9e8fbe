"""Runs of the command line in processes of their own that die at a chosen write, step or moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning import Callback, LightningModule, Trainer

WRITES = ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir")


class SignalAt(Callback):
    """Sends this process a signal after a step of a stage.

    Args:
        stage: its name.
        step: number of the step.
        number: the signal.
        once: file that says it happened.
    """

    def __init__(self, stage: str, step: int, number: int, once: str) -> None:
        self.stage, self.step, self.number, self.once = stage, step, number, Path(once)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if pl_module.name == self.stage and trainer.global_step == self.step and not self.once.exists():  # type: ignore[comparison-overlap]
            self.once.touch()
            signal.raise_signal(self.number)


class Watch(Callback):
    """Writes memory (bytes) and open files of this process after each epoch.

    Args:
        path: a line of JSON an epoch: stage, epoch, memory, files.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        memory = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        line = {"stage": pl_module.name, "epoch": trainer.current_epoch, "memory": memory}
        with self.path.open("a") as file:
            file.write(json.dumps({**line, "files": len(os.listdir("/proc/self/fd"))}) + "\n")


class DieInSecond(Callback):
    """The second process of two dies in the value stage.

    Args:
        how: "raises" or "is killed".
    """

    def __init__(self, how: str) -> None:
        self.how = how

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.global_rank == 1 and pl_module.name == "value":  # type: ignore[comparison-overlap]
            if self.how == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("the second process broke")


def _writes(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Whether an audited event changes something in the folder."""
    if event not in WRITES or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return False
    if event == "open":
        _, mode, flags = arguments
        if not (set(mode or "") & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return False
    return os.path.abspath(os.fsdecode(arguments[0])).startswith(folder)


def run(
    arguments: Sequence[str], folder: Path, event: int | None, seconds: float | None, file_size: int | None
) -> None:
    """`misodice` with these arguments in `folder`.

    Args:
        arguments: of the command line.
        folder: where; what it prints is added to its output.txt, and its file `started` is of the time of the start.
        event: number of the write before which it is killed.
        seconds: after which it is killed.
        file_size: bytes beyond which no file can grow.
    """
    from misodice.cli.main import main

    os.chdir(folder)
    Path("started").touch()
    output = open("output.txt", "a", buffering=1)  # noqa: SIM115  lives as long as the process
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno(), 2)
    count = 0

    def hook(name: str, details: tuple[Any, ...]) -> None:
        nonlocal count
        if _writes(name, details, str(folder)):
            count += 1
            if count == event:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    if seconds is not None:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, seconds)
    sys.exit(main(arguments))


class Processes:
    """Starts them from a server that has imported everything once."""

    def __init__(self) -> None:
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["misodice.cli.main", "tests.helpers.dying"])

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        event: int | None = None,
        seconds: float | None = None,
        file_size: int | None = None,
    ) -> int | None:
        """The exit code: negative for a signal."""
        folder.mkdir(exist_ok=True)
        process = self.context.Process(target=run, args=(arguments, folder, event, seconds, file_size))
        process.start()
        process.join(500)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"{arguments} in {folder} did not end: {(folder / 'output.txt').read_text()[-2000:]}")
        return process.exitcode


def kill_until_done(processes: Processes, arguments: Sequence[str], folder: Path, seed: int, kills: int) -> int:
    """Kill it at a random write each time, at last let it end; how often it was killed."""
    rng = random.Random(seed)
    for kill in range(kills):
        # Few writes at a time, or the run is at its end before it was killed often.
        code = processes.run(arguments, folder, event=rng.randint(1, 30))
        if code == 0:
            return kill
        assert code == -signal.SIGKILL, (folder / "output.txt").read_text()[-2000:]
    assert processes.run(arguments, folder) == 0, (folder / "output.txt").read_text()[-2000:]
    return kills
