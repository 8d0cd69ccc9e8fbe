"""An engine of a user's own: two agents must both do what is shown to them.

No package but numpy is needed, and an episode takes no time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from misodice.data.episodes import Header
from misodice.envs import Actor, Engine, Observation, Source, TeamEnv

N_AGENTS, N_ACTIONS = 2, 3


class TinyEnv(TeamEnv):
    """N games. An episode ends after `steps` steps, or with the second mistake, which loses it.

    What is shown is a number from 0 to 2, drawn anew at each step. Where both agents choose it, the reward is 1. Agent
    1 may not choose one of the two wrong numbers.
    """

    has_outcome = True

    def __init__(self, task: str, steps: int, num_envs: int) -> None:
        self.num_envs, self.steps = num_envs, steps
        shown = [f"shown_{number}" for number in range(N_ACTIONS)]
        own = [*shown, "time", "own_index"]
        self.header = Header(
            env={"engine": "tiny", "task": task, "steps": steps, "version": "1"},
            obs_features=own,
            state_features=[*shown, "time", "mistakes"],
        )
        self.set_spaces(N_AGENTS, len(own), len(self.header.state_features), N_ACTIONS, discrete=True)

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        self._rng = np.random.default_rng(seed)
        self._time = 0
        self._mistakes = np.zeros(self.num_envs, int)
        self._ended = np.zeros(self.num_envs, bool)
        self._draw()
        return self._observe(), {}

    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        running = ~self._ended
        right = (actions == self._shown[:, None]).all(axis=1)
        self._mistakes += running & ~right
        self._time += 1
        terminated = running & (self._mistakes == 2)
        truncated = running & ~terminated & (self._time == self.steps)
        self._ended |= terminated | truncated
        self._draw()
        reward = np.where(running & right, 1.0, 0.0).astype(np.float32)
        return self._observe(), reward, terminated, truncated, {"won": truncated}

    def _draw(self) -> None:
        self._shown = self._rng.integers(N_ACTIONS, size=self.num_envs)
        self._forbidden = (self._shown + self._rng.integers(1, N_ACTIONS, size=self.num_envs)) % N_ACTIONS

    def _observe(self) -> Observation:
        numbers = np.arange(N_ACTIONS)
        shown = (self._shown[:, None] == numbers).astype(np.float32)
        time = np.full((self.num_envs, 1), self._time / self.steps, np.float32)
        zeros = np.zeros_like(time)
        mistakes = self._mistakes[:, None].astype(np.float32)
        every = np.ones((self.num_envs, N_ACTIONS), bool)
        return {
            "obs": np.stack([np.concatenate([shown, time, zeros + agent], axis=1) for agent in (0, 1)], axis=1),
            "state": np.concatenate([shown, time, mistakes], axis=1),
            "available_actions": np.stack([every, self._forbidden[:, None] != numbers], axis=1),
        }


class Tiny(Engine):
    """The game as a config's `env`.

    Args:
        task: its name in files.
        steps: of an episode at most.
    """

    name = "tiny"
    discrete = True
    batch_size = 8
    basic_actions = ("zero", "one", "two")

    def __init__(self, task: str = "follow", steps: int = 6) -> None:
        self.task, self.steps = task, steps

    def make(self, num_envs: int) -> TeamEnv:
        return TinyEnv(self.task, self.steps, num_envs)

    def default_sources(self) -> list[Source]:
        return [Source("heuristic", 20, "expert"), Source("random", 40, "random")]

    def scripted_actor(self, env: TeamEnv) -> Actor:
        return Follower(env)


class Follower(Actor):
    """Does what is shown.

    Args:
        env: where it acts.
        slip: share of the joint actions that are a random one instead.
    """

    def __init__(self, env: TeamEnv, slip: float = 0.0) -> None:
        self.env, self.slip = env, slip

    def reset(self, n_envs: int, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> np.ndarray:
        joint = observation["obs"][..., :N_ACTIONS].argmax(axis=-1)
        available = observation["available_actions"]
        other = np.where(available, self._rng.random(available.shape), -1.0).argmax(axis=-1)
        return np.where(self._rng.random((len(joint), 1)) < self.slip, other, joint)
