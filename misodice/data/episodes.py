"""The episodes file: flat over time, never padded (format "misodice-episodes", version 1).

An episode of L steps has L + 1 rows of what is observed and L rows of what is done, so the successor of row t is
row t + 1 and the true last observation is kept. R = Σ(L+1) rows, T = ΣL transitions, E episodes, n agents.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from misodice.data.hdf5 import Sink, own_dataset
from misodice.errors import MisodiceError
from misodice.runs.files import cannot_write

FORMAT = "misodice-episodes"
VERSION = 1
CHUNK_ROWS = 1000
WRITE_CACHE = 2**26
"""Bytes of a dataset's chunk that is being filled: one that is too large to keep is packed again for every episode."""


@dataclass(frozen=True)
class Header:
    """What the root attributes say: which environment made the file and what each number in it means."""

    env: dict[str, Any] = field(default_factory=dict)
    """Engine, task and options; empty where the episodes are of no engine that misodice could play on."""
    obs_features: list[str] = field(default_factory=list)
    state_features: list[str] = field(default_factory=list)
    action_scale: float = 1.0
    created_by: str = "misodice"


@dataclass(frozen=True)
class Episode:
    """One episode of L steps: observations [L+1, …], actions and rewards [L, …]."""

    obs: np.ndarray
    state: np.ndarray
    actions: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    rewards: np.ndarray | None = None
    available_actions: np.ndarray | None = None
    won: bool | None = None
    source: str | None = None

    def __len__(self) -> int:
        return len(self.actions)


