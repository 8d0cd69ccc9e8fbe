"""Files that a user names to be written: what is there is not replaced without the user's word."""

from __future__ import annotations

import tempfile
from pathlib import Path

from misodice.errors import MisodiceError
from misodice.runs.files import cannot_write


def check_output(path: Path, overwrite: bool) -> None:
    """Refuse before any work what could not be written after it.

    Args:
        path: file to write; its folder is made.
        overwrite: whether a file that is there may be replaced.

    Raises:
        MisodiceError: something is there, or nothing can be written there.
    """
    try:
        if path.is_dir():
            raise MisodiceError(f"{path}: is a folder, expected the name of a file to write; name one in it")
        if not overwrite and (path.exists() or path.is_symlink()):
            raise MisodiceError(
                f"{path}: exists already, and is not replaced without your word; name another file, or give "
                "--overwrite true (in Python overwrite=True)"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except (OSError, ValueError) as error:
        if isinstance(error, MisodiceError):
            raise
        failure = error if isinstance(error, OSError) else OSError(str(error))
        raise MisodiceError(cannot_write(path, failure)) from error
