"""OMIGA's SMACv1 files: one episode each, saved by torch, loaded without running anything in them."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from misodice.data.episodes import Episode
from misodice.data.importers.base import (
    MAX_EPISODE,
    Importer,
    as_actions,
    as_dones,
    as_flags,
    as_floats,
    check_size,
    fault,
    reading,
    without_last_observation,
)
from misodice.errors import MisodiceError

STEP = ("state", "obs", "action", "reward", "done", "available")


class OMIGASMACImporter(Importer):
    """A folder of episode files, or one of them: lists [n][L] of [state, obs, [action], [reward], done, available].

    Such files are pickles, which can run code when they are loaded. Here only lists, numbers, tensors and plain arrays
    are made of them; a file that asks for anything else is refused, and nothing of it is run.
    """

    name = "omiga_smac"
    layout = (
        "OMIGA's SMACv1 episodes, one torch file each: for every agent and step [state, obs, [action], [reward], …]"
    )
    last_observation = "repeated"
    actuators = "as stored"
    discrete = True

    def open(self) -> None:
        self.files = episode_files(self.path)
        self.total = len(self.files)
        self.checked_total()

    def peak(self) -> float:
        return 0.0

    def episodes(self) -> Iterator[Episode]:
        for index, path in enumerate(self.files):
            self.done = index + 1
            agents = load_safely(path)
            if not (isinstance(agents, Sequence) and agents and all(isinstance(a, Sequence) for a in agents)):
                raise fault(path, "content", type(agents).__name__, self.layout)
            if len({len(agent) for agent in agents}) > 1:
                # OMIGA's own loader leaves them out too.
                self.skipped["episodes whose agents have different lengths"] += 1
            elif not len(agents[0]):
                self.skipped["episodes of no step"] += 1
            else:
                yield self._episode(path, agents)

    def _episode(self, path: Path, agents: Sequence[Sequence[Any]]) -> Episode:
        fields = {name: _gather(path, agents, i, name) for i, name in enumerate(STEP)}
        steps, n = fields["obs"].shape[:2]
        for name in ("action", "reward", "done"):
            if fields[name].size != steps * n:
                raise fault(path, name, f"shape {list(fields[name].shape)}", f"one number for each of [{steps}, {n}]")
        for name in ("state", "obs", "available"):
            if fields[name].ndim != 3 or not fields[name].shape[2]:
                raise fault(path, name, f"shape {list(fields[name].shape)}", f"[{steps}, {n}, at least 1]")
        available = as_flags(path, "available", fields["available"])
        obs = as_floats(path, "obs", fields["obs"])
        state = as_floats(path, "state", fields["state"])
        rewards = as_floats(path, "reward", fields["reward"])
        as_dones(path, "done", fields["done"])
        actions = as_actions(path, "action", fields["action"].reshape(steps, n), available)
        return without_last_observation(obs, state, actions, rewards, available)


def episode_files(path: Path) -> list[Path]:
    """The files of a folder in order of their names, or the one file."""
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.is_file() and not file.name.startswith("."))


def load_safely(path: Path) -> Any:
    """What a torch file holds, made of lists, numbers, tensors and arrays of numbers alone.

    Raises:
        MisodiceError: the file asks for anything else, or is no torch file.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise MisodiceError(f"{path}: cannot be read ({error})") from error
    if size > MAX_EPISODE:
        raise fault(path, "size", f"{size} bytes", f"at most {MAX_EPISODE} for one episode")
    with reading(path, "a torch file"):
        try:
            with torch.serialization.safe_globals(STAND_INS):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            reason = str(error).split("\n")[0]
            raise MisodiceError(
                f"{path}: refused: loading it safely failed ({reason}), and loading it otherwise might run code; "
                "expected lists and numbers: if you trust the file, load it yourself and torch.save it as nested lists"
            ) from error


def _gather(path: Path, agents: Sequence[Sequence[Any]], index: int, name: str) -> np.ndarray:
    """One entry of every agent's every step, [L, n, …]."""
    try:
        values = [[np.asarray(step[index], np.float64) for step in agent] for agent in agents]
        gathered = np.stack([np.stack(agent) for agent in values], axis=1)
    except (TypeError, ValueError, IndexError, KeyError, RuntimeError, OverflowError) as error:
        raise fault(path, name, f"no even numbers ({error})", f"entry {index} of each agent's each step") from error
    check_size(path, name, gathered.shape, gathered.dtype)
    return gathered


class PlainType:
    """Stands in for numpy.dtype in a file: only numbers, and nothing else that a dtype can be told to be."""

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or code.lstrip("<>=|")[:1] not in tuple("biuf"):
            raise pickle.UnpicklingError(f"array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        if order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"byte order {order!r}")
        self.dtype = self.dtype.newbyteorder(order)


class PlainArray:
    """Stands in for numpy.ndarray in a file, whose own way of restoring trusts what it is told."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        if not isinstance(kind, PlainType) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("array of something else than numbers")
        self.values = np.frombuffer(content, kind.dtype).reshape(shape, order="F" if fortran else "C")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.values, dtype=dtype)


def _array(*_: object) -> PlainArray:
    return PlainArray()


def _scalar(kind: object, content: object) -> Any:
    if not isinstance(kind, PlainType) or not isinstance(content, bytes):
        raise pickle.UnpicklingError("scalar of something else than a number")
    return np.frombuffer(content, kind.dtype)[0].item()


def _encoded(text: object, encoding: object) -> bytes:
    # How Python 3 writes bytes in the protocol that torch uses.
    if not isinstance(text, str) or encoding != "latin1":
        raise pickle.UnpicklingError("text encoded otherwise than as latin1")
    return text.encode("latin1")


STAND_INS: list[Any] = [
    (PlainArray, "numpy.ndarray"),
    (PlainType, "numpy.dtype"),
    (_encoded, "_codecs.encode"),
    *((_array, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
    *((_scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
]
"""What numpy's pickled arrays name, each as a function or class that makes numbers and nothing else."""
