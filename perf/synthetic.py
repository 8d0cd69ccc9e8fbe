"""Episodes of random numbers in the paper's sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from misodice.data.episodes import Episodes, Header
from misodice.data.pairs import LabelledPairs

CONFIGS = Path(__file__).parent.parent / "configs"


@dataclass(frozen=True)
class Size:
    """Of a data set: agents, entries, actions, whether those are discrete, steps of an episode, transitions.

    config: name of the shipped config file that trains on such data.
    """

    agents: int
    obs: int
    state: int
    actions: int
    discrete: bool
    steps: int
    transitions: int
    config: str


SIZES = {  # the paper's Table 2
    "zerg_5_vs_5": Size(5, 82, 120, 11, True, 28, 34_300, "smacv2_zerg"),
    "terran_20_vs_23": Size(20, 346, 858, 29, True, 47, 57_100, "smacv2_terran"),
    "Ant": Size(2, 113, 452, 4, False, 1000, 1_200_000, "mamujoco_ant"),
    "HalfCheetah": Size(6, 23, 828, 1, False, 1000, 1_200_000, "mamujoco_halfcheetah"),
}


def synthetic(size: Size) -> Episodes:
    """Random numbers in the shapes of `size`."""
    rng = np.random.default_rng(0)
    episodes = size.transitions // size.steps
    steps, rows = episodes * size.steps, episodes * (size.steps + 1)

    def floats(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    actions = (
        rng.integers(0, size.actions, (steps, size.agents))
        if size.discrete
        else floats(steps, size.agents, size.actions).clip(-1, 1)
    )
    last = np.arange(steps) % size.steps == size.steps - 1
    return Episodes(
        header=Header({"engine": "none", "task": size.config}),
        obs=floats(rows, size.agents, size.obs),
        state=floats(rows, size.state),
        actions=actions,
        available_actions=np.ones((rows, size.agents, size.actions), bool) if size.discrete else None,
        terminated=np.zeros(steps, bool),
        truncated=last,
        length=np.full(episodes, size.steps),
        returns=floats(episodes),
    )


def labelled_pairs(episodes: Episodes, count: int) -> LabelledPairs:
    """Random pairs of two episodes, of which the one with the greater return is the better; none is held out."""
    assert episodes.returns is not None
    rng = np.random.default_rng(0)
    one = rng.integers(0, episodes.n_episodes, count)
    other = (one + rng.integers(1, episodes.n_episodes, count)) % episodes.n_episodes
    return LabelledPairs(
        np.stack([one, other], axis=1), episodes.returns[one] > episodes.returns[other], np.zeros(count, bool)
    )
