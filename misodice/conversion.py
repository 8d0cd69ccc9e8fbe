"""A foreign file, one episode after another, into episodes.h5; preferences in it into a file of their own."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from rich.console import Console

from misodice.data.episodes import Episode, EpisodesWriter, Header
from misodice.data.importers.base import Importer, fault
from misodice.data.importers.recognise import FORMATS, importer_of
from misodice.data.outputs import check_output
from misodice.data.preferences import mark_of_episodes, write_preferences
from misodice.envs import Engine, MaMuJoCo, Outline, StarCraft2
from misodice.errors import MisodiceError
from misodice.runs.progress import progress

COMADICE_SCALE = 4.0
"""What ComaDICE's own code divides its MuJoCo actions by."""


@dataclass(frozen=True)
class Converted:
    """What was written: how many episodes and steps, what was left out and why, and the preferences' file."""

    episodes: int
    steps: int
    skipped: dict[str, int]
    preferences: Path | None
    action_scale: float


@dataclass(frozen=True)
class Target:
    """Where the rollouts will be.

    Args:
        env: what the header says of it.
        outline: names, sizes, and the agents' share of a body's actuators.
    """

    env: dict[str, Any]
    outline: Outline


def convert(
    path: str | Path,
    output: str | Path,
    engine: Engine | None = None,
    source: str | None = None,
    format: str = "auto",
    action_scale: float | None = None,
    console: Console | None = None,
    overwrite: bool = False,
) -> Converted:
    """Write `output` from a foreign file or folder, holding one block of it in memory at a time.

    Nothing appears under `output` until all is read and found good.

    Args:
        path: file or folder in one of `recognise.FORMATS`, or in the layout of an importer of your own.
        output: episodes file to write; preferences go beside it, as {stem}.preferences.jsonl.
        engine: where rollouts will be; None is StarCraft2 for discrete actions and MaMuJoCo for others, and no engine
            for an importer of your own.
        source: written beside each episode, hidden from training.
        format: name of the layout, class path of an `Importer`, or "auto".
        action_scale: what continuous actions are divided by; None is 1 where all lie within ±1, 4 where they lie
            within ±4, and else the greatest, rounded up.
        console: where notes go; None prints none.
        overwrite: whether files that are there, the preferences' too, are replaced.

    Raises:
        MisodiceError: the file is of no known layout or malformed, or is no data of `engine`, or there is an output
            already.
    """
    path, output, console = Path(path), Path(output), console or Console(quiet=True)
    importer = importer_of(path, format)
    if output.exists() and output.samefile(path):
        raise MisodiceError(f"{output}: is the input itself; name another --output")
    check_output(output, overwrite)
    if type(importer).preferences is not Importer.preferences:
        check_output(_beside(output), overwrite)
    with importer, progress(console) as bar:
        task = bar.add_task(f"convert {path.name} ({importer.name}, {importer.unit})", total=importer.total)
        engine = _checked(engine, importer)
        scale = 1.0 if importer.discrete else _scale(importer, action_scale)
        episodes = importer.episodes()
        first = next(episodes, None)
        if first is None:
            raise fault(path, importer.unit, "no episode of at least one step", "at least one")
        target = _target(engine, importer, first)
        written = steps = 0
        with EpisodesWriter(output, _header(target, importer, first, scale), overwrite, origin=path) as writer:
            for episode in chain([first], episodes):
                _check_sizes(importer, first, episode)
                writer.add(replace(_scaled(importer, episode, scale, target), source=source))
                written, steps = written + 1, steps + len(episode)
                bar.update(task, completed=importer.done)
        bar.update(task, completed=importer.total)
        preferences = _write_preferences(importer, output)
    _tell(console, importer, target, first, scale)
    return Converted(written, steps, dict(importer.skipped), preferences, scale)


def _checked(engine: Engine | None, importer: Importer) -> Engine | None:
    if engine is None:
        if type(importer) not in FORMATS:
            return None  # whose data they are, only the user knows
        return StarCraft2() if importer.discrete else MaMuJoCo()
    if engine.discrete not in (None, importer.discrete):
        kind = "discrete" if importer.discrete else "continuous"
        raise MisodiceError(f"{importer.path}: actions are {kind}, which env {engine.name} has not; leave --env out")
    return engine


