"""Arrays of an npz archive, read from first to last without holding them."""

from __future__ import annotations

import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from misodice.data.importers.base import check_numeric, check_size, fault, reading


class NpzMember:
    """One array of an archive, a row at a time. Objects are refused: loading them would run code.

    Args:
        archive: the open archive.
        path: its path, for messages.
        name: of the array.
        files: what closes the member.
    """

    def __init__(self, archive: zipfile.ZipFile, path: Path, name: str, files: ExitStack) -> None:
        self.path, self.name = path, name
        with reading(path, f"npz, field {name!r}"):
            info = archive.getinfo(f"{name}.npy")
            self._file = files.enter_context(archive.open(info))
            version = np.lib.format.read_magic(self._file)
            read_header = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read_header is None:
                raise fault(path, name, f"npy format {version}", "1.0 or 2.0")
            shape, fortran, dtype = read_header(self._file)
            left = info.file_size - self._file.tell()
        check_numeric(path, name, dtype)
        if fortran and len(shape) > 1:
            raise fault(path, name, "Fortran order", "C order", "save it with numpy.ascontiguousarray")
        if len(shape) < 2:
            raise fault(path, name, f"shape {list(shape)}", "[N, T, …]")
        check_size(path, f"{name}, an episode", shape[1:], dtype)
        self.shape: tuple[int, ...] = shape
        self.dtype = dtype
        self._size = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        if left != self._size * shape[0]:
            raise fault(path, name, f"{left} bytes", f"{self._size * shape[0]} for shape {list(shape)} of {dtype}")

    def next(self) -> np.ndarray:
        """The next row, [T, …]."""
        with reading(self.path, f"npz, field {self.name!r}"):
            content = self._file.read(self._size)
            if len(content) != self._size:
                raise EOFError(f"{len(content)} of {self._size} bytes")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:])

    def finish(self) -> None:
        """Read to the end, where the archive's checksum is compared."""
        with reading(self.path, f"npz, field {self.name!r}"):
            self._file.read(1)
