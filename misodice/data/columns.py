"""columns.h5: what each stage adds to the table of transitions, with the fingerprint of what made it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np

from misodice.data.hdf5 import whole_file


def read_column(path: Path, name: str) -> np.ndarray:
    """Column `name`, [T] or [T, n]."""
    with h5py.File(path, "r") as file:
        values: np.ndarray = file[name][:]
    return values


def column_fingerprint(path: Path, name: str) -> str | None:
    """What made column `name`; None where there is none."""
    if not path.is_file():
        return None
    with h5py.File(path, "r") as file:
        return str(file[name].attrs["fingerprint"]) if name in file else None


def write_column(path: Path, name: str, values: np.ndarray, fingerprint: str) -> None:
    """Add or replace a column; a killed writer leaves the file as it was."""
    with whole_file(path, keep=True) as file:
        if name in file:
            del file[name]
        file.create_dataset(name, data=values).attrs["fingerprint"] = fingerprint


class Columns(Mapping[str, np.ndarray]):
    """The columns of a run by name, read from its columns.h5 when they are asked for: [T] or [T, n].

    Args:
        path: columns.h5; without the file there are none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in list(self):
            raise KeyError(f"{self.path} has no column {name!r}; it has {list(self)}")
        return read_column(self.path, name)

    def __iter__(self) -> Iterator[str]:
        if not self.path.is_file():
            return iter(())
        with h5py.File(self.path, "r") as file:
            return iter(list(file))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"Columns({', '.join(self)})"
