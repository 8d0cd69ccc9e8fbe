"""Where messages and tables are printed: on every terminal, in every encoding, without an error of their own."""

from __future__ import annotations

import io
import os
import sys
from typing import IO, Any, cast

from rich.console import Console, JustifyMethod, OverflowMethod, RenderableType
from rich.table import Table as RichTable

WIDTH_OF_FILES = 160
"""Characters of a table's line where the output is no terminal, such as the log of a cluster's job."""

LEAST_WIDTH = 40
"""Narrower, a table would be one letter wide; a COLUMNS of 0 would print nothing."""


class _Outlet(io.FileIO):
    """A descriptor of the process's output; what it does not take any more is dropped.

    The reader of a pipe may be gone (`misodice fit | head`), the terminal closed, the disk of a log full. Training is
    worth more than what it prints.
    """

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return len(data)


def keep_printing() -> None:
    """Let no print of this process raise: unknown characters become question marks, a lost reader is no error."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed by whoever started the process; the next file would take its number
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue  # a program has put its own in the place
        if stream is None:  # closed by whoever started the process
            kept = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
        else:
            outlet = io.BufferedWriter(_Outlet(stream.fileno(), "w", closefd=False))
            # A line at once: the log of a cluster's job is watched too.
            kept = io.TextIOWrapper(outlet, encoding=stream.encoding, errors="replace", line_buffering=True)
        setattr(sys, name, kept)


class Output(io.TextIOBase):
    """The process's output as it is now; a character that its encoding does not have becomes a question mark.

    Args:
        stderr: the error output.
    """

    def __init__(self, stderr: bool) -> None:
        self._stderr = stderr

    def _now(self) -> Any:
        return sys.stderr if self._stderr else sys.stdout

    @property
    def encoding(self) -> str:  # type: ignore[override]  # an attribute there
        return getattr(self._now(), "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        self._now().write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        self._now().flush()

    def isatty(self) -> bool:
        return bool(self._now().isatty())

    def fileno(self) -> int:
        return int(self._now().fileno())


def console(stderr: bool = False, quiet: bool = False, file: IO[str] | None = None) -> Console:
    """A console whose `print` does not wrap lines and raises no error over a character.

    Args:
        stderr: print to the error output.
        quiet: print nothing.
        file: print there instead.
    """
    output = cast(IO[str], Output(stderr)) if file is None else file
    columns = os.environ.get("COLUMNS", "")
    narrow = columns.isdecimal() and int(columns) < LEAST_WIDTH
    width = LEAST_WIDTH if narrow else None if output.isatty() or columns.isdecimal() else WIDTH_OF_FILES
    # No markup: the names of files and tasks may have brackets.
    return Console(file=output, quiet=quiet, soft_wrap=True, width=width, markup=False, highlight=False)


class Table(RichTable):
    """A table that continues a long cell on the next line and cuts nothing off."""

    def add_column(
        self,
        header: RenderableType = "",
        *more: Any,
        overflow: OverflowMethod = "fold",
        justify: JustifyMethod = "left",
        **options: Any,
    ) -> None:
        super().add_column(header, *more, overflow=overflow, justify=justify, **options)