@dataclass(frozen=True)
class Episodes:
    """A whole episodes file in memory.

    Shapes: obs [R, n, O], state [R, S], available_actions [R, n, A] (discrete only), actions [T, n] int64 or
    [T, n, A] float32, rewards, terminated and truncated [T], length, returns, won and source [E].
    """

    header: Header
    obs: np.ndarray
    state: np.ndarray
    actions: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    length: np.ndarray
    available_actions: np.ndarray | None = None
    rewards: np.ndarray | None = None
    returns: np.ndarray | None = None
    won: np.ndarray | None = None
    source: np.ndarray | None = None

    @property
    def discrete(self) -> bool:
        return self.actions.ndim == 2

    @property
    def n_episodes(self) -> int:
        return len(self.length)

    @property
    def n_transitions(self) -> int:
        return len(self.actions)

    @property
    def n_agents(self) -> int:
        return int(self.obs.shape[1])

    @property
    def n_actions(self) -> int:
        """Number of actions (discrete) or of action entries of one agent (continuous)."""
        if self.available_actions is not None:
            return int(self.available_actions.shape[2])
        return int(self.actions.shape[2])

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.length)

    def __getitem__(self, index: int) -> Episode:
        """Episode `index` as views of the arrays."""
        end = int(self._ends[index])
        start = end - int(self.length[index])
        rows, steps = slice(start + index, end + index + 1), slice(start, end)
        return Episode(
            obs=self.obs[rows],
            state=self.state[rows],
            actions=self.actions[steps],
            terminated=self.terminated[steps],
            truncated=self.truncated[steps],
            rewards=None if self.rewards is None else self.rewards[steps],
            available_actions=None if self.available_actions is None else self.available_actions[rows],
            won=None if self.won is None else bool(self.won[index]),
            source=None if self.source is None else str(self.source[index]),
        )

    def __iter__(self) -> Iterator[Episode]:
        return (self[index] for index in range(self.n_episodes))

    def mean_return(self, source: str) -> float | None:
        """Mean true return of the episodes of one source; None where the file does not say."""
        if self.source is None or self.returns is None:
            return None
        chosen = self.source == source
        return float(self.returns[chosen].mean()) if chosen.any() else None

    @classmethod
    def from_arrays(
        cls,
        obs: np.ndarray,
        actions: np.ndarray,
        length: np.ndarray | Sequence[int],
        state: np.ndarray | None = None,
        available_actions: np.ndarray | None = None,
        rewards: np.ndarray | None = None,
        terminated: np.ndarray | None = None,
        truncated: np.ndarray | None = None,
        won: np.ndarray | None = None,
        source: np.ndarray | Sequence[str] | None = None,
        header: Header | None = None,
        n_actions: int | None = None,
    ) -> Episodes:
        """Episodes of your own: arrays of all episodes, one after another. `write` makes a file of them.

        R = Σ(L + 1): what was observed last belongs to an episode too. T = ΣL, E episodes, n agents.

        Args:
            obs: observations, [R, n, O].
            actions: integers [T, n], or floats within ±1 [T, n, A].
            length: steps L of each episode, [E].
            state: [R, S]; None is the agents' observations side by side.
            available_actions: [R, n, A]; None lets every discrete action be taken always.
            rewards: of the team, [T]; the returns are their sums.
            terminated: where the environment's own rules ended an episode, [T]; None is every episode's last step.
            truncated: where a time limit ended an episode, [T]; None is nowhere.
            won: [E].
            source: who played each episode, [E]; hidden from training.
            header: environment and names of features; None names none.
            n_actions: number of discrete actions, where `available_actions` does not tell; None is the greatest
                action and one more.

        Raises:
            MisodiceError: shapes do not fit each other, values are not finite, or actions were not available.
        """
        obs, actions = np.asarray(obs, np.float32), np.asarray(actions)
        length = np.asarray(length, np.int64)
        discrete = actions.ndim == 2
        if discrete and available_actions is None and actions.size:
            available_actions = np.ones((*obs.shape[:2], n_actions or int(actions.max()) + 1), bool)
        last = np.isin(np.arange(1, len(actions) + 1), np.cumsum(length))
        steps = None if rewards is None else np.asarray(rewards, np.float32)
        episodes = cls(
            header=header or Header(),
            obs=obs,
            state=obs.reshape(len(obs), -1) if state is None else np.asarray(state, np.float32),
            actions=actions.astype(np.int64 if discrete else np.float32),
            terminated=last if terminated is None else np.asarray(terminated, bool),
            truncated=np.zeros(len(actions), bool) if truncated is None else np.asarray(truncated, bool),
            length=length,
            available_actions=None if available_actions is None else np.asarray(available_actions, bool),
            rewards=steps,
            won=None if won is None else np.asarray(won, bool),
            source=None if source is None else np.asarray(source, dtype=str),
        )
        _check(Path("arrays"), episodes)
        if steps is None:
            return episodes
        starts = np.cumsum(length) - length
        return replace(episodes, returns=np.add.reduceat(steps.astype(np.float64), starts).astype(np.float32))

    def write(self, path: str | Path) -> None:
        """Write an episodes file, whole or not at all.

        Raises:
            MisodiceError: nothing can be written there.
        """
        with EpisodesWriter(path, self.header) as writer:
            for episode in self:
                writer.add(episode)

    @classmethod
    def read(cls, path: str | Path) -> Episodes:
        """Load and check a whole file.

        Raises:
            MisodiceError: the file is missing, is no HDF5, is of another format or version, lacks a field, or holds
                inconsistent lengths, values that are not finite, or actions that were not available.
        """
        path = Path(path)
        if not path.is_file():
            raise MisodiceError(f"{path}: no such file; make one with `misodice collect`")
        try:
            with h5py.File(path, "r") as file:
                episodes = _load(cls, path, file)
        except OSError as error:
            raise MisodiceError(
                f"{path}: not a readable HDF5 file ({error}); it may be truncated or of another kind: make it again"
            ) from error
        _check(path, episodes)
        return episodes


