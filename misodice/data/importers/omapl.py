"""O-MAPL's files: pairs of padded episodes and which of the two is better."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import h5py
import numpy as np

from misodice.data.episodes import Episode
from misodice.data.importers import padded
from misodice.data.importers.base import Pairs, as_floats, fault
from misodice.data.importers.hdf5 import BLOCK, Hdf5Importer, row_bytes
from misodice.data.preferences import FIRST, SECOND, TIE

ANSWERS = {1.0: FIRST, 0.0: SECOND, 0.5: TIE}


class OMAPLImporter(Hdf5Importer):
    """Root datasets `states_x` [P, T+1, S] … `actives_y` [P, T] (see `padded`) and `labels` [P], 1 where x is better.

    An episode that stands in several pairs is stored once: episodes are told apart by all their contents. Pairs with an
    episode of no step, and of an episode with itself, are left out.
    """

    name = "omapl"
    layout = (
        "O-MAPL's HDF5 datasets states_x, obs_x, actions_x, rewards_x, dones_x, actives_x, with discrete actions "
        "avails_x, the same with _y, and labels"
    )
    unit = "pairs"
    last_observation = "kept"
    actuators = "concatenated"

    def open(self) -> None:
        super().open()
        self.labels = self.field("labels", 1, 2)
        self.sides = {side: self._side(side) for side in ("_x", "_y")}
        self.total = len(self.labels)
        self.checked_total()
        datasets = [dataset for fields in self.sides.values() for dataset in fields.values()]
        for dataset in (self.labels, *datasets):
            if len(dataset) != self.total:
                raise fault(self.path, dataset.name, f"{len(dataset)} pairs", f"{self.total} as in labels")
        if self.labels.size != self.total:
            raise fault(self.path, "labels", f"shape {list(self.labels.shape)}", f"[{self.total}]")
        shapes = {
            side: {field: dataset.shape[1:] for field, dataset in fields.items()} for side, fields in self.sides.items()
        }
        if shapes["_x"] != shapes["_y"]:
            raise fault(self.path, "fields _y", f"shapes {shapes['_y']}", f"those of _x, {shapes['_x']}")
        self.discrete = padded.check_shapes(self.path, shapes["_x"], "_x")
        self.block = max(1, BLOCK // max(1, row_bytes(*datasets)))

    def _side(self, side: str) -> dict[str, h5py.Dataset]:
        fields = {field: self.field(field + side, 2, 3, 4) for field in padded.REQUIRED}
        if "avails" + side in self.file:
            fields["avails"] = self.field("avails" + side, 4)
        return fields

    def peak(self) -> float:
        peak = 0.0
        for side, fields in self.sides.items():
            for start in range(0, self.total, self.block):
                actions, actives = (
                    self.read(fields[name], start, min(start + self.block, self.total))
                    for name in ("actions", "actives")
                )
                for i in range(len(actions)):
                    where = f"{self.path}, pair {start + i}"
                    steps = padded.length(where, actives[i], side)
                    peak = max(peak, padded.greatest(where, actions[i], steps, side))
        return peak

    def episodes(self) -> Iterator[Episode]:
        known: dict[bytes, int] = {}
        self._pairs: list[tuple[int, int]] = []
        self._answers: list[int] = []
        for start in range(0, self.total, self.block):
            stop = min(start + self.block, self.total)
            labels = as_floats(self.path, "labels", self.read(self.labels, start, stop)).reshape(-1)
            block = {
                side: {field: self.read(dataset, start, stop) for field, dataset in fields.items()}
                for side, fields in self.sides.items()
            }
            for i, label in enumerate(labels.tolist()):
                self.done = start + i + 1
                where = f"{self.path}, pair {start + i}"
                if label not in ANSWERS:
                    raise fault(where, "labels", label, "1 (x is better), 0 (y is) or 0.5 (neither)")
                both = [
                    padded.cut(where, {field: values[i] for field, values in block[side].items()}, side)
                    for side in self.sides
                ]
                if None in both:
                    self.skipped["pairs with an episode of no step"] += 1
                    continue
                indices = []
                for episode in both:
                    assert episode is not None
                    digest = _digest(episode)
                    if digest not in known:
                        known[digest] = len(known)
                        yield episode
                    indices.append(known[digest])
                if indices[0] == indices[1]:
                    self.skipped["pairs of an episode with itself"] += 1
                    continue
                self._pairs.append((indices[0], indices[1]))
                self._answers.append(ANSWERS[label])

    @property
    def preferences(self) -> Pairs:
        return Pairs(np.array(self._pairs, np.int64).reshape(-1, 2), np.array(self._answers, np.int8))


def _digest(episode: Episode) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for values in (episode.obs, episode.state, episode.actions, episode.rewards, episode.terminated):
        digest.update(np.ascontiguousarray(values).data)
    if episode.available_actions is not None:
        digest.update(np.ascontiguousarray(episode.available_actions).data)
    return digest.digest()
