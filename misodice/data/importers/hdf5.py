"""HDF5 files whose datasets are read a part at a time."""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np

from misodice.data.hdf5 import open_to_read, own_dataset
from misodice.data.importers.base import Importer, check_numeric, check_size, fault, reading

BLOCK = 2**26
"""Bytes read at once."""
CACHE = 2**25
"""Bytes of a dataset's uncompressed chunks that are kept: a chunk may hold parts of many episodes."""


class Hdf5Importer(Importer):
    """An importer of an HDF5 file: opens it, and checks datasets before they are read."""

    def open(self) -> None:
        self.file = self._open_files.enter_context(open_to_read(self.path, cache=CACHE))
        with reading(self.path, "HDF5"):
            self.options = {str(name): _plain(value) for name, value in self.file.attrs.items()}

    def field(self, name: str, *ranks: int) -> h5py.Dataset:
        """A dataset of numbers with one of `ranks` dimensions.

        Raises:
            MisodiceError: it is missing, no dataset, no numbers, or of another rank.
        """
        with reading(self.path, f"HDF5, field {name!r}"):
            names = sorted(str(other) for other in self.file)
            dataset = own_dataset(self.path, self.file, name)
            if dataset is None:
                raise fault(self.path, name, f"no such dataset among {names[:20]}", self.layout)
            shape, dtype = dataset.shape, dataset.dtype
        check_numeric(self.path, name, dtype)
        if shape is None or len(shape) not in ranks:
            expected = " or ".join(str(rank) for rank in ranks)
            raise fault(self.path, name, f"shape {None if shape is None else list(shape)}", f"{expected} dimensions")
        check_size(self.path, f"{name}, a row", shape[1:], dtype)
        return dataset

    def read(self, dataset: h5py.Dataset, start: int, stop: int) -> np.ndarray:
        """Rows start to stop of a checked dataset."""
        with reading(self.path, f"HDF5, field {dataset.name!r}"):
            values: np.ndarray = dataset[start:stop]
        return values


def row_bytes(*datasets: h5py.Dataset) -> int:
    """Bytes of one row of all of them."""
    return sum(int(np.prod(d.shape[1:], dtype=np.int64)) * d.dtype.itemsize for d in datasets)


def _plain(value: Any) -> Any:
    """An attribute as JSON; arrays and odd types as short text."""
    value = value.item() if isinstance(value, np.generic) else value
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = str(value)
    return value if len(text) <= 1000 and not isinstance(value, (bytes, np.ndarray)) else str(value)[:1000]
