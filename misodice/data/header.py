"""What an episodes file says of itself in its root attributes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from misodice.data.values import as_names, number_of, shown, text_of
from misodice.errors import MisodiceError

FORMAT = "misodice-episodes"
VERSION = 1


@dataclass(frozen=True)
class Header:
    """What the root attributes say: which environment made the file and what each number in it means."""

    env: dict[str, Any] = field(default_factory=dict)
    """Engine, task and options; empty where the episodes are of no engine that misodice could play on."""
    obs_features: list[str] = field(default_factory=list)
    state_features: list[str] = field(default_factory=list)
    action_scale: float = 1.0
    created_by: str = "misodice"


def plain(env: Mapping[str, Any]) -> dict[str, Any]:
    """`env` as a file gives it back: tuples become lists, numbers of numpy become Python's.

    Raises:
        TypeError: a value is none that JSON has.
        ValueError: a number is not finite.
    """
    text = json.dumps(env, default=_of_numpy, allow_nan=False, sort_keys=True, ensure_ascii=False)
    text.encode()  # half a character cannot be printed later
    made: dict[str, Any] = json.loads(text)
    return made


def _of_numpy(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    raise TypeError(f"{shown(value)} is of type {type(value).__name__}, which JSON has not")


def checked_header(where: object, header: Any) -> Header:
    """The header as a file holds it.

    Args:
        where: file or argument, for messages.
        header: what a user gives.

    Raises:
        MisodiceError: it is no Header, or a field of it is of another kind.
    """
    if not isinstance(header, Header):
        raise MisodiceError(
            f"{where}: header: found {shown(header)}, expected a Header; give Header(env=…, obs_features=…)"
        )
    if not isinstance(header.env, Mapping):
        raise _wrong(
            where, "env", header.env, "a dictionary of engine, task and options", "give {} where there is none"
        )
    try:
        env = plain(header.env)
    except (TypeError, ValueError, RecursionError) as error:
        raise MisodiceError(
            f"{where}: header: env: {error}; expected text, finite numbers, lists and dictionaries: write them so"
        ) from error
    for name in ("engine", "task"):
        if not isinstance(env.get(name), str | None):
            raise _wrong(where, f"env[{name!r}]", env[name], "text", "write its name, or leave it out")
    scale = number_of(header.action_scale)
    if scale is None or not 0 < scale < np.inf:
        raise _wrong(where, "action_scale", header.action_scale, "one number above 0", "1 means not scaled")
    return Header(
        env=env,
        obs_features=_names(where, "obs_features", header.obs_features),
        state_features=_names(where, "state_features", header.state_features),
        action_scale=scale,
        created_by=str(header.created_by),
    )


def _names(where: object, name: str, value: Any) -> list[str]:
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "SUO":
        return list(map(str, as_names(where, name, value)))
    if isinstance(value, (list, tuple)):
        names = [text_of(each) for each in value]
        if None not in names:
            return [str(each) for each in names]
    raise _wrong(where, name, value, "a list of names", "write a JSON list of strings, or an HDF5 array of strings")


def _wrong(where: object, name: str, found: Any, expected: str, remedy: str) -> MisodiceError:
    return MisodiceError(f"{where}: attribute {name}: found {shown(found)}, expected {expected}; {remedy}")


def read_header(where: object, file: h5py.File) -> Header:
    """The header of an open file.

    Raises:
        MisodiceError: the file is of another format or version, or an attribute is of another kind.
    """
    _check_format(where, file)
    env_text = file.attrs.get("env", "{}")
    text = text_of(env_text)
    try:
        env = json.loads(text or "", parse_constant=_no_number)
    except (ValueError, RecursionError):
        env = None
    if not isinstance(env, dict):
        raise MisodiceError(
            f"{where}: attribute env is {shown(env_text) if text is None else ' '.join(text.split())[:80]}, expected a "
            "JSON object of engine and task; write it with json.dumps, or leave it out"
        )
    made_by = file.attrs.get("created_by", "")
    return checked_header(
        where,
        Header(
            env=env,
            obs_features=_listed(where, "obs_features", file.attrs.get("obs_features", "[]")),
            state_features=_listed(where, "state_features", file.attrs.get("state_features", "[]")),
            action_scale=file.attrs.get("action_scale", 1.0),
            created_by=shown(made_by) if (said := text_of(made_by)) is None else said,
        ),
    )


def _check_format(where: object, file: h5py.File) -> None:
    found = file.attrs.get("format")
    if text_of(found) != FORMAT:
        raise MisodiceError(
            f"{where}: attribute format is {shown(found)}, expected {FORMAT!r}; a file of your own needs that "
            "attribute (see docs/concepts.md), another project's needs `misodice convert`"
        )
    if "version" not in file.attrs:
        raise MisodiceError(f"{where}: attribute version is missing, expected {VERSION}; write that number")
    version = file.attrs["version"]
    number = number_of(version)
    if number is None or number != int(number if np.isfinite(number) else -1):
        raise MisodiceError(
            f"{where}: attribute version is {shown(version)}, expected the number {VERSION}; write it so"
        )
    if number != VERSION:
        raise MisodiceError(
            f"{where}: version {int(number)}, expected {VERSION}; make the file again with this misodice or install "
            "the one that made it"
        )


def _listed(where: object, name: str, value: Any) -> Any:
    """A JSON list in text as a list; an array of strings as it is."""
    if isinstance(value, h5py.Empty):
        return []
    if isinstance(value, np.ndarray) and value.ndim:
        # An array of one string may be a JSON list too.
        only = text_of(value)
        return json.loads(only) if only is not None and _is_list(only) else value
    text = text_of(value)
    if text is None or not _is_list(text):
        raise _wrong(where, name, value, "a list of names", "write a JSON list of strings, or an HDF5 array of strings")
    return json.loads(text)


def _is_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not finite")


def write_header(file: h5py.File, header: Header) -> None:
    """Write a header that was checked."""
    attributes = file.attrs
    attributes["format"], attributes["version"] = FORMAT, VERSION
    attributes["env"] = json.dumps(header.env, sort_keys=True)
    attributes["obs_features"] = json.dumps(header.obs_features)
    attributes["state_features"] = json.dumps(header.state_features)
    attributes["action_scale"] = header.action_scale
    attributes["created_by"] = header.created_by
