"""Find or make the episodes file of a run, and hold it against the environment before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.data.hdf5 import check_is_file
from misodice.data.header import plain
from misodice.envs.base import TeamEnv
from misodice.envs.engine import Engine, Source
from misodice.errors import MisodiceError
from misodice.rollout.collect import collect
from misodice.runs.lock import one_at_a_time


def find_or_make(path: str | None, engine: Engine | None, is_global_zero: bool, console: Console) -> Path:
    """The episodes file: `path`, or one made under `data/` from the engine's default sources, by one process alone.

    Args:
        path: of a file; None has one made.
        engine: the config's `env`; None where a file stands alone.
        is_global_zero: whether this process is the one that makes the file. The others wait for it.
        console: where one line on what is done goes.

    Raises:
        MisodiceError: `path` does not exist, nothing is bundled for the task, or neither path nor engine is given.
    """
    here = None if engine is None else engine.resolve(console)
    if path is not None:
        check_is_file(Path(path), "does not exist; name a file, or leave data.path out to have one made")
        return Path(path)
    if here is None:
        raise MisodiceError("data.path: no file is named, and no env could make one; name a file, or an --env")
    made = Path("data") / f"{here.data_name()}.h5"
    if is_global_zero and not made.is_file():
        make_once(here, here.default_sources(), made, "from the engine's default sources", console)
    while not made.is_file():
        time.sleep(1.0)
    return made


def make_once(engine: Engine, sources: Sequence[Source], path: Path, how: str, console: Console) -> None:
    """Make the episodes file of seed 0 at `path`, once: who needs it at the same time waits for who makes it."""
    with one_at_a_time(path, f"{path}: another process is making it; waiting", console):
        if not path.is_file():
            console.print(f"{path}: making it {how}")
            collect(engine, sources, path, seed=0)


def check_against_env(path: Path, episodes: Episodes, engine: Engine, console: Console) -> Engine:
    """The engine of the rollouts: the file's, with every option and size as in the file.

    Args:
        path: of the file, for messages.
        episodes: the file.
        engine: the config's `env`.
        console: where a warning of another version goes.

    Raises:
        MisodiceError: engine, options or sizes differ; results of two environments are not comparable.
    """
    found = episodes.header.env
    engine = engine.for_file(found)
    if "engine" not in found:
        raise MisodiceError(
            f"{path}: names no engine, but env is {engine.name}; leave env out (--env null), which trains without "
            "rollouts, or write the engine's name into the file's header"
        )
    if found["engine"] != engine.name:
        raise MisodiceError(
            f"{path}: made with engine {found['engine']!r}, but env is {engine.name!r}; results of two engines are not "
            "comparable: choose a file of that engine, or the --env that made the file"
        )
    with closing(engine.make(1)) as sample:
        expected = plain(sample.header.env)
        _check_options(path, found, expected)
        _check_sizes(path, episodes, sample, engine.task)
    if found.get("version") != expected.get("version"):
        console.print(
            f"warning: {path} was made with {found.get('version')}, rollouts use {expected.get('version')}: "
            "returns may differ"
        )
    return engine


def _check_options(path: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    for key in expected:
        if key != "version" and found.get(key) != expected[key]:
            raise MisodiceError(
                f"{path}: env option {key!r} is {found.get(key)!r} in the file and {expected[key]!r} in the config; "
                "make them the same"
            )


def _check_sizes(path: Path, episodes: Episodes, sample: TeamEnv, task: str) -> None:
    sizes = {
        "agents": (episodes.n_agents, sample.n_agents),
        "observation": (episodes.obs.shape[2], sample.obs_dim),
        "state": (episodes.state.shape[1], sample.state_dim),
        "actions": (episodes.n_actions, sample.n_actions),
    }
    for what, (in_file, in_env) in sizes.items():
        if in_file != in_env:
            raise MisodiceError(
                f"{path}: {what} size is {in_file} in the file and {in_env} in the environment {task}; "
                "set env.* to what made the file"
            )
