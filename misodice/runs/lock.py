"""What several processes would make at once is made by one; the others wait for it, or are told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from rich.console import Console

from misodice.errors import MisodiceError


@contextmanager
def one_at_a_time(path: Path, waiting: str, console: Console) -> Iterator[None]:
    """Hold the lock of what is made at `path`; where another process has it, say `waiting` and wait.

    The lock is a file beside it, `.{name}.lock`, which stays; the kernel drops the lock of a process that dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        console.print(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone_in(folder: Path, otherwise: str) -> Iterator[None]:
    """Hold `folder` by the lock of its file `.lock`, as `one_at_a_time` does, but do not wait.

    Raises:
        MisodiceError: another process has it; its message is `otherwise`.
    """
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise MisodiceError(otherwise) from error
    try:
        yield
    finally:
        lock.release()
