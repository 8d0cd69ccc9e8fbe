"""Roll behaviour policies out into an episodes file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from rich.console import Console

from misodice.data.episodes import EpisodesWriter
from misodice.envs.base import TeamEnv
from misodice.envs.engine import Engine, Source
from misodice.errors import MisodiceError
from misodice.rollout.actors import make_actor
from misodice.rollout.loop import rollout
from misodice.runs.progress import progress


def collect(engine: Engine, sources: Sequence[Source], path: str | Path, seed: int, shuffle: bool = True) -> None:
    """Roll every source out and write one file, shuffled so that its order tells nothing.

    Nothing appears under `path` until all is done.

    Args:
        engine: where to play.
        sources: who plays how many episodes.
        path: episodes file to write.
        seed: of everything random.
        shuffle: whether the episodes are shuffled.

    Raises:
        MisodiceError: a behaviour is not found, or the environment is not what the engine says.
    """
    engine = engine.resolve()
    episodes = []
    size = min(max(source.episodes for source in sources), engine.batch_size)
    with closing(engine.make(size)) as env, progress(Console(stderr=True)) as bar:
        _check_name(engine, env)
        for index, source in enumerate(sources):
            actor = make_actor(engine, env, source.behaviour, source.noise)
            who = source.behaviour if isinstance(source.behaviour, str) else type(actor).__name__
            task = bar.add_task(f"collect {engine.task}: {who}", total=source.episodes)
            for episode in rollout(env, actor, source.episodes, seed + 7919 * index, source.source):
                episodes.append(episode)
                bar.advance(task)
    order = np.random.default_rng(seed).permutation(len(episodes)) if shuffle else range(len(episodes))
    with EpisodesWriter(path, env.header) as writer:
        for i in order:
            writer.add(episodes[i])


def _check_name(engine: Engine, env: TeamEnv) -> None:
    """A file whose header names another engine would be refused when a policy is trained on it."""
    if env.header.env.get("engine") != engine.name:
        raise MisodiceError(
            f"{type(engine).__name__}: its `name` is {engine.name!r}, but its environment's header.env['engine'] is "
            f"{env.header.env.get('engine')!r}; give both one name"
        )
