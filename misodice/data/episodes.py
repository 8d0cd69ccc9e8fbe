"""The episodes file: flat over time, never padded (format "misodice-episodes", version 1).

An episode of L steps has L + 1 rows of what is observed and L rows of what is done, so the successor of row t is
row t + 1 and the true last observation is kept. R = Σ(L+1) rows, T = ΣL transitions, E episodes, n agents.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from misodice.data.checks import (
    FLAGS,
    IN_FILE,
    MOST_ACTIONS,
    OF_EPISODES,
    OF_ROWS,
    OF_STEPS,
    Lengths,
    cast,
    check_lengths,
    check_outlines,
    check_values,
    other_returns,
    rows_of_transitions,
    sums_of_rewards,
)
from misodice.data.episode import Episode
from misodice.data.hdf5 import open_to_read, own_dataset, values_of
from misodice.data.header import FORMAT, VERSION, Header, checked_header, read_header
from misodice.data.values import array_of, as_flags, as_names, fault
from misodice.data.writer import EpisodesWriter
from misodice.errors import MisodiceError

__all__ = ["FORMAT", "VERSION", "Episode", "Episodes", "EpisodesWriter", "Header", "rows_of_transitions"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
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

    @cached_property
    def _has_other_return(self) -> np.ndarray:
        """Whether the return of each episode is not the sum of its rewards, bool [E]."""
        if self.returns is None or self.rewards is None:
            return np.full(self.n_episodes, self.returns is not None)
        return other_returns(self.rewards, self.length, self.returns)

    def __getitem__(self, index: int) -> Episode:
        """Episode `index` as views of the arrays."""
        if not -self.n_episodes <= index < self.n_episodes:
            raise IndexError(f"episode {index} of {self.n_episodes}")
        index %= self.n_episodes
        end = int(self._ends[index])
        start = end - int(self.length[index])
        rows, steps = slice(start + index, end + index + 1), slice(start, end)
        other = self._has_other_return[index]
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
            true_return=float(self.returns[index]) if self.returns is not None and other else None,
        )

    def __repr__(self) -> str:
        kind = "discrete actions" if self.discrete else "continuous actions"
        task = self.header.env.get("task")
        return (
            f"Episodes({self.n_episodes} episodes, {self.n_transitions} transitions, {self.n_agents} agents, "
            f"obs {self.obs.shape[2]}, state {self.state.shape[1]}, {self.n_actions} {kind}"
            + ("" if task is None else f", task {task}")
            + ")"
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
        obs: Any,
        actions: Any,
        length: Any,
        state: Any = None,
        available_actions: Any = None,
        rewards: Any = None,
        terminated: Any = None,
        truncated: Any = None,
        won: Any = None,
        source: Any = None,
        header: Header | None = None,
        n_actions: int | None = None,
    ) -> Episodes:
        """Episodes of your own: arrays of all episodes, one after another. `write` makes a file of them.

        R = Σ(L + 1): what was observed last belongs to an episode too. T = ΣL, E episodes, n agents. Arrays, lists and
        tensors are taken, of any type of numbers; [T, 1] and [E, 1] are taken as [T] and [E].

        Args:
            obs: observations, [R, n, O].
            actions: integers [T, n], or floats within ±1 [T, n, A].
            length: steps L of each episode, [E].
            state: [R, S]; None is the agents' observations side by side.
            available_actions: [R, n, A]; None lets every discrete action be taken always.
            rewards: of the team, [T]; the returns are their sums.
            terminated: where the environment's own rules ended an episode, [T]; None is the last step of every episode
                that is not truncated.
            truncated: where a time limit ended an episode, [T]; None is nowhere.
            won: [E].
            source: who played each episode, [E], or one name for all; hidden from training.
            header: environment and names of features; None names none.
            n_actions: number of discrete actions, where `available_actions` does not tell; None is the greatest
                action and one more.

        Raises:
            MisodiceError: shapes do not fit each other or can be read in two ways, values are not finite, an episode
                ends before its last step, or actions were not available.
        """
        where = "arrays"
        checked = checked_header(where, Header() if header is None else header)
        named: dict[str, Any] = {"obs": obs, "state": state, "available_actions": available_actions}
        named |= {"actions": actions, "rewards": rewards, "terminated": terminated, "truncated": truncated, "won": won}
        given = {name: array_of(where, name, value) for name, value in named.items() if value is not None}
        for name in ("obs", "actions"):
            if name not in given or not given[name].ndim:
                raise fault(where, name, named[name], "an array", "give it")
        lengths = check_lengths(where, array_of(where, IN_FILE["length"], length), len(given["actions"]))
        if source is not None:
            names = array_of(where, "source", source)
            given["source"] = np.full(len(lengths.steps), names) if names.ndim == 0 else names
        if state is None and given["obs"].ndim == 3:
            given["state"] = given["obs"].reshape(len(given["obs"]), -1)
        given["truncated"] = given.get("truncated", np.zeros(lengths.total, bool))
        if terminated is None:
            given["terminated"] = np.isin(np.arange(1, lengths.total + 1), lengths.ends)
        if n_actions is not None or (available_actions is None and given["actions"].ndim == 2):
            _let_all_be_taken(where, given, n_actions)
        shapes = check_outlines(lengths, given)
        fields = _cast(lengths, given, shapes)
        if terminated is None:
            fields["terminated"] &= ~fields["truncated"]
        return _made(cls, lengths, checked, fields)

    def write(self, path: str | Path, overwrite: bool = False) -> None:
        """Write an episodes file, whole or not at all.

        Args:
            path: the file; its folder is made.
            overwrite: whether a file that is there is replaced.

        Raises:
            MisodiceError: there is a file already, nothing can be written there, or an episode is not as a file has it.
        """
        with EpisodesWriter(path, self.header, overwrite) as writer:
            for episode in self:
                writer.add(episode)

    @classmethod
    def read(cls, path: str | Path) -> Episodes:
        """Load and check a whole file.

        A file with rewards and no returns gets their sums as returns.

        Raises:
            MisodiceError: the file is missing, is no HDF5, is open in another program, is of another format or version,
                lacks a field, or holds shapes that can be read in two ways, inconsistent lengths, values that are not
                finite, or actions that were not available.
        """
        path = Path(path)
        with open_to_read(path) as file:
            header = read_header(path, file)
            datasets = _datasets(path, file)
            length = datasets.pop("length")
            shape_of_actions = datasets["actions"].shape
            lengths = check_lengths(path, values_of(path, length), shape_of_actions[0] if shape_of_actions else 0)
            shapes = check_outlines(lengths, datasets)
            return _made(cls, lengths, header, _cast(lengths, datasets, shapes))


def _datasets(path: Path, file: h5py.File) -> dict[str, h5py.Dataset]:
    datasets = {}
    for name in ("length", *OF_ROWS, *OF_STEPS, *OF_EPISODES):
        there = IN_FILE.get(name, name)
        dataset = own_dataset(path, file, there)
        if dataset is not None:
            datasets[name] = dataset
        elif name not in ("available_actions", "rewards", *OF_EPISODES):
            found = sorted(str(each) for each in file)
            raise MisodiceError(
                f"{path}: field {there!r} is missing; found {found[:20]}; write it (docs/concepts.md has all fields)"
            )
    _tell_near_names(path, file, datasets)
    return datasets


def _tell_near_names(path: Path, file: h5py.File, read: Mapping[str, h5py.Dataset]) -> None:
    """A field that is nearly called as one that is absent is read by nobody."""
    absent = [IN_FILE.get(name, name) for name in ("available_actions", "rewards", *OF_EPISODES) if name not in read]
    known = {IN_FILE.get(name, name) for name in (*read, *absent)}
    there = [*file, *(f"episode/{name}" for name in file["episode"])] if "episode" in file else [*file]
    for name in sorted({*there} - known - {"episode"}):
        if near := get_close_matches(str(name), absent, 1, 0.8):
            logger.warning(f"{path}: field {name!r} is not read; rename it if it is the format's {near[0]!r}")


def _let_all_be_taken(where: str, given: dict[str, np.ndarray], n_actions: int | None) -> None:
    """Put a mask that forbids nothing beside discrete actions."""
    actions, obs = given["actions"], given["obs"]
    if n_actions is not None:
        mask = given.get("available_actions")
        known = None if mask is None or mask.ndim != 3 else mask.shape[2]
        if isinstance(n_actions, bool) or not isinstance(n_actions, (int, np.integer)) or n_actions < 1:
            raise fault(
                where, "n_actions", n_actions, "a whole number of at least 1", "give how many actions there are"
            )
        if actions.ndim == 3 and actions.shape[2] != 1:
            raise fault(where, "n_actions", n_actions, "None beside continuous actions", "leave it out")
        if mask is not None:
            if known != n_actions:
                raise fault(where, "n_actions", n_actions, f"{known}, the entries of available_actions", "leave it out")
            return
    if actions.ndim != 2 or actions.dtype.kind not in "iu" or not actions.size or obs.ndim != 3:
        return  # refused by the checks, by name
    greatest = int(actions.max())
    if n_actions is None and greatest >= MOST_ACTIONS:
        raise fault(where, "actions", greatest, f"less than {MOST_ACTIONS}", "give n_actions if there are so many")
    count = greatest + 1 if n_actions is None else int(n_actions)
    given["available_actions"] = np.ones((*obs.shape[:2], max(count, 1)), bool)


def _cast(lengths: Lengths, given: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Each field in its shape and type, read if it is a dataset."""
    where, fields = lengths.where, {}
    for name, shape in shapes.items():
        values = given[name]
        if isinstance(values, h5py.Dataset):
            values = values_of(Path(str(where)), values, _read_as(values, name, len(shape) == 2))
        values = values.reshape(shape)
        if name == "source":
            fields[name] = as_names(where, IN_FILE[name], values)
        elif name == "won":
            fields[name] = as_flags(where, IN_FILE[name], values)
        else:
            fields[name] = cast(where, name, values, len(shape) == 2)
    return fields


