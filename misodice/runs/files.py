"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from misodice.errors import MisodiceError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What a disk that is full or read-only says, whoever writes."""


@contextmanager
def whole(path: Path, suffix: str = ".tmp") -> Iterator[Path]:
    """A name beside `path` to write to: it becomes `path` when the block ends well, and is removed otherwise.

    Args:
        path: the file; its folder is made.
        suffix: how the name ends, for writers that go by it.

    Raises:
        MisodiceError: nothing can be written there, such as on a full disk; what was at `path` stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise MisodiceError(cannot_write(path, error)) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written has nothing to remove
            temporary.unlink()


def cannot_write(path: Path | str, error: OSError) -> str:
    """What a user is told of a file that cannot be written."""
    why = error.strerror or str(error)
    if error.errno in NO_ROOM:
        return (
            f"{path}: cannot be written ({why}); what was there before is kept: make room or choose another folder, "
            "then give the same command again (`fit` with --ckpt_path last)"
        )
    return f"{path}: cannot be written ({why}); choose another folder, or change what you may write there"


def write_bytes(path: Path, content: bytes) -> None:
    """Write whole or not at all, folders included (see `whole`)."""
    with whole(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write whole or not at all, folders included (see `whole`)."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write whole or not at all, folders included (see `whole`)."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any] | None:
    """The file's content; None where there is no file.

    Raises:
        MisodiceError: it is no JSON object.
    """
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MisodiceError(f"{path}: this is no JSON ({error}); restore the file, or delete it") from error
    if not isinstance(content, dict):
        raise MisodiceError(f"{path}: found {type(content).__name__}, expected an object; restore it, or delete it")
    return content


def file_digest(path: Path) -> str:
    """Hash of a file's content (about 1 GB/s)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