def _scale(importer: Importer, given: float | None) -> float:
    if given is not None:
        if not (math.isfinite(given) and given > 0):
            raise MisodiceError(f"action_scale is {given}, expected more than 0; leave it out to have it found")
        return given
    peak = importer.peak()
    return 1.0 if peak <= 1 else max(COMADICE_SCALE, float(math.ceil(peak)))


def _scaled(importer: Importer, episode: Episode, scale: float, target: Target) -> Episode:
    """Actions within ±1, in the order of the environment's partition."""
    if importer.discrete:
        return episode
    actions = episode.actions / np.float32(scale)
    peak = float(np.abs(actions).max())
    if peak > 1 + 1e-6:
        raise fault(
            importer.path,
            "actions",
            f"{peak * scale:g}",
            f"at most action_scale, {scale:g}",
            "give a greater --action_scale, or leave it out to have it found",
        )
    if importer.actuators == "concatenated" and target.outline.from_actuators is not None:
        actions = target.outline.from_actuators(actions.reshape(len(actions), -1))
    return replace(episode, actions=actions)


def _target(engine: Engine | None, importer: Importer, first: Episode) -> Target:
    converted = {"from": importer.name, "last_observation": importer.last_observation}
    if engine is None:
        return Target({"converted": converted}, Outline({}))
    outline = engine.outline()
    if not importer.discrete:
        found = first.actions.shape[1:]
        expected = outline.sizes.get("agents", found[0]), outline.sizes.get("actions", found[1])
        if found != expected:
            said = {name: value for name, value in outline.env.items() if name != "version" and value is not None}
            raise fault(
                importer.path,
                "actions",
                f"{found[0]} agents with {found[1]} entries",
                f"{expected[0]} with {expected[1]}, as in {', '.join(f'{name} {said[name]}' for name in said)}",
                "set --env.* to what made the file",
            )
        converted["actuators"] = importer.actuators
    options = {"version": f"unknown (from {importer.name})", "converted": converted}
    return Target({**outline.env, **options}, outline)


def _header(target: Target, importer: Importer, first: Episode, scale: float) -> Header:
    def names(known: list[str] | None, prefix: str, size: int) -> list[str]:
        return known if known and len(known) == size else [f"{prefix}_{i}" for i in range(size)]

    options = f"; {json.dumps(importer.options, sort_keys=True, default=str)}" if importer.options else ""
    return Header(
        env=target.env,
        obs_features=names(target.outline.obs_features, "obs", first.obs.shape[2]),
        state_features=names(target.outline.state_features, "state", first.state.shape[1]),
        action_scale=scale,
        created_by=f"misodice convert {importer.path.name} ({importer.name}{options})",
    )


def _check_sizes(importer: Importer, first: Episode, episode: Episode) -> None:
    for field in ("obs", "state", "actions", "available_actions"):
        values, expected = getattr(episode, field), getattr(first, field)
        if values is not None and values.shape[1:] != expected.shape[1:]:
            raise fault(
                importer.path, field, list(values.shape[1:]), f"{list(expected.shape[1:])} as in the first episode"
            )


def _write_preferences(importer: Importer, output: Path) -> Path | None:
    pairs = importer.preferences
    if pairs is None:
        return None
    path = _beside(output)
    with h5py.File(output, "r") as file:
        returns = file["episode/return"][:] if "episode/return" in file else None
        mark = mark_of_episodes(file["episode/length"][:], returns)
    write_preferences(path, pairs.pairs, pairs.answer, mark)
    return path


def _beside(output: Path) -> Path:
    return output.with_suffix(".preferences.jsonl")


def _tell(console: Console, importer: Importer, target: Target, first: Episode, scale: float) -> None:
    for why, count in importer.skipped.items():
        console.print(f"left out: {count} {why}", highlight=False)
    if importer.last_observation == "repeated":
        console.print(
            f"{importer.name} files do not have what was observed last: the observation before it is repeated, and the "
            "last step is marked as terminated so that nothing bootstraps from it",
            highlight=False,
        )
    if scale != 1:
        console.print(f"actions are divided by {scale:g}; rollouts multiply by it again", highlight=False)
    sizes = {"observation": first.obs.shape[2], "state": first.state.shape[1], "agents": first.obs.shape[1]}
    for what, expected in target.outline.sizes.items():
        if what in sizes and sizes[what] != expected:
            console.print(
                f"warning: {what} size is {sizes[what]} in the file and {expected} in {target.env['engine']}'s "
                f"{target.env['task']}: fit will refuse to roll out there; set --env.* to what made the file",
                highlight=False,
            )
