"""What HDF5 would do that a user must not meet: end the process on a full disk, or read other files."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

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


def check_is_file(path: Path, missing: str = "no such file; make one with `misodice collect`") -> None:
    """Refuse what is no ordinary file, before a library waits for a pipe or takes a folder for damage.

    Args:
        path: the file.
        missing: what is said where nothing is there.

    Raises:
        MisodiceError: nothing is there, or a folder, a pipe or a device.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MisodiceError(f"{path}: {missing}") from error
    except (OSError, ValueError) as error:
        raise MisodiceError(f"{path}: cannot be read ({error}); name another file, or change its rights") from error
    if stat.S_ISDIR(mode):
        raise MisodiceError(f"{path}: is a folder, expected a file; name the file in it")
    if not stat.S_ISREG(mode):
        raise MisodiceError(f"{path}: is a pipe or a device, expected a file; copy the data into a file")


@contextmanager
def open_to_read(path: Path, cache: int | None = None) -> Iterator[h5py.File]:
    """An HDF5 file, and whatever goes wrong while it is read as a MisodiceError.

    Args:
        path: the file.
        cache: bytes of a dataset's chunks that are kept; None is HDF5's own number.

    Raises:
        MisodiceError: it is none, is damaged, or is open in another program.
    """
    check_is_file(path)
    try:
        file = h5py.File(path, "r", rdcc_nbytes=cache)
    except OSError as error:
        raise MisodiceError(f"{path}: {_why_not_opened(path, error)}") from error
    with file:
        try:
            yield file
        except MisodiceError:
            raise
        except MemoryError as error:
            raise MisodiceError(
                f"{path}: does not fit into memory ({_on_one_line(error)}); split it, or use a machine with more"
            ) from error
        # What h5py raises on damaged bytes is no closed list.
        except Exception as error:
            raise MisodiceError(
                f"{path}: cannot be read ({type(error).__name__}: {_on_one_line(error)}); it may be damaged: make it "
                "again"
            ) from error


def _why_not_opened(path: Path, error: OSError) -> str:
    said = _on_one_line(error)
    if isinstance(error, PermissionError):
        return f"cannot be read ({said}); change its rights, or copy it to where you may read"
    if isinstance(error, BlockingIOError) or "Resource temporarily unavailable" in said:
        return "is open for writing in another program; close it there (such as a notebook) and give the command again"
    if "unable to lock file" in said:
        return (
            f"cannot be locked, as on some network disks ({said}); set HDF5_USE_FILE_LOCKING=FALSE while nobody "
            "writes it"
        )
    if "already open for write" in said:
        return (
            "a program that wrote it has not closed it; close it there, or after a crash of that program clear the "
            f"mark with: h5clear -s {path}"
        )
    size = path.stat().st_size
    if not size:
        return "not a readable HDF5 file: it is empty; make it again"
    if "truncated file" in said:
        return f"not a readable HDF5 file: it is cut off after {size} bytes ({said}); copy or make it again"
    return f"not a readable HDF5 file ({said}); it is of another kind or damaged: name another, or make it again"


def _on_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def own_dataset(path: Path, file: h5py.File, name: str) -> h5py.Dataset | None:
    """Dataset `name`, whose numbers are in this file; None where there is none.

    Raises:
        MisodiceError: it is no dataset, or has no values, or they are of another file, which HDF5 would open wherever
            it is: a link, a virtual dataset, or raw bytes.
    """
    *folders, last = name.split("/")
    parent = file
    for folder in folders:
        found = parent.get(folder, getlink=True)
        if found is None:
            return None
        _check_link(path, folder, found)
        parent = parent[folder]
        if not isinstance(parent, h5py.Group):
            raise MisodiceError(f"{path}: {folder!r}: found a dataset, expected the group of {name!r}; move it away")
    link = parent.get(last, getlink=True)
    if link is None:
        return None
    _check_link(path, name, link, parent)
    dataset = parent[last]
    if not isinstance(dataset, h5py.Dataset):
        kind = "a group" if isinstance(dataset, h5py.Group) else "a type"
        inside = f" of {sorted(dataset)[:5]}" if isinstance(dataset, h5py.Group) else ""
        raise MisodiceError(
            f"{path}: field {name!r}: found {kind}{inside}, expected a dataset; write one array under that name"
        )
    if dataset.file.filename != file.filename or dataset.is_virtual or dataset.external:
        raise MisodiceError(
            f"{path}: field {name!r} lies in another file, expected it in this one: copy it in (h5repack does)"
        )
    if dataset.shape is None:
        raise MisodiceError(f"{path}: field {name!r}: found an empty dataspace, expected an array; write its values")
    if dataset.size and not dataset.id.get_storage_size():
        raise MisodiceError(
            f"{path}: field {name!r}: found shape {list(dataset.shape)} that was never filled, expected values; write "
            "them"
        )
    return dataset


def _check_link(path: Path, name: str, link: object, parent: h5py.Group | None = None) -> None:
    if isinstance(link, h5py.ExternalLink):
        raise MisodiceError(
            f"{path}: field {name!r} lies in another file ({link.filename}), expected it in this one: copy it in "
            "(h5repack does)"
        )
    if isinstance(link, h5py.SoftLink) and parent is not None and parent.get(name.rpartition("/")[2]) is None:
        raise MisodiceError(
            f"{path}: field {name!r} is a link to {link.path!r}, which is not there, expected an array; write it"
        )


def values_of(path: Path, dataset: h5py.Dataset, into: type[np.generic] | None = None) -> np.ndarray:
    """All values of a dataset.

    Args:
        path: of the file, for messages.
        dataset: of `own_dataset`.
        into: type that HDF5 converts to as it reads, so that there is no second copy of a large dataset.

    Raises:
        MisodiceError: they are packed in a way that is not installed.
    """
    try:
        if into is None or not dataset.ndim:
            return np.asarray(dataset[()])
        values = np.empty(dataset.shape, into)
        dataset.read_direct(values)
    except OSError as error:
        packed = dataset.id.get_create_plist()
        for code, _, _, words in (packed.get_filter(i) for i in range(packed.get_nfilters())):
            if not h5py.h5z.filter_avail(code):
                kind = f"HDF5 filter {code} ({words.decode(errors='replace')})"
                raise MisodiceError(
                    f"{path}: field {dataset.name!r} is packed by {kind}, which is not installed; repack the file "
                    "where it was made: h5repack -f GZIP=4 OLD NEW"
                ) from error
        raise
    return values