def _read_as(dataset: h5py.Dataset, name: str, flat: bool) -> type[np.generic] | None:
    """float32 for what becomes that; None for what is checked as it stands."""
    whole = name in (*FLAGS, "source") or (name == "actions" and flat)
    return None if whole or dataset.dtype.kind == "b" else np.float32


def _made(cls: type[Episodes], lengths: Lengths, header: Header, fields: dict[str, np.ndarray]) -> Episodes:
    """The episodes, with the returns that their rewards sum up to."""
    rewards, returns = fields.get("rewards"), fields.get("returns")
    check_values(lengths, header, fields)
    if rewards is not None:
        sums = sums_of_rewards(rewards, lengths.steps)
        if not np.isfinite(sums).all():
            episode = int(np.isfinite(sums).argmin())
            raise fault(
                lengths.where, "rewards", f"a sum beyond float32 in episode {episode}", "less", "divide all rewards"
            )
        if returns is None:
            fields["returns"] = sums
        elif (other := other_returns(rewards, lengths.steps, returns)).any():
            episode = int(other.argmax())
            logger.warning(
                f"{lengths.where}: episode/return of episode {episode} is {returns[episode]:g}, its rewards sum up to "
                f"{sums[episode]:g} ({int(other.sum())} of {len(other)} episodes differ): the returns are taken as "
                "they stand; delete episode/return to have the sums"
            )
    return cls(header=header, length=lengths.steps, **fields)
