"""Roll behaviour policies out into an episodes file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from misodice.data.episodes import EpisodesWriter
from misodice.data.outputs import check_output
from misodice.envs.base import TeamEnv
from misodice.envs.engine import Engine, Source
from misodice.errors import MisodiceError
from misodice.rollout.actors import make_actor
from misodice.rollout.loop import rollout
from misodice.runs.console import console
from misodice.runs.progress import progress


def collect(
    engine: Engine,
    sources: Sequence[Source],
    path: str | Path,
    seed: int,
    shuffle: bool = True,
    overwrite: bool = False,
) -> None:
    """Roll every source out and write one file, shuffled so that its order tells nothing.

    Nothing appears under `path` until all is done.

    Args:
        engine: where to play.
        sources: who plays how many episodes.
        path: episodes file to write.
        seed: of everything random.
        shuffle: whether the episodes are shuffled.
        overwrite: whether a file that is there is replaced.

    Raises:
        MisodiceError: a source or the seed is wrong, a behaviour is not found, there is a file already, or the
            environment is not what the engine says.
    """
    _check_sources(sources, seed)
    check_output(Path(path), overwrite)
    engine = engine.resolve()
    episodes = []
    size = min(max(source.episodes for source in sources), engine.batch_size)
    with closing(engine.make(size)) as env, progress(console(stderr=True)) as bar:
        _check_name(engine, env)
        # All of them first: a name that is not found is told before the others have played for an hour.
        actors = [make_actor(engine, env, source.behaviour, source.noise) for source in sources]
        for index, (source, actor) in enumerate(zip(sources, actors, strict=True)):
            who = source.behaviour if isinstance(source.behaviour, str) else type(actor).__name__
            task = bar.add_task(f"collect {engine.task}: {who}", total=source.episodes)
            for episode in rollout(env, actor, source.episodes, seed + 7919 * index, source.source):
                episodes.append(episode)
                bar.advance(task)
    order = np.random.default_rng(seed).permutation(len(episodes)) if shuffle else range(len(episodes))
    with EpisodesWriter(path, env.header, overwrite) as writer:
        for i in order:
            writer.add(episodes[i])


def _check_sources(sources: Sequence[Source], seed: int) -> None:
    if not sources:
        raise MisodiceError("sources: found none, expected at least one; leave them out to have the engine's own")
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise MisodiceError(f"seed is {seed!r}, expected a whole number of at least 0; choose another")
    for index, source in enumerate(sources):
        where, count, noise = f"sources[{index}]", source.episodes, source.noise
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise MisodiceError(f"{where}: episodes is {count!r}, expected a whole number of at least 1; correct it")
        if not (isinstance(noise, (int, float)) and 0 <= noise < math.inf):
            raise MisodiceError(f"{where}: noise is {noise!r}, expected a standard deviation of at least 0; correct it")
        if not isinstance(source.source, str) or not source.source:
            raise MisodiceError(f"{where}: source is {source.source!r}, expected a name, such as expert; give one")


def _check_name(engine: Engine, env: TeamEnv) -> None:
    """A file whose header names another engine would be refused when a policy is trained on it."""
    if env.header.env.get("engine") != engine.name:
        raise MisodiceError(
            f"{type(engine).__name__}: its `name` is {engine.name!r}, but its environment's header.env['engine'] is "
            f"{env.header.env.get('engine')!r}; give both one name"
        )
