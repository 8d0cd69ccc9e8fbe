"""A file that HDF5 can write to on a disk that fills up."""

from __future__ import annotations

import io
from pathlib import Path

from misodice.errors import MisodiceError
from misodice.files import cannot_write


class Sink(io.FileIO):
    """Keeps the first failure to itself until `check`.

    HDF5 ends the process where a write fails while it closes a dataset (h5py 3.16: a segmentation fault after pages of
    messages). So it is told that all went well; what is written from then on is lost, as the file will be.

    Args:
        temporary: what is written to, as long as it is not whole.
        path: what it will become, for the message.
    """

    def __init__(self, temporary: Path, path: Path) -> None:
        super().__init__(temporary, "w+")
        self.path = path
        self.failure: OSError | None = None

    def write(self, data: object) -> int:
        """All of `data`, or a failure for `check`."""
        left = memoryview(data).cast("B")  # type: ignore[arg-type]
        size = len(left)
        try:
            while self.failure is None and len(left):
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.failure = error
        return size

    def readinto(self, buffer: object) -> int:
        """Zeros for what was lost."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        read = super().readinto(view) or 0
        view[read:] = bytes(len(view) - read)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """As `write`."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.failure = self.failure or error
            return size or 0

    def check(self) -> None:
        """Raise a MisodiceError if anything was lost."""
        if self.failure is not None:
            raise MisodiceError(cannot_write(self.path, self.failure)) from self.failure
