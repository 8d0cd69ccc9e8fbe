"""Combine episodes files."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from misodice.data.checks import IN_FILE
from misodice.data.episodes import Episodes, EpisodesWriter
from misodice.data.hdf5 import check_is_file
from misodice.data.outputs import check_output
from misodice.errors import MisodiceError

Optional = Literal["rewards", "return", "won", "source"]
FIELDS = {"rewards": "rewards", "return": "returns", "won": "won", "source": "source"}
"""Fields that a file may lack, by their name on the command line, and as `Episodes` calls them."""
logger = logging.getLogger(__name__)


def mix(
    paths: Sequence[str | Path],
    output: str | Path,
    seed: int = 0,
    drop: Sequence[Optional] = (),
    overwrite: bool = False,
) -> None:
    """Combine files of one environment into one shuffled D_U that keeps every episode's source.

    Where the files name the same features in another order, they are put in the order of the first file.

    Args:
        paths: the files.
        output: file to write.
        seed: of the shuffle.
        drop: fields that are left out, for files of which some lack them.
        overwrite: whether a file that is there is replaced.

    Raises:
        MisodiceError: the files differ in environment, sizes, kind of actions, what their actions are divided by, names
            of features, or in which fields they have.
    """
    files, output = [Path(path) for path in paths], Path(output)
    _check_arguments(files, output, seed, drop, overwrite)
    inputs = [_without(Episodes.read(path), drop) for path in files]
    for path, other in zip(files[1:], inputs[1:], strict=True):
        _check_alike(files[0], inputs[0], path, other)
        _check_same_fields(files[0], inputs[0], path, other, drop)
    inputs = [_in_order_of(files[0], inputs[0], path, other) for path, other in zip(files, inputs, strict=True)]
    order = [(file, index) for file, episodes in enumerate(inputs) for index in range(episodes.n_episodes)]
    np.random.default_rng(seed).shuffle(order)
    with EpisodesWriter(output, replace(inputs[0].header, created_by="misodice mix"), overwrite) as writer:
        for file, index in order:
            writer.add(inputs[file][index])


def _check_arguments(paths: list[Path], output: Path, seed: int, drop: Sequence[str], overwrite: bool) -> None:
    if not paths:
        raise MisodiceError("inputs: found no file, expected at least one; name some: --inputs '[a.h5, b.h5]'")
    if seed < 0:
        raise MisodiceError(f"seed is {seed}, expected at least 0; choose another")
    for field in drop:
        if field not in FIELDS:
            raise MisodiceError(f"drop: found {field!r}, expected some of {', '.join(get_args(Optional))}; correct it")
    if "return" in drop and "rewards" not in drop:
        raise MisodiceError("drop: found return without rewards, whose sums it is; leave out both: '[rewards, return]'")
    seen: list[Path] = []
    for path in paths:
        check_is_file(path)
        if output.exists() and output.samefile(path):
            raise MisodiceError(f"{output}: is one of the inputs; name another --output")
        if any(path.samefile(other) for other in seen):
            logger.warning(f"{path}: is named twice, so each of its episodes will be in {output} twice")
        seen.append(path)
    check_output(output, overwrite)


def _without(episodes: Episodes, drop: Sequence[str]) -> Episodes:
    nothing: dict[str, Any] = dict.fromkeys(FIELDS[field] for field in drop)
    return replace(episodes, **nothing)


def _check_alike(first: Path, one: Episodes, path: Path, other: Episodes) -> None:
    for key in sorted({*one.header.env, *other.header.env}):
        found, expected = (episodes.header.env.get(key, "not named") for episodes in (other, one))
        if found != expected:
            raise MisodiceError(
                f"{path}: env option {key!r} is {found!r}, but {expected!r} in {first}; mix files of one environment"
            )
    if one.discrete != other.discrete:
        found, expected = ("discrete" if episodes.discrete else "continuous" for episodes in (other, one))
        raise MisodiceError(f"{path}: actions are {found}, but {expected} in {first}; mix files of one task")
    if other.header.action_scale != one.header.action_scale:
        raise MisodiceError(
            f"{path}: action_scale is {other.header.action_scale:g}, but {one.header.action_scale:g} in "
            f"{first}; convert both again with the greater as --action_scale"
        )
    sizes = {
        "agents": (other.n_agents, one.n_agents),
        "obs": (other.obs.shape[2], one.obs.shape[2]),
        "state": (other.state.shape[1], one.state.shape[1]),
        "actions": (other.n_actions, one.n_actions),
    }
    for name, (found, expected) in sizes.items():
        if found != expected:
            raise MisodiceError(f"{path}: {name} size is {found}, but {expected} in {first}; mix files of one task")


def _check_same_fields(first: Path, one: Episodes, path: Path, other: Episodes, drop: Sequence[str]) -> None:
    lacking: dict[Path, list[str]] = {path: [], first: []}
    for field, name in FIELDS.items():
        here, there = getattr(other, name) is not None, getattr(one, name) is not None
        if here != there:
            lacking[path if there else first].append(field)
    differing = lacking[path] + lacking[first]
    if differing:
        without, with_ = (path, first) if lacking[path] else (first, path)
        names = " and ".join(IN_FILE.get(FIELDS[field], field) for field in lacking[without])
        raise MisodiceError(
            f"{without}: has no {names}, but {with_} has; write what is missing into the file, or leave it out of all "
            f"by --drop '[{', '.join(dict.fromkeys([*drop, *differing]))}]'"
        )


def _in_order_of(first: Path, one: Episodes, path: Path, other: Episodes) -> Episodes:
    """`other` with its features in the order of `one`, which the file `first` has."""
    changed = []
    for name, names in (("obs", "obs_features"), ("state", "state_features")):
        expected, found = getattr(one.header, names), getattr(other.header, names)
        if found == expected:
            continue
        if sorted(found) != sorted(expected) or len(set(expected)) < len(expected):
            raise MisodiceError(
                f"{path}: {names} are {_some(found)}, but {_some(expected)} in {first}, so nothing tells which entries "
                "are the same; write the same names into both files"
            )
        order = [found.index(each) for each in expected]
        reordered: dict[str, Any] = {name: getattr(other, name)[..., order]}
        other = replace(other, **reordered)
        changed.append(names)
    if changed:
        names = " and ".join(changed)
        logger.warning(f"{path}: {names} are in another order than in {first}; they are put in that order")
    return other


def _some(names: list[str]) -> str:
    return "not named" if not names else ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
