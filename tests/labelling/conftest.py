"""A small battle with named features, made without an engine, as a real file."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from misodice.data.episodes import Episode, Episodes, EpisodesWriter, Header

WHAT = ("health", "shield", "weapon_cooldown", "position_x", "position_y", "stalker", "zealot")


def battle(rng: np.random.Generator, n_allies: int, n_enemies: int, length: int, source: str) -> Episode:
    """Units lose health at random; a dead unit is zeros."""
    n = n_allies + n_enemies
    health = 1 - np.cumsum(rng.random((length + 1, n)) / length, axis=0) + 1 / length
    state = rng.random((length + 1, n, len(WHAT))).round(2)
    state[:, :, 0] = health.clip(0, 1)
    state[:, :, 5] = np.arange(n) % 2
    state[:, :, 6] = 1 - state[:, :, 5]
    state[health <= 0] = 0
    ends = np.arange(length) == length - 1
    return Episode(
        obs=rng.random((length + 1, n_allies, 3)),
        state=state.reshape(length + 1, -1),
        actions=rng.integers(0, 5 + n_enemies, (length, n_allies)),
        terminated=ends,
        truncated=np.zeros(length, bool),
        rewards=rng.random(length) * 777,
        available_actions=np.ones((length + 1, n_allies, 5 + n_enemies), bool),
        won=bool(rng.random() < 0.5),
        source=source,
    )


def write_battles(path: Path, count: int, n_allies: int = 2, n_enemies: int = 2) -> Episodes:
    rng = np.random.default_rng(0)
    units = [f"ally_{i}" for i in range(n_allies)] + [f"enemy_{i}" for i in range(n_enemies)]
    header = Header(
        env={"engine": "smax", "task": "protoss_2_vs_2"},
        state_features=[f"{unit}.{what}" for unit in units for what in WHAT],
    )
    with EpisodesWriter(path, header) as writer:
        for i in range(count):
            writer.add(battle(rng, n_allies, n_enemies, int(rng.integers(3, 12)), "expert" if i % 3 == 0 else "poor"))
    return Episodes.read(path)


@pytest.fixture(scope="session")
def battles(tmp_path_factory: pytest.TempPathFactory) -> Episodes:
    return write_battles(tmp_path_factory.mktemp("battles") / "battles.h5", 30)


@pytest.fixture
def console() -> Console:
    """It prints nowhere; `export_text` says what was printed."""
    return Console(width=200, record=True, file=StringIO())
