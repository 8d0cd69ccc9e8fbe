"""What every episodes file keeps to, whoever writes or reads it.

First the shapes and types, before a value of a large field is read; then the values. R = Σ(L+1) rows, T = ΣL
transitions, E episodes, n agents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from misodice.data.header import Header
from misodice.data.values import WRITE_AGAIN, as_flags, as_floats, as_whole_numbers, check_type, fault, place_of
from misodice.errors import MisodiceError

IN_FILE = {"length": "episode/length", "returns": "episode/return", "won": "episode/won", "source": "episode/source"}
"""Names in the file of those fields of `Episodes` that have another one there."""
OF_ROWS = ("obs", "state", "available_actions")
OF_STEPS = ("actions", "rewards", "terminated", "truncated")
OF_EPISODES = ("returns", "won", "source")
FLAGS = ("terminated", "truncated", "available_actions", "won")
LONGEST = 2**40
MOST_ACTIONS = 2**16
"""More discrete actions than that are taken for a mistake where nothing says how many there are."""
AT_MOST = 1 + 1e-6
"""Of |action|: what a division by `action_scale` in float32 may give."""


class Outlined(Protocol):
    """An array, or a dataset that is not read yet."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its sizes."""

    @property
    def dtype(self) -> Any:
        """Type of its values."""


@dataclass(frozen=True)
class Lengths:
    """Where each episode begins and ends, and what a place is called in messages.

    Args:
        where: file or argument, for messages.
        steps: of each episode, int64 [E].
        first: number of the first of these episodes.
    """

    where: object
    steps: np.ndarray
    first: int = 0

    @property
    def total(self) -> int:
        """T."""
        return int(self.steps.sum())

    @property
    def rows(self) -> int:
        """R."""
        return self.total + len(self.steps)

    @property
    def ends(self) -> np.ndarray:
        """Index after the last transition of each episode, [E]."""
        return np.cumsum(self.steps)

    def of_row(self, row: int) -> str:
        """A row of what is observed, in words."""
        episode = int(np.searchsorted(self.ends + np.arange(1, len(self.steps) + 1), row, side="right"))
        return f"row {row}, in episode {self.first + episode}"

    def of_step(self, step: int) -> str:
        """A transition, in words."""
        episode = int(np.searchsorted(self.ends, step, side="right"))
        start = int(self.ends[episode] - self.steps[episode])
        return f"step {step - start} of episode {self.first + episode}"


def check_lengths(where: object, values: np.ndarray, steps: int) -> Lengths:
    """`episode/length` [E] or [E, 1] as int64 [E].

    Args:
        where: file or argument, for messages.
        values: as they stand.
        steps: rows of `actions`.

    Raises:
        MisodiceError: a length is no whole number of at least 1, or they are not of that many actions.
    """
    name = IN_FILE["length"]
    shape = one_each(values.shape)
    if len(shape) != 1 or not shape[0]:
        raise fault(where, name, f"shape {list(values.shape)}", "at least one episode, [E]")
    check_type(where, name, values.dtype, "fiu")
    length = as_whole_numbers(where, name, values.reshape(shape))
    if (length < 1).any():
        episode = int(length.argmin())
        raise fault(where, name, f"length {length.min()} at episode {episode}", "at least 1 step", "drop it")
    if length.max() > LONGEST or length.sum() != steps:
        raise fault(
            where,
            name,
            f"{int(length.sum(dtype=object))} steps in all",
            f"{steps}, the rows of actions",
            "write for each episode how many rows of actions it has",
        )
    return Lengths(where, length)


