"""What every importer is, and how the numbers of a foreign file are taken in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from misodice.data.episodes import Episode
from misodice.errors import MisodiceError
from misodice.runs.parts import Part

MAX_EPISODE = 2**30
"""Bytes of one field of one episode above which a size is taken for damage: real ones are a few MB."""


def fault(where: object, field: str, found: object, expected: object, remedy: str | None = None) -> MisodiceError:
    """The error of a malformed file: which file, which field, what was found, what was expected, what to do."""
    remedy = remedy or "correct or fetch the file again; docs/convert.md describes the layouts"
    return MisodiceError(f"{where}: {field}: found {found}, expected {expected}; {remedy}")


@contextmanager
def reading(where: object, what: str) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a MisodiceError; wrap nothing else in it."""
    try:
        yield
    except MisodiceError:
        raise
    # What h5py, zipfile, torch and flashbax raise on damaged bytes is no closed list.
    except Exception as error:
        raise MisodiceError(
            f"{where}: cannot be read as {what} ({type(error).__name__}: {error}); it may be cut off or damaged: fetch "
            "or make it again"
        ) from error


def check_numeric(where: object, field: str, dtype: np.dtype[Any]) -> None:
    """Raise where values are no numbers: strings, objects, records."""
    if dtype.kind not in "biuf":
        raise fault(where, field, f"type {dtype}", "numbers")


def check_size(where: object, field: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise where one episode's share is absurdly large, before memory is asked for."""
    size = int(np.prod([int(length) for length in shape], dtype=object)) * dtype.itemsize
    if size > MAX_EPISODE:
        raise fault(where, field, f"{size} bytes for one episode", f"at most {MAX_EPISODE}")


def as_floats(where: object, field: str, values: np.ndarray) -> np.ndarray:
    """Cast to float32.

    Raises:
        MisodiceError: a value is no number, not finite, or too large for float32.
    """
    check_numeric(where, field, values.dtype)
    with np.errstate(over="ignore"):
        cast = np.asarray(values, np.float32)
    wrong = ~np.isfinite(cast)
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise fault(where, field, f"{values[place]} at {list(place)}", "finite values", "clean the data")
    return cast


def as_flags(where: object, field: str, values: np.ndarray) -> np.ndarray:
    """Cast to bool.

    Raises:
        MisodiceError: a value is neither 0 nor 1.
    """
    check_numeric(where, field, values.dtype)
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        raise fault(where, field, values[wrong][0], "0 or 1 only")
    return np.asarray(values, bool)


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether a shape is the expected one, in which None is any length."""
    return len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected, strict=True))


def of_all_agents(flags: np.ndarray) -> np.ndarray:
    """Steps [L] at which all agents' flags [L], [L, n] or [L, n, 1] are set."""
    return np.asarray(flags.all(axis=tuple(range(1, flags.ndim))))


def as_dones(where: object, field: str, values: np.ndarray) -> np.ndarray:
    """Steps [L] at which the episode is done: an agent that is dead is done, an episode is when all are.

    Raises:
        MisodiceError: a value is neither 0 nor 1, or the episode is done before its last step.
    """
    dones = of_all_agents(as_flags(where, field, values))
    if dones[:-1].any():
        raise fault(where, field, f"an end at step {int(dones.argmax())}", f"none before step {len(dones) - 1}")
    return dones


def shared_reward(copies: np.ndarray) -> np.ndarray:
    """Mean [L] of every agent's copy of one reward, [L], [L, n] or [L, n, 1]."""
    mean: np.ndarray = copies.reshape(len(copies), -1).mean(axis=1, dtype=np.float64)
    return mean.astype(np.float32)


def without_last_observation(
    obs: np.ndarray,
    state: np.ndarray,
    actions: np.ndarray,
    rewards: np.ndarray,
    available: np.ndarray | None = None,
    truncated: np.ndarray | None = None,
) -> Episode:
    """An episode whose file does not have what was observed after its last step: every argument is [L, …].

    The observation before it is repeated, and the last step marked as terminated though time may have run out, so that
    nothing bootstraps from it.
    """

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values[-1:]])

    steps = len(obs)
    return Episode(
        obs=repeated(obs),
        state=repeated(state.reshape(steps, -1)),
        actions=actions,
        terminated=np.arange(steps) == steps - 1,
        truncated=np.zeros(steps, bool) if truncated is None else truncated,
        rewards=shared_reward(rewards),
        available_actions=None if available is None else repeated(available),
    )


