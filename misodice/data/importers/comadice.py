"""ComaDICE's files: padded episodes in an npz archive."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from misodice.data.episodes import Episode
from misodice.data.importers import padded
from misodice.data.importers.base import Importer, fault, reading
from misodice.data.importers.npz import NpzMember


class ComaDICEImporter(Importer):
    """Arrays `states`, `obs`, `avails`, `actions`, `rewards`, `dones`, `actives`, each [N, T, …] (see `padded`)."""

    name = "comadice"
    layout = "ComaDICE's npz arrays states, obs, actions, rewards, dones, actives, and with discrete actions avails"
    last_observation = "kept"
    actuators = "concatenated"

    def open(self) -> None:
        with reading(self.path, "npz"):
            self.archive = self._open_files.enter_context(zipfile.ZipFile(self.path))
            names = {name.removesuffix(".npy") for name in self.archive.namelist()}
        for name in padded.REQUIRED:
            if name not in names:
                raise fault(self.path, name, f"no such array among {sorted(names)[:20]}", self.layout)
        self.names = [name for name in padded.FIELDS if name in names]
        with ExitStack() as files:
            members = self._members(files, *self.names)
            self.total = members["actives"].shape[0]
            for name, member in members.items():
                if member.shape[0] != self.total:
                    raise fault(self.path, name, f"{member.shape[0]} episodes", f"{self.total} as in actives")
            self.discrete = padded.check_shapes(self.path, {name: m.shape[1:] for name, m in members.items()})
        self.checked_total()

    def _members(self, files: ExitStack, *names: str) -> dict[str, NpzMember]:
        return {name: NpzMember(self.archive, self.path, name, files) for name in names}

    def _rows(self, *names: str) -> Iterator[dict[str, np.ndarray]]:
        with ExitStack() as files:
            members = self._members(files, *names)
            for _ in range(self.total):
                yield {name: member.next() for name, member in members.items()}
            for member in members.values():
                member.finish()

    def peak(self) -> float:
        peak = 0.0
        for index, row in enumerate(self._rows("actions", "actives")):
            where = f"{self.path}, episode {index}"
            peak = max(peak, padded.greatest(where, row["actions"], padded.length(where, row["actives"])))
        return peak

    def episodes(self) -> Iterator[Episode]:
        for index, row in enumerate(self._rows(*self.names)):
            self.done = index + 1
            episode = padded.cut(f"{self.path}, episode {index}", row)
            if episode is None:
                self.skipped["episodes of no step"] += 1
            else:
                yield episode
