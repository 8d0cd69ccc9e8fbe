"""An environment of one's own: three agents on a line must meet. It needs numpy alone, and plays all games at once.

misodice fit --env examples.rendezvous.Rendezvous --data.k 50 --data.batch_size 64 --policy.weighting '[ByEpisode, TopP]' --run_dir runs/rendezvous
"""  # noqa: E501

from typing import Any

import numpy as np

from misodice import Actor, Engine, Header, Source, TeamEnv
from misodice.envs import Observation


class RendezvousEnv(TeamEnv):
    """N games. The team wins when all agents are on one cell, and loses when `steps` steps are over.

    An agent goes left, stays or goes right. It sees its own cell and how far the others are from it. The state is the
    observations of all agents side by side.
    """

    has_outcome = True

    def __init__(self, task: str, cells: int, steps: int, num_envs: int) -> None:
        self.num_envs, self.cells, self.steps = num_envs, cells, steps
        seen = ["own_cell", "first_other", "second_other"]
        self.header = Header(
            env={"engine": "rendezvous", "task": task, "cells": cells, "steps": steps, "version": "1"},
            obs_features=seen,
            state_features=[f"agent_{agent}.{what}" for agent in range(3) for what in seen],
        )
        self.set_spaces(n_agents=3, obs_dim=3, state_dim=9, n_actions=3, discrete=True)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Observation, dict[str, Any]]:
        self.cell = np.random.default_rng(seed).integers(self.cells, size=(self.num_envs, self.n_agents))
        self.time, self.running = 0, np.ones(self.num_envs, bool)
        return self.observe(), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        running, self.time = self.running, self.time + 1
        self.cell = self.cell + np.where(running[:, None], actions - 1, 0)
        met = np.ptp(self.cell, axis=1) == 0
        terminated, truncated = running & met, running & ~met & (self.time == self.steps)
        self.running = running & ~terminated & ~truncated
        reward = np.where(running, met - 0.1, 0.0).astype(np.float32)
        return self.observe(), reward, terminated, truncated, {"won": terminated}

    def observe(self) -> Observation:
        others = np.stack([np.delete(self.cell, agent, axis=1) - self.cell[:, [agent]] for agent in range(3)], axis=1)
        obs = (np.concatenate([self.cell[..., None], others], axis=-1) / self.cells).astype(np.float32)
        available = np.stack([self.cell > 0, self.cell >= 0, self.cell < self.cells - 1], axis=-1)
        return {"obs": obs, "state": obs.reshape(self.num_envs, -1), "available_actions": available}


class Rendezvous(Engine):
    """What a config names.

    Args:
        task: name of the task in files.
        cells: length of the line.
        steps: greatest length of a game.
    """

    name = "rendezvous"
    discrete = True
    basic_actions = ("go left", "stay", "go right")

    def __init__(self, task: str = "line", cells: int = 9, steps: int = 12) -> None:
        self.task, self.cells, self.steps = task, cells, steps

    def make(self, num_envs: int) -> TeamEnv:
        return RendezvousEnv(self.task, self.cells, self.steps, num_envs)

    def default_sources(self) -> list[Source]:
        return [Source("heuristic", 100, "expert"), Source("random", 300, "random")]

    def scripted_actor(self, env: TeamEnv) -> Actor:
        return ToTheMiddle()


class ToTheMiddle(Actor):
    """All agents go to the agent in the middle."""

    def reset(self, n_envs: int, seed: int) -> None:
        """It draws nothing."""

    def act(self, observation: Observation) -> np.ndarray:
        cell = observation["obs"][..., 0]
        step: np.ndarray = np.sign(np.median(cell, axis=1, keepdims=True) - cell)
        return step.astype(np.int64) + 1