def as_actions(where: object, field: str, values: np.ndarray, available: np.ndarray) -> np.ndarray:
    """Cast discrete actions [L, n] to int64, held against what was available [≥ L, n, A].

    Raises:
        MisodiceError: an action is no whole number, out of range, or not available.
    """
    check_numeric(where, field, values.dtype)
    whole = np.asarray(values, np.float64)
    inside = (whole >= 0) & (whole < available.shape[2])
    if not inside.all():
        raise fault(where, field, values[~inside][0], f"0 to {available.shape[2] - 1}, the actions of the mask")
    actions = whole.astype(np.int64)
    if (actions != whole).any():
        raise fault(where, field, values[actions != whole][0], "whole numbers, as there is a mask of actions")
    allowed = np.take_along_axis(available[: len(actions)], actions[..., None], axis=2)[..., 0]
    if not allowed.all():
        step, agent = (int(i) for i in np.argwhere(~allowed)[0])
        raise fault(
            where,
            field,
            f"action {actions[step, agent]} of agent {agent} at step {step}, which the mask forbids",
            "available actions",
            "clean the data or correct the mask",
        )
    return actions


@dataclass(frozen=True)
class Pairs:
    """Preferences that stand in a file: indices of its episodes [P, 2], and which is better (`preferences.CODES`)."""

    pairs: np.ndarray
    answer: np.ndarray


class Importer(Part, ABC):
    """A foreign file, opened by `with`, as a stream of episodes.

    A class of your own is named by its class path: `convert --format my_package.MyImporter`. It sets `name`, `layout`,
    `last_observation` and, with continuous actions, `actuators`, and has `open`, `peak` and `episodes`.

    Args:
        path: the file or folder.
    """

    name: ClassVar[str]
    layout: ClassVar[str]
    """What such a file looks like, in a few words, for the message to a user whose file looks otherwise."""
    unit: ClassVar[str] = "episodes"
    """What `total` and `done` count."""
    last_observation: ClassVar[Literal["kept", "repeated"]]
    """Whether the file has what was observed after the last step; where not, the observation before it is repeated
    and the step is marked as terminated, so that nothing bootstraps from it."""
    actuators: ClassVar[Literal["concatenated", "as stored"]] = "as stored"
    """Whether the agents' continuous actions side by side are the body's actuators in order, as in HAPPO's MaMuJoCo."""

    discrete: bool
    total: int
    done = 0
    options: dict[str, Any]
    """What the file says of itself, as JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.skipped: Counter[str] = Counter()
        """Why how many of the file's episodes are left out."""
        self.options = {}
        self._open_files = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self._open_files.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._open_files.close()

    @abstractmethod
    def open(self) -> None:
        """Check every field's type and shape, and set `discrete`, `total` and `options`; read no episode yet."""

    @abstractmethod
    def peak(self) -> float:
        """Greatest |action| among the continuous actions, found without holding them all."""

    @abstractmethod
    def episodes(self) -> Iterator[Episode]:
        """Every episode once, in the file's order, with actions as they stand."""

    @property
    def preferences(self) -> Pairs | None:
        """Preferences in the file, complete once `episodes` is exhausted."""
        return None

    def checked_total(self) -> None:
        """Raise where the file is empty."""
        if self.total < 1:
            raise fault(self.path, self.unit, "none", "at least one")
