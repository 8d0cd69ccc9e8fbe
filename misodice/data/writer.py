"""An episodes file, one episode after another, whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from misodice.data.checks import (
    IN_FILE,
    OF_ROWS,
    OF_STEPS,
    Lengths,
    cast,
    check_outlines,
    check_values,
)
from misodice.data.episode import Episode
from misodice.data.hdf5 import Sink
from misodice.data.header import Header, checked_header, write_header
from misodice.data.outputs import check_output
from misodice.data.values import array_of, as_flags, as_floats, as_names, fault, number_of, shown
from misodice.errors import MisodiceError
from misodice.runs.files import cannot_write

CHUNK_ROWS = 1000
WRITE_CACHE = 2**26
"""Bytes of a dataset's chunk that is being filled: one that is too large to keep is packed again for every episode."""
OPTIONAL = ("rewards", "available_actions", "returns", "won", "source")


class EpisodesWriter:
    """Append episodes to a file that appears under its name only when the `with` block ends well.

    Each episode is checked as `Episodes.read` checks a file.

    Args:
        path: the file; its folder is made.
        header: environment and names of features.
        overwrite: whether a file that is there is replaced.
        origin: what the episodes come from, for messages; None is `path`.

    Raises:
        MisodiceError: the header is none, or, by `with`, there is a file already.

    Example:
        >>> with EpisodesWriter("zerg.h5", header) as writer:
        ...     writer.add(episode)
    """

    def __init__(
        self, path: str | Path, header: Header, overwrite: bool = False, origin: str | Path | None = None
    ) -> None:
        self.path = Path(path)
        self.header = checked_header(self.path, header)
        self._overwrite = overwrite
        self._where = self.path if origin is None else origin
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._file: h5py.File | None = None
        # Kept open: a dataset that is closed packs the chunk that is being filled, and unpacks it for the next episode.
        self._datasets: dict[str, h5py.Dataset] = {}
        self._lengths: list[int] = []
        self._of_episodes: dict[str, list[Any]] = {"returns": [], "won": [], "source": []}
        self._first: dict[str, tuple[int, ...]] = {}

    def __enter__(self) -> EpisodesWriter:
        check_output(self.path, self._overwrite)
        try:
            self._sink = Sink(self._temporary, self.path)
        except OSError as error:
            raise MisodiceError(cannot_write(self.path, error)) from error
        self._file = h5py.File(self._sink, "w", rdcc_nbytes=WRITE_CACHE)
        return self

    def add(self, episode: Episode) -> None:
        """Append one episode.

        Raises:
            MisodiceError: it is not as an episodes file has it, or has other sizes or fields than the first one.
        """
        if self._file is None:
            raise MisodiceError(f"{self.path}: add belongs inside the with block: with EpisodesWriter(…) as writer: …")
        fields = self._checked(episode)
        self._check_like_the_first(fields)
        for name in (*OF_ROWS, *OF_STEPS):
            if name in fields:
                self._append(name, fields[name])
        for name, values in self._of_episodes.items():
            if name in fields:
                values.append(fields[name][0])
        self._lengths.append(len(fields["actions"]))
        self._sink.check()

    def _checked(self, episode: Episode) -> dict[str, np.ndarray]:
        number = len(self._lengths)
        where = f"{self._where}: episode {number}"
        if not isinstance(episode, Episode):
            raise MisodiceError(f"{where}: found {shown(episode)}, expected an Episode; give Episode(obs=…, actions=…)")
        given = {
            name: array_of(where, name, value)
            for name in (*OF_ROWS, *OF_STEPS)
            if (value := getattr(episode, name)) is not None
        }
        for name in ("obs", "state", "actions", "terminated", "truncated"):
            if name not in given:
                raise fault(where, name, "nothing", "an array", "give it with every episode")
        shape = given["actions"].shape
        if not shape or not shape[0]:
            raise fault(where, "actions", f"shape {list(shape)}", "at least 1 step", "leave such an episode out")
        lengths = Lengths(where, np.array([shape[0]]), first=number)
        shapes = check_outlines(lengths, given)
        fields = {
            name: cast(where, name, values.reshape(shapes[name]), len(shapes[name]) == 2)
            for name, values in given.items()
        }
        check_values(lengths, self.header, fields)
        if episode.won is not None:
            fields["won"] = as_flags(where, "won", _single(where, "won", episode.won, "biuf"))
        if episode.source is not None:
            fields["source"] = as_names(where, "source", _single(where, "source", episode.source, "SUO"))
        total = self._return_of(where, episode, fields)
        return fields if total is None else fields | {"returns": total}

    def _return_of(self, where: str, episode: Episode, fields: dict[str, np.ndarray]) -> np.ndarray | None:
        if episode.true_return is not None:
            number = number_of(episode.true_return)
        elif "rewards" in fields:
            number = float(fields["rewards"].sum(dtype=np.float64))
        else:
            return None
        total = as_floats(np.array([np.nan if number is None else number]))
        if not np.isfinite(total[0]):
            found = number if episode.true_return is None else shown(episode.true_return)
            raise fault(where, "episode/return", found, "one finite number (float32)", "clean the data")
        return total

    def _check_like_the_first(self, fields: dict[str, np.ndarray]) -> None:
        where = f"{self._where}: episode {len(self._lengths)}"
        found = {name: values.shape[1:] for name, values in fields.items()}
        first = self._first = self._first or found
        for name in OPTIONAL:
            if (name in found) != (name in first):
                has, had = ("values" if name in each else "none" for each in (found, first))
                remedy = "give it with all episodes or with none"
                raise fault(where, IN_FILE.get(name, name), has, f"{had}, as in the first episode", remedy)
        for name, shape in found.items():
            if shape != first[name]:
                raise fault(
                    where,
                    name,
                    f"{list(shape)} for each step",
                    f"{list(first[name])} as in the first episode",
                    "write episodes of one task into one file",
                )

    def _append(self, name: str, values: np.ndarray) -> None:
        assert self._file is not None
        if name not in self._datasets:
            shape = values.shape[1:]
            self._datasets[name] = self._file.create_dataset(
                name, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=(CHUNK_ROWS, *shape), compression="lzf"
            )
        dataset = self._datasets[name]
        start = len(dataset)
        dataset.resize(start + len(values), axis=0)
        dataset[start:] = values

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._file is not None
        try:
            try:
                if error is None:
                    self._finish(self._file)
            finally:
                self._datasets.clear()
                self._file.close()
                self._file = None
                self._sink.close()
            if error is None:
                self._sink.check()
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self, file: h5py.File) -> None:
        if not self._lengths:
            raise MisodiceError(f"{self.path}: no episode was added, expected at least one; nothing is written")
        file["episode/length"] = np.asarray(self._lengths, np.int64)
        if self._of_episodes["returns"]:
            file["episode/return"] = np.asarray(self._of_episodes["returns"], np.float32)
        if self._of_episodes["won"]:
            file["episode/won"] = np.asarray(self._of_episodes["won"], bool)
        if self._of_episodes["source"]:
            names = [str(name) for name in self._of_episodes["source"]]
            file.create_dataset("episode/source", data=names, dtype=h5py.string_dtype())
        write_header(file, self.header)


def _single(where: object, name: str, value: Any, kinds: str) -> np.ndarray:
    """One entry as an array [1]."""
    array = array_of(where, name, value)
    if array.size != 1 or array.dtype.kind not in kinds:
        expected = "one name" if "S" in kinds else "true or false"
        raise fault(where, name, shown(value), expected, "give one an episode")
    return array.reshape(1)
