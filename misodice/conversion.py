"""A foreign file, one episode after another, into episodes.h5; preferences in it into a file of their own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
from rich.console import Console

from misodice.data.episodes import Episode, EpisodesWriter, Header
from misodice.data.importers.base import Importer, fault
from misodice.data.importers.recognise import importer_of
from misodice.data.preferences import mark_of_episodes, write_preferences
from misodice.envs import EnvConfig, make_env
from misodice.errors import MisodiceError
from misodice.rollout.collect import progress

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
    """Where the rollouts will be: what the header says of it, and the agents' actions in its order."""

    env: dict[str, Any]
    to_local: Callable[[np.ndarray], np.ndarray] | None = None
    obs_features: list[str] | None = None
    state_features: list[str] | None = None
    sizes: dict[str, int] | None = None


def convert(
    path: str | Path,
    output: str | Path,
    env: EnvConfig,
    source: str | None = None,
    format: str = "auto",
    action_scale: float | None = None,
    console: Console | None = None,
) -> Converted:
    """Write `output` from a foreign file or folder, holding one block of it in memory at a time.

    Nothing appears under `output` until all is read and found good.

    Args:
        path: file or folder in one of `recognise.FORMATS`.
        output: episodes file to write; preferences go beside it, as {stem}.preferences.jsonl.
        env: where rollouts will be; engine "auto" is starcraft2 for discrete actions and mamujoco for others.
        source: written beside each episode, hidden from training.
        format: name of the layout, or "auto".
        action_scale: what continuous actions are divided by; None is 1 where all lie within ±1, 4 where they lie
            within ±4, and else the greatest, rounded up.
        console: where notes go; None prints none.

    Raises:
        MisodiceError: the file is of no known layout or malformed, or is no data of `env`.
    """
    path, output, console = Path(path), Path(output), console or Console(quiet=True)
    importer = importer_of(path, format)
    if output.exists() and output.samefile(path):
        raise MisodiceError(f"{output}: is the input itself; name another --output")
    with importer, progress(console) as bar:
        task = bar.add_task(f"convert {path.name} ({importer.name}, {importer.unit})", total=importer.total)
        engine = _engine(env, importer)
        scale = 1.0 if importer.discrete else _scale(importer, action_scale)
        episodes = importer.episodes()
        first = next(episodes, None)
        if first is None:
            raise fault(path, importer.unit, "no episode of at least one step", "at least one")
        target = _target(replace(env, engine=engine), importer, first)
        written = steps = 0
        with EpisodesWriter(output, _header(target, importer, first, scale)) as writer:
            for episode in chain([first], episodes):
                _check_sizes(importer, first, episode)
                writer.add(replace(_scaled(importer, episode, scale, target), source=source))
                written, steps = written + 1, steps + len(episode)
                bar.update(task, completed=importer.done)
        bar.update(task, completed=importer.total)
        preferences = _write_preferences(importer, output)
    _tell(console, importer, target, first, scale)
    return Converted(written, steps, dict(importer.skipped), preferences, scale)


def _engine(env: EnvConfig, importer: Importer) -> Literal["smax", "starcraft2", "mamujoco"]:
    engine = env.engine if env.engine != "auto" else "starcraft2" if importer.discrete else "mamujoco"
    if importer.discrete == (engine == "mamujoco"):
        kind = "discrete" if importer.discrete else "continuous"
        raise MisodiceError(
            f"{importer.path}: actions are {kind}, which env.engine {engine} has not; leave --env.engine out"
        )
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
    if target.to_local is not None:
        actions = target.to_local(actions.reshape(len(actions), -1))
    return replace(episode, actions=actions)


def _target(env: EnvConfig, importer: Importer, first: Episode) -> Target:
    converted = {"from": importer.name, "last_observation": importer.last_observation}
    options = {"version": f"unknown (from {importer.name})", "converted": converted}
    if env.engine == "starcraft2":
        # Its names and options are known without the game, which converting must not need.
        from misodice.envs.starcraft2.features import smacv2_features
        from misodice.envs.starcraft2.tasks import task_options

        names = smacv2_features(env.task)
        header = {"engine": env.engine, "task": env.task, "options": task_options(env.task), **options}
        if names is None:
            return Target(header)
        return Target(header, None, *names, {"observation": len(names[0]), "state": len(names[1])})
    sample = make_env(env, 1)
    sizes = {
        "agents": sample.n_agents,
        "actions": sample.n_actions,
        "observation": sample.obs_dim,
        "state": sample.state_dim,
    }
    to_local = None
    if env.engine == "mamujoco":
        found = first.actions.shape[1:]
        if found != (sample.n_agents, sample.n_actions):
            raise fault(
                importer.path,
                "actions",
                f"{found[0]} agents with {found[1]} entries",
                f"{sample.n_agents} with {sample.n_actions}, as in {env.task} {sample.header.env['partition']}",
                "set --env.task and --env.partition to what made the file",
            )
        converted["actuators"] = importer.actuators
        if importer.actuators == "concatenated":
            to_local = sample.global_to_local  # type: ignore[attr-defined]
    sample.close()
    header = {**sample.header.env, **options}
    return Target(header, to_local, sample.header.obs_features, sample.header.state_features, sizes)


def _header(target: Target, importer: Importer, first: Episode, scale: float) -> Header:
    def names(known: list[str] | None, prefix: str, size: int) -> list[str]:
        return known if known and len(known) == size else [f"{prefix}_{i}" for i in range(size)]

    options = f"; {json.dumps(importer.options, sort_keys=True, default=str)}" if importer.options else ""
    return Header(
        env=target.env,
        obs_features=names(target.obs_features, "obs", first.obs.shape[2]),
        state_features=names(target.state_features, "state", first.state.shape[1]),
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
    path = output.with_suffix(".preferences.jsonl")
    with h5py.File(output, "r") as file:
        mark = mark_of_episodes(file["episode/length"][:], file["episode/return"][:])
    write_preferences(path, pairs.pairs, pairs.answer, mark)
    return path


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
    for what, expected in (target.sizes or {}).items():
        if what in sizes and sizes[what] != expected:
            console.print(
                f"warning: {what} size is {sizes[what]} in the file and {expected} in {target.env['engine']}'s "
                f"{target.env['task']}: fit will refuse to roll out there; set --env.* to what made the file",
                highlight=False,
            )
