"""Find or make the episodes file of a run, and hold it against the environment before anything is trained."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.envs import EnvConfig, make_env, resolve_engine
from misodice.errors import MisodiceError
from misodice.rollout.collect import Source, collect, default_sources
from misodice.runs.lock import one_at_a_time


def find_or_make(path: str | None, env: EnvConfig, console: Console, is_global_zero: bool) -> Path:
    """The episodes file: `path`, or one made under `data/` from the bundled behaviours, by one process alone.

    Raises:
        MisodiceError: `path` does not exist, or nothing is bundled for the task.
    """
    engine = resolve_engine(env)
    if engine == "smax" and env.engine == "auto":
        console.print("StarCraft II not found: using smax, the game-free engine (see docs/concepts.md)")
    if path is not None:
        if not Path(path).is_file():
            raise MisodiceError(f"data.path: {path} does not exist; name a file, or leave it out to have one made")
        return Path(path)
    env = replace(env, engine=engine)
    made = Path("data") / f"{_file_stem(env)}.h5"
    if is_global_zero and not made.is_file():
        make_once(env, default_sources(env), made, "from the bundled behaviour policies", console)
    while not made.is_file():
        time.sleep(1.0)
    return made


def make_once(env: EnvConfig, sources: Sequence[Source], path: Path, how: str, console: Console) -> None:
    """Make the episodes file of seed 0 at `path`, once: who needs it at the same time waits for who makes it."""
    with one_at_a_time(path, f"{path}: another process is making it; waiting", console):
        if not path.is_file():
            console.print(f"{path}: making it {how}")
            collect(env, sources, path, seed=0)


def _file_stem(env: EnvConfig) -> str:
    parts = [env.engine, env.task]
    if env.engine == "mamujoco":
        parts += [part for part in (env.partition, env.layout or f"obsk{env.agent_obsk}") if part]
    return "_".join(parts).lower()


def check_against_env(path: Path, episodes: Episodes, env: EnvConfig, console: Console) -> EnvConfig:
    """The environment of the rollouts: the file's engine, and every option and size as in the file.

    Raises:
        MisodiceError: engine, options or sizes differ; results of two environments are not comparable.
    """
    found = episodes.header.env
    if env.engine not in ("auto", found["engine"]):
        raise MisodiceError(
            f"{path}: made with engine {found['engine']!r}, but env.engine is {env.engine!r}; results of two engines "
            "are not comparable: choose a file of that engine, or env.engine auto"
        )
    env = replace(env, engine=found["engine"])
    sample = make_env(env, 1)
    expected = sample.header.env
    for key in expected:
        if key != "version" and found.get(key) != expected[key]:
            raise MisodiceError(
                f"{path}: env option {key!r} is {found.get(key)!r} in the file and {expected[key]!r} in the config; "
                "make them the same"
            )
    sizes = {
        "agents": (episodes.n_agents, sample.n_agents),
        "observation": (episodes.obs.shape[2], sample.obs_dim),
        "state": (episodes.state.shape[1], sample.state_dim),
        "actions": (episodes.n_actions, sample.n_actions),
    }
    for what, (in_file, in_env) in sizes.items():
        if in_file != in_env:
            raise MisodiceError(
                f"{path}: {what} size is {in_file} in the file and {in_env} in the environment {env.task}; "
                "set env.* to what made the file"
            )
    if found.get("version") != expected["version"]:
        console.print(
            f"warning: {path} was made with {found.get('version')}, rollouts use {expected['version']}: "
            "returns may differ"
        )
    sample.close()
    return env