def one_each(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape without a last axis of one entry: one number a step, or an episode."""
    return shape[:-1] if len(shape) == 2 and shape[1] == 1 else shape


def check_outlines(lengths: Lengths, given: Mapping[str, Outlined]) -> dict[str, tuple[int, ...]]:
    """Hold shapes and types against each other.

    Args:
        lengths: of the episodes.
        given: fields, with obs, state, actions, terminated and truncated among them.

    Returns:
        The shape of each field as `Episodes` has it.

    Raises:
        MisodiceError: a shape or type does not fit, or can be read in two ways.
    """
    where = lengths.where
    shapes = {name: tuple(values.shape) for name, values in given.items()}
    for name, rank in (("obs", 3), ("state", 2), ("available_actions", 3)):
        if name in shapes and len(shapes[name]) != rank:
            axes = {"obs": "[R, n, O]", "state": "[R, S]"}.get(name, "[R, n, A]")
            raise fault(where, name, f"{len(shapes[name])} dimensions", f"{rank}: {axes}, R = Σ(L + 1)")
    for name in ("rewards", "terminated", "truncated"):
        if name in shapes:
            _check_one_a_step(where, name, shapes)
    for name in OF_EPISODES:
        if name in shapes:
            shapes[name] = one_each(shapes[name])
            if len(shapes[name]) != 1:
                raise fault(where, IN_FILE[name], f"shape {list(given[name].shape)}", "one entry an episode, [E]")
    shapes["actions"] = _shape_of_actions(where, given)
    sizes = dict.fromkeys(OF_ROWS, lengths.rows) | dict.fromkeys(OF_STEPS, lengths.total)
    sizes |= dict.fromkeys(OF_EPISODES, len(lengths.steps))
    for name, shape in shapes.items():
        if shape[0] != sizes[name]:
            raise fault(
                where,
                IN_FILE.get(name, name),
                f"{shape[0]} rows",
                f"{sizes[name]} (Σ of episode/length is {lengths.total}, {len(lengths.steps)} episodes)",
            )
    for name in ("obs", "state", "available_actions"):
        if name in shapes and 0 in shapes[name]:
            raise fault(
                where,
                name,
                f"shape {list(shapes[name])}",
                "no empty axis",
                "where there is no state, write the observations side by side" if name == "state" else WRITE_AGAIN,
            )
    n_agents = shapes["obs"][1]
    for name in ("actions", "available_actions"):
        if name in shapes and shapes[name][1] != n_agents:
            raise fault(where, name, f"{shapes[name][1]} agents", f"{n_agents} as in obs")
    for name, values in given.items():
        if name not in ("actions", "source"):
            check_type(where, IN_FILE.get(name, name), values.dtype)
    return shapes


def _check_one_a_step(where: object, name: str, shapes: dict[str, tuple[int, ...]]) -> None:
    found = shapes[name]
    shapes[name] = one_each(found)
    if len(shapes[name]) == 1:
        return
    # [T, n] is read in two ways: copies of one reward or a share of each; all agents are done or any of them.
    remedy = (
        "where each agent has a copy write the mean over the agents, where each has its own reward their sum"
        if name == "rewards"
        else "write whether the whole episode ended, such as flags.all(axis=1)"
    )
    raise fault(where, name, f"shape {list(found)}", "one entry a step for the team, [T]", remedy)


def _shape_of_actions(where: object, given: Mapping[str, Outlined]) -> tuple[int, ...]:
    """[T, n] where actions are discrete, [T, n, A] where they are continuous, refused where nothing tells which."""
    shape, dtype = tuple(given["actions"].shape), np.dtype(given["actions"].dtype)
    masked = "available_actions" in given
    if len(shape) not in (2, 3):
        raise fault(
            where, "actions", f"shape {list(shape)}", "integers [T, n] (discrete) or floats [T, n, A] (continuous)"
        )
    if dtype.kind not in "fiu":
        check_type(where, "actions", dtype, "iu")
    if len(shape) == 3 and shape[2] == 0:
        raise fault(where, "actions", f"shape {list(shape)}", "no empty axis")
    whole = dtype.kind in "iu"
    if len(shape) == 2 and (whole or masked):
        return shape
    if len(shape) == 3 and whole and masked and shape[2] == 1:
        return shape[:2]
    if len(shape) == 3 and not whole and not masked:
        return shape
    found = f"{'integers' if whole else 'floats'} of shape {list(shape)}"
    if masked:
        raise fault(
            where,
            "actions",
            f"{found} beside available_actions",
            "integers [T, n]",
            "where actions are continuous leave available_actions out; write one-hot ones as their argmax",
        )
    raise fault(
        where,
        "actions",
        found,
        "integers [T, n] (discrete) or floats [T, n, A] (continuous)",
        "write one of the two; one-hot actions are discrete, as their argmax",
    )


def cast(where: object, name: str, values: np.ndarray, flat: bool) -> np.ndarray:
    """A field with steps or rows, whose shape and type were checked, in the type that `Episodes` has it in.

    Args:
        where: file or argument, for messages.
        name: of the field.
        values: as they stand.
        flat: whether they have two axes, which tells discrete actions.
    """
    if name in FLAGS:
        return as_flags(where, name, values)
    if name == "actions" and flat:
        return as_whole_numbers(where, name, values)
    return as_floats(values)


def check_values(lengths: Lengths, header: Header, fields: Mapping[str, np.ndarray]) -> None:
    """Refuse what would otherwise surface hours later as a NaN or an index error.

    Args:
        lengths: of the episodes.
        header: its names are held against the sizes.
        fields: as `Episodes` has them.

    Raises:
        MisodiceError: a value is not finite, an episode ends before its last step, an action is beyond ±1 or was not
            available, or there are not as many names as entries.
    """
    where = lengths.where
    for name in ("obs", "state", "rewards", "returns", "actions"):
        if name in fields and fields[name].dtype.kind == "f":
            _check_finite(lengths, name, fields[name])
    for name in ("terminated", "truncated"):
        _check_ends(lengths, name, fields[name])
    for name, size in (("obs_features", fields["obs"].shape[2]), ("state_features", fields["state"].shape[1])):
        if len(getattr(header, name)) not in (0, size):
            raise fault(
                where,
                f"attribute {name}",
                f"{len(getattr(header, name))} names",
                f"{size}, one for each entry of {name.partition('_')[0]}",
                "correct the names, or leave them out",
            )
    if "available_actions" in fields:
        _check_available(lengths, fields["actions"], fields["available_actions"])
    elif fields["actions"].ndim == 3:
        _check_within_one(lengths, fields["actions"])
    else:
        raise MisodiceError(
            f"{where}: field 'available_actions' is missing, expected [R, n, A] with discrete actions; write all true "
            "where every action may always be taken"
        )


def _check_finite(lengths: Lengths, name: str, values: np.ndarray) -> None:
    # A piece at a time: the boolean mask of a whole 1 GB array would be memory for nothing.
    for start in range(0, len(values), 65536):
        piece = values[start : start + 65536]
        wrong = ~np.isfinite(piece)
        if wrong.any():
            row, *rest = place_of(wrong)
            index = start + row
            if name in OF_STEPS:
                place = lengths.of_step(index)
            else:
                place = lengths.of_row(index) if name in OF_ROWS else f"episode {lengths.first + index}"
            raise fault(
                lengths.where,
                IN_FILE.get(name, name),
                f"NaN or infinity in row {index} ({place}; {piece[(row, *rest)]} as float32 at {[index, *rest]})",
                "finite values",
                "clean the data",
            )


def _check_ends(lengths: Lengths, name: str, flags: np.ndarray) -> None:
    """An episode that ended does not go on: what looks so is two episodes in one, or flags of another meaning."""
    early = flags.copy()
    early[lengths.ends - 1] = False
    if early.any():
        step = int(early.argmax())
        raise fault(
            lengths.where,
            name,
            f"true at {lengths.of_step(step)}",
            "true at the last step of an episode or nowhere",
            "cut the episode there (episode/length, and what was observed last), or write false",
        )


def _check_within_one(lengths: Lengths, actions: np.ndarray) -> None:
    for start in range(0, len(actions), 65536):
        wrong = np.abs(actions[start : start + 65536]) > AT_MOST
        if wrong.any():
            step, agent, entry = place_of(wrong)
            raise fault(
                lengths.where,
                "actions",
                f"{actions[start + step, agent, entry]:g} of agent {agent} at {lengths.of_step(start + step)}",
                "values within ±1",
                "divide all actions by the greatest and write that as action_scale",
            )


def _check_available(lengths: Lengths, actions: np.ndarray, available: np.ndarray) -> None:
    n_actions = available.shape[2]
    if actions.min() < 0 or actions.max() >= n_actions:
        raise fault(
            lengths.where,
            "actions",
            f"{actions.min()}…{actions.max()}",
            f"0…{n_actions - 1}",
            "count actions from 0, and give available_actions an entry for each",
        )
    rows = rows_of_transitions(lengths.steps)
    allowed = available[rows[:, None], np.arange(actions.shape[1]), actions]
    if not allowed.all():
        step, agent = place_of(~allowed)
        raise fault(
            lengths.where,
            "actions",
            f"action {actions[step, agent]} of agent {agent} at transition {step} ({lengths.of_step(step)}), which "
            "available_actions forbids",
            "an available action",
            "clean the data or correct the mask",
        )


def rows_of_transitions(length: np.ndarray) -> np.ndarray:
    """Row of obs and state that transition t starts from, [T]; its successor is that row + 1."""
    return np.arange(int(length.sum())) + np.repeat(np.arange(len(length)), length)


def sums_of_rewards(rewards: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return of each episode, float32 [E]."""
    starts = np.cumsum(length) - length
    with np.errstate(over="ignore"):
        return np.asarray(np.add.reduceat(rewards.astype(np.float64), starts), np.float32)


def other_returns(rewards: np.ndarray, length: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Which returns are not the sum of the rewards, bool [E]; what rounding does is not counted."""
    size = sums_of_rewards(np.abs(rewards), length)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(~(np.abs(returns - sums_of_rewards(rewards, length)) <= 1e-3 * size + 1e-6))
