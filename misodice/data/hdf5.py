"""What HDF5 would do that a user must not meet: end the process on a full disk, or read other files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from misodice.errors import MisodiceError
from misodice.runs.files import cannot_write, write_bytes


@contextmanager
def whole_file(path: Path, *, keep: bool = False) -> Iterator[h5py.File]:
    """A small file made in memory and written when the block ends well, whole or not at all (see `files.whole`).

    What HDF5 itself says of a full disk it says late, and not as an OSError.

    Args:
        path: the file.
        keep: begin with what is there, if anything is.
    """
    with h5py.File.in_memory(path.read_bytes() if keep and path.is_file() else None) as file:
        yield file
        file.flush()
        write_bytes(path, file.id.get_file_image())


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


def own_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset:
    """Dataset `name`, whose numbers are in this file.

    Raises:
        MisodiceError: they are of another file, which HDF5 would open wherever it is: a link, a virtual dataset, or raw
            bytes.
    """
    dataset = file[name]
    if dataset.file.filename != file.filename or dataset.is_virtual or dataset.external:
        raise MisodiceError(
            f"{path}: field {name!r} lies in another file, expected it in this one: copy it in (h5repack does)"
        )
    return dataset
