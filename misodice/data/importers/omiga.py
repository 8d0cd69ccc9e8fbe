"""OMIGA's MuJoCo files: one stream of rows, cut into episodes by delimiter rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from misodice.data.episodes import Episode
from misodice.data.importers.base import (
    as_flags,
    as_floats,
    check_size,
    fault,
    of_all_agents,
    without_last_observation,
)
from misodice.data.importers.hdf5 import BLOCK, Hdf5Importer, row_bytes


class OMIGAImporter(Hdf5Importer):
    """Root datasets `s`, `o` [M, n, ·], `a` [M, n, A], `r` and `d` [M, 1].

    A row with d = 1 comes after an episode's last step and is none itself: its action and reward are zero, and what it
    observes is the next episode's first observation. Rows after the last delimiter are an episode that was cut off, and
    are left out.
    """

    name = "omiga"
    layout = "OMIGA's HDF5 datasets s, o, a, r and d, with a row d = 1 after each episode"
    last_observation = "repeated"
    actuators = "concatenated"
    discrete = False

    def open(self) -> None:
        super().open()
        self.fields = {name: self.field(name, 3) for name in ("s", "o", "a")}
        self.fields |= {name: self.field(name, 1, 2) for name in ("r", "d")}
        rows, n = self.fields["o"].shape[:2]
        for name, dataset in self.fields.items():
            if len(dataset) != rows:
                raise fault(self.path, name, f"{len(dataset)} rows", f"{rows} as in o")
            if dataset.ndim == 3 and (dataset.shape[1] != n or 0 in dataset.shape[1:]):
                raise fault(self.path, name, f"shape {list(dataset.shape)}", f"[{rows}, {n}, at least 1]")
            if dataset.ndim == 2 and dataset.shape[1] not in (1, n):
                raise fault(self.path, name, f"shape {list(dataset.shape)}", f"[{rows}, 1]")
        self.block = max(1, BLOCK // row_bytes(*self.fields.values()))
        delimiters = [self._delimiters(start, min(start + 2**20, rows)) for start in range(0, rows, 2**20)]
        self.ends = np.concatenate(delimiters) if delimiters else np.zeros(0, np.int64)
        self.starts = np.concatenate([[0], self.ends[:-1] + 1]).astype(np.int64)[: len(self.ends)]
        self.total = len(self.ends)
        if not self.total:
            raise fault(self.path, "d", f"no row with 1 among {rows}", "a delimiter row after each episode")
        longest = int((self.ends - self.starts).max())
        for name, dataset in self.fields.items():
            check_size(self.path, name, (longest, *dataset.shape[1:]), dataset.dtype)
        if rows - 1 - int(self.ends[-1]):
            self.skipped[f"episode that the file's end cuts off ({rows - 1 - int(self.ends[-1])} rows)"] += 1

    def _delimiters(self, start: int, stop: int) -> np.ndarray:
        flags = as_flags(self.path, "d", self.read(self.fields["d"], start, stop))
        return np.flatnonzero(of_all_agents(flags)) + start

    def peak(self) -> float:
        actions = self.fields["a"]
        rows, peak = len(actions), 0.0
        for start in range(0, rows, self.block):
            values = as_floats(
                self.path, f"a from row {start}", self.read(actions, start, min(start + self.block, rows))
            )
            peak = max(peak, float(np.abs(values).max(initial=0.0)))
        return peak

    def episodes(self) -> Iterator[Episode]:
        first = 0
        while first < self.total:
            # As many whole episodes as a block holds, at least one.
            limit = int(np.searchsorted(self.ends, self.starts[first] + self.block, side="right"))
            stop = max(first + 1, limit)
            offset = int(self.starts[first])
            block = {
                name: self.read(dataset, offset, int(self.ends[stop - 1]) + 1) for name, dataset in self.fields.items()
            }
            for index in range(first, stop):
                self.done = index + 1
                begin, end = int(self.starts[index]) - offset, int(self.ends[index]) - offset
                if begin == end:
                    self.skipped["episodes of no step"] += 1
                    continue
                yield self._episode(index, {name: values[begin : end + 1] for name, values in block.items()})
            first = stop

    def _episode(self, index: int, rows: dict[str, np.ndarray]) -> Episode:
        where = f"{self.path}, episode {index} (row {int(self.starts[index])})"
        floats = {name: as_floats(where, name, rows[name]) for name in ("s", "o", "a", "r")}
        if floats["a"][-1].any() or floats["r"][-1].any():
            raise fault(
                where,
                "d",
                "a last row with an action or a reward",
                "a delimiter row of zeros after the episode",
                "a file whose rows with d = 1 are steps themselves is of another layout",
            )
        return without_last_observation(*(floats[name][:-1] for name in ("o", "s", "a", "r")))
