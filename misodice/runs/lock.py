"""What several processes would make at once is made by one; the others wait for it, or are told."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout
from rich.console import Console

from misodice.errors import MisodiceError

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""What a disk says that has no locks, such as some that are mounted over a network."""


@contextmanager
def one_at_a_time(path: Path, waiting: str, console: Console) -> Iterator[None]:
    """Hold the lock of what is made at `path`; where another process has it, say `waiting` and wait.

    The lock is a file beside it, `.{name}.lock`, which stays; the system drops the lock of a process that dies.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock, held = _try(path.with_name(f".{path.name}.lock"), console)
    if not held:
        console.print(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def alone_in(folder: Path, otherwise: str, console: Console) -> Iterator[None]:
    """Hold `folder` by the lock of its file `.lock`, as `one_at_a_time` does, but do not wait.

    Raises:
        MisodiceError: another process has it; its message is `otherwise`.
    """
    lock, held = _try(folder / ".lock", console)
    if not held:
        raise MisodiceError(otherwise)
    try:
        yield
    finally:
        lock.release()


def _try(path: Path, console: Console) -> tuple[BaseFileLock, bool]:
    """The lock of a file, and whether this process has it now."""
    lock: BaseFileLock = FileLock(path, fallback_to_soft=False)
    try:
        return lock, _acquired(lock)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        console.print(
            f"{path.parent}: this disk has no locks ({error.strerror}), so the file {path.name} itself is the lock; "
            "delete it if a process that was killed on another machine has left it there"
        )
    lock = SoftFileLock(path.with_name(f"{path.name}.soft"))
    return lock, _acquired(lock)


def _acquired(lock: BaseFileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True