class EpisodesWriter:
    """Append episodes to a file that appears under its name only when the `with` block ends well.

    Example:
        >>> with EpisodesWriter("zerg.h5", header) as writer:
        ...     writer.add(episode)
    """

    def __init__(self, path: str | Path, header: Header) -> None:
        self.path = Path(path)
        self.header = header
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        # Kept open: a dataset that is closed packs the chunk that is being filled, and unpacks it for the next episode.
        self._datasets: dict[str, h5py.Dataset] = {}
        self._lengths: list[int] = []
        self._returns: list[float] = []
        self._won: list[bool] = []
        self._source: list[str] = []

    def __enter__(self) -> EpisodesWriter:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._sink = Sink(self._temporary, self.path)
        except OSError as error:
            raise MisodiceError(cannot_write(self.path, error)) from error
        self._file = h5py.File(self._sink, "w", rdcc_nbytes=WRITE_CACHE)
        return self

    def add(self, episode: Episode) -> None:
        """Append one episode (its shapes must match those of the first)."""
        columns = {
            "obs": np.asarray(episode.obs, np.float32),
            "state": np.asarray(episode.state, np.float32),
            "actions": np.asarray(episode.actions, np.int64 if episode.actions.ndim == 2 else np.float32),
            "terminated": np.asarray(episode.terminated, bool),
            "truncated": np.asarray(episode.truncated, bool),
        }
        if episode.available_actions is not None:
            columns["available_actions"] = np.asarray(episode.available_actions, bool)
        if episode.rewards is not None:
            columns["rewards"] = np.asarray(episode.rewards, np.float32)
            self._returns.append(float(columns["rewards"].sum(dtype=np.float64)))
        for name, values in columns.items():
            self._append(name, values)
        self._lengths.append(len(episode))
        if episode.won is not None:
            self._won.append(episode.won)
        if episode.source is not None:
            self._source.append(episode.source)
        self._sink.check()

    def _append(self, name: str, values: np.ndarray) -> None:
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
        try:
            if error is None:
                self._finish()
            self._datasets.clear()
            self._file.close()
            self._sink.close()
            if error is None:
                self._sink.check()
                os.replace(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    def _finish(self) -> None:
        count = len(self._lengths)
        self._file["episode/length"] = np.asarray(self._lengths, np.int64)
        if len(self._returns) == count:
            self._file["episode/return"] = np.asarray(self._returns, np.float32)
        if len(self._won) == count:
            self._file["episode/won"] = np.asarray(self._won, bool)
        if len(self._source) == count:
            self._file.create_dataset("episode/source", data=self._source, dtype=h5py.string_dtype())
        attributes = self._file.attrs
        attributes["format"], attributes["version"] = FORMAT, VERSION
        attributes["env"] = json.dumps(self.header.env, sort_keys=True)
        attributes["obs_features"] = json.dumps(self.header.obs_features)
        attributes["state_features"] = json.dumps(self.header.state_features)
        attributes["action_scale"] = self.header.action_scale
        attributes["created_by"] = self.header.created_by


def _load(cls: type[Episodes], path: Path, file: h5py.File) -> Episodes:
    found = file.attrs.get("format")
    if found != FORMAT:
        raise MisodiceError(f"{path}: attribute format is {found!r}, expected {FORMAT!r}; convert it first")
    version = int(file.attrs.get("version", 0))
    if version != VERSION:
        raise MisodiceError(
            f"{path}: version {version}, expected {VERSION}; make the file again with this misodice or install the one "
            "that made it"
        )

    def read(name: str, dtype: Any, required: bool = True) -> np.ndarray | None:
        if name not in file:
            if required:
                raise MisodiceError(f"{path}: field {name!r} is missing; found {sorted(file)}")
            return None
        dataset = own_dataset(path, file, name)
        # read_direct converts into the one array that is kept: no second copy of a large file.
        values = np.empty(dataset.shape, dtype)
        if values.size:
            dataset.read_direct(values)
        return values

    fields: dict[str, Any] = {
        "obs": read("obs", np.float32),
        "state": read("state", np.float32),
        "terminated": read("terminated", bool),
        "truncated": read("truncated", bool),
        "length": read("episode/length", np.int64),
        "rewards": read("rewards", np.float32, required=False),
        "available_actions": read("available_actions", bool, required=False),
        "returns": read("episode/return", np.float32, required=False),
        "won": read("episode/won", bool, required=False),
    }
    if "actions" not in file:
        raise MisodiceError(f"{path}: field 'actions' is missing; found {sorted(file)}")
    fields["actions"] = read("actions", np.int64 if file["actions"].ndim == 2 else np.float32)
    if "episode/source" in file:
        fields["source"] = np.asarray(own_dataset(path, file, "episode/source").asstr()[:], dtype=str)
    try:
        header = Header(
            env=_env(file.attrs.get("env", "{}")),
            obs_features=json.loads(file.attrs.get("obs_features", "[]")),
            state_features=json.loads(file.attrs.get("state_features", "[]")),
            action_scale=float(file.attrs.get("action_scale", 1.0)),
            created_by=str(file.attrs.get("created_by", "")),
        )
    except (TypeError, ValueError) as error:
        raise MisodiceError(
            f"{path}: root attributes: {error}; expected env as a JSON object of engine and task, or no env at all, "
            "and obs_features and state_features as JSON lists"
        ) from error
    return cls(header=header, **fields)


def _env(text: str) -> dict[str, Any]:
    env = json.loads(text)
    if not isinstance(env, dict):
        raise ValueError(f"env is {text[:80]}")
    return env


def _check(path: Path, episodes: Episodes) -> None:
    """Refuse what would otherwise surface hours later as a NaN or an index error."""

    def fail(name: str, found: object, expected: object, remedy: str = "write the file again") -> None:
        raise MisodiceError(f"{path}: {name}: found {found}, expected {expected}; {remedy}")

    length = episodes.length
    if length.ndim != 1 or not len(length):
        fail("episode/length", f"shape {length.shape}", "at least one episode")
    if (length < 1).any():
        fail("episode/length", f"length {length.min()} at episode {int(length.argmin())}", "at least 1 step", "drop it")
    steps, rows, count = int(length.sum()), int(length.sum()) + len(length), len(length)
    for name, rank in (("obs", 3), ("state", 2)):
        if getattr(episodes, name).ndim != rank:
            fail(name, f"{getattr(episodes, name).ndim} dimensions", rank)
    if episodes.actions.ndim not in (2, 3):
        fail("actions", f"shape {episodes.actions.shape}", "[T, n] or [T, n, A]")
    expected = dict.fromkeys(("obs", "state", "available_actions"), rows)
    expected |= dict.fromkeys(("actions", "rewards", "terminated", "truncated"), steps)
    expected |= dict.fromkeys(("returns", "won", "source"), count)
    for name, size in expected.items():
        values = getattr(episodes, name)
        if values is not None and len(values) != size:
            fail(name, f"{len(values)} rows", f"{size} (Σ of episode/length is {steps}, {count} episodes)")
    if episodes.actions.shape[1] != episodes.n_agents:
        fail("actions", f"{episodes.actions.shape[1]} agents", f"{episodes.n_agents} as in obs")
    for name in ("obs", "state", "rewards", "returns", "actions"):
        values = getattr(episodes, name)
        if values is not None and values.dtype.kind == "f":
            _check_finite(path, name, values)
    if episodes.discrete:
        _check_available(path, episodes, fail)


def _check_finite(path: Path, name: str, values: np.ndarray) -> None:
    # A piece at a time: the boolean mask of a whole 1 GB array would be memory for nothing.
    for start in range(0, len(values), 65536):
        wrong = ~np.isfinite(values[start : start + 65536])
        if wrong.any():
            row = start + int(wrong.reshape(len(wrong), -1).any(axis=1).argmax())
            raise MisodiceError(
                f"{path}: {name}: found NaN or infinity in row {row}, expected finite values; clean the data"
            )


def _check_available(path: Path, episodes: Episodes, fail: Any) -> None:
    available = episodes.available_actions
    if available is None:
        raise MisodiceError(
            f"{path}: field 'available_actions' is missing, expected [R, n, A] with discrete actions; "
            "write all true where every action may always be taken"
        )
    if available.ndim != 3 or available.shape[1] != episodes.n_agents:
        fail("available_actions", f"shape {available.shape}", f"[R, {episodes.n_agents}, A]")
    actions = episodes.actions
    if actions.min() < 0 or actions.max() >= available.shape[2]:
        fail("actions", f"{actions.min()}…{actions.max()}", f"0…{available.shape[2] - 1}")
    rows = rows_of_transitions(episodes.length)
    allowed = available[rows[:, None], np.arange(episodes.n_agents), actions]
    if not allowed.all():
        step, agent = np.argwhere(~allowed)[0]
        fail(
            "actions",
            f"action {actions[step, agent]} of agent {agent} at transition {step}, which available_actions forbids",
            "an available action",
            "clean the data or mend the mask",
        )


def rows_of_transitions(length: np.ndarray) -> np.ndarray:
    """Row of obs and state that transition t starts from, [T]; its successor is that row + 1."""
    return np.arange(int(length.sum())) + np.repeat(np.arange(len(length)), length)
