"""Episodes files as a user writes them, with plain h5py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

LENGTHS = (3, 1, 4, 2)
Edit = Callable[[dict[str, Any], dict[str, Any]], None]


def own_file(path: Path, edit: Edit | None = None, discrete: bool = False, seed: int = 0, **attributes: Any) -> Path:
    """A small valid file: 4 episodes, 2 agents, 3 entries of observation, 5 of state, 2 actions.

    Args:
        path: the file.
        edit: changes fields and attributes in place before they are written; None leaves a field out.
        discrete: whether actions are discrete.
        seed: of the values.
        attributes: in place of the usual ones.
    """
    fields, attrs = own_fields(discrete, seed), own_attributes()
    attrs |= attributes
    if edit:
        edit(fields, attrs)
    with h5py.File(path, "w") as file:
        for name, values in fields.items():
            if isinstance(values, np.ndarray) and values.dtype == object:
                file.create_dataset(name, data=values, dtype=h5py.string_dtype())
            elif values is not None:
                file[name] = values
        for name, value in attrs.items():
            if value is not None:
                file.attrs[name] = value
    return path


def own_fields(discrete: bool = False, seed: int = 0) -> dict[str, Any]:
    """The datasets of `own_file`."""
    rng = np.random.default_rng(seed)
    length = np.array(LENGTHS)
    steps, rows = int(length.sum()), int(length.sum()) + len(length)
    ends = np.cumsum(length) - 1
    terminated = np.zeros(steps, bool)
    terminated[ends] = True
    rewards = rng.normal(size=steps).astype(np.float32)
    fields: dict[str, Any] = {
        "obs": rng.normal(size=(rows, 2, 3)).astype(np.float32),
        "state": rng.normal(size=(rows, 5)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (steps, 2, 2)).astype(np.float32),
        "rewards": rewards,
        "terminated": terminated,
        "truncated": np.zeros(steps, bool),
        "episode/length": length,
        "episode/return": np.add.reduceat(rewards.astype(np.float64), ends - length + 1).astype(np.float32),
        "episode/won": np.array([True, False, True, False]),
        "episode/source": np.array(["expert", "poor", "expert", "poor"], object),
    }
    if discrete:
        fields["actions"] = rng.integers(0, 2, (steps, 2))
        fields["available_actions"] = np.ones((rows, 2, 2), bool)
    return fields


def own_attributes() -> dict[str, Any]:
    """The root attributes of `own_file`."""
    return {
        "format": "misodice-episodes",
        "version": 1,
        "env": json.dumps({"task": "mine"}),
        "obs_features": json.dumps(["x", "y", "z"]),
        "state_features": json.dumps(list("abcde")),
    }
