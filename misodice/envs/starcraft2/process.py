"""The parent's side of one game: its worker process, requests with a time limit, and a clean end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE_SECONDS = 2.0
"""Between asking a worker and its game to end and killing them."""
WORKER = [sys.executable, "-m", "misodice.envs.starcraft2.worker"]


class GameLostError(Exception):
    """A game died, or did not answer in time."""


class GameProcess:
    """A worker and the game it starts, in a process group of their own.

    A fresh interpreter rather than a multiprocessing.Process: that would import the caller's main module, and with it
    torch, into every worker. In its own group Ctrl-C does not reach it, and the game dies with its worker.

    Args:
        task: the worker's task.
        folder: where its output and temporary files go.
        command: the worker's program; file descriptor and task are appended.
        start_timeout: seconds from the start until the first answer to a request.
        timeout: seconds for every later answer.
    """

    def __init__(self, task: str, folder: Path, command: list[str], start_timeout: float, timeout: float) -> None:
        self.start_timeout, self.timeout = start_timeout, timeout
        self._spec: dict[str, Any] | None = None
        self._answered = False
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "output.log"
        self.connection, theirs = multiprocessing.Pipe()
        self._started = time.monotonic()
        # The game's protocol needs protobuf's Python implementation; its temporary files go with the folder.
        environment = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", **os.environ, "TMPDIR": str(folder)}
        with theirs, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno()), task],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env=environment,
                start_new_session=True,
            )

    def spec(self) -> dict[str, Any]:
        """Sizes and names, which the worker sends before it launches the game.

        Raises:
            GameLostError: the worker could not say; the text says why.
        """
        if self._spec is None:
            kind, self._spec = self._receive(self.start_timeout)
            assert kind == "spec"
        return self._spec

    def send(self, request: tuple[Any, ...]) -> None:
        """Ask; that the worker is gone comes out in `answer`."""
        with suppress(OSError):
            self.connection.send(request)

    def answer(self) -> Any:
        """The answer to the request sent first.

        Raises:
            GameLostError: the game died, or its time is over.
        """
        self.spec()
        left = self._started + self.start_timeout - time.monotonic()
        _, result = self._receive(self.timeout if self._answered else max(left, self.timeout))
        self._answered = True
        return result

    def _receive(self, timeout: float) -> tuple[str, Any]:
        try:
            if not self.connection.poll(timeout):
                raise GameLostError(f"no answer for {timeout:.0f} s")
            kind, result = self.connection.recv()
        except (EOFError, OSError) as error:
            raise GameLostError(f"the worker ended with status {self.process.wait(10)}{self._last_words()}") from error
        if kind == "failed":
            raise GameLostError(f"{result}{self._last_words()}")
        return kind, result

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-2:]
        return f" (its output: {' | '.join(lines)})" if lines else ""

    def kill(self) -> None:
        """End the worker and its game; they hold nothing to be saved."""
        self.connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_SECONDS)
        # A game that outlives its worker, or hangs.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
