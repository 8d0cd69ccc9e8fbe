"""The one interface of all engines: Gymnasium's VectorEnv with a Dict observation.

An observation is {"obs": float32 [N, n, O], "state": float32 [N, S]} and, with discrete actions,
"available_actions": bool [N, n, A]. All N environments start together and nothing resets by itself
(`AutoresetMode.DISABLED`): an environment that has ended stands still, with reward 0, until the next `reset`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from misodice.data.episodes import Header
from misodice.errors import MisodiceError
from misodice.runs.parts import Part

Observation = dict[str, np.ndarray]


class TeamEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """Base class of the environments that an engine makes.

    A subclass sets `num_envs` and `header`, calls `set_spaces`, and has `reset` and `step` as Gymnasium's VectorEnv.
    `reset(seed=…, options=…)` returns (observation, info). `step(actions)` returns (observation, reward, terminated,
    truncated, info): reward is float32 [N], terminated and truncated are bool [N].

    - Where games are won or lost, set `has_outcome`; `step` then puts bool [N] into info["won"].
    - Where a game itself can die, `step` puts into info["lost"], bool [N], which environments ended for that reason.
      `reset` then takes options["reset_mask"], bool [N], to begin only those again.
    - An environment that can be drawn has `render`, and puts the pictures of a second into metadata["render_fps"].
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED, "render_fps": 10}  # noqa: RUF012 - as Gymnasium declares it
    header: Header
    """What an episodes file of this environment says: `env` holds engine, task, version and options."""
    has_outcome = False
    """Whether an episode is won or lost (StarCraft) or only has a return (MuJoCo)."""

    def set_spaces(self, n_agents: int, obs_dim: int, state_dim: int, n_actions: int, discrete: bool) -> None:
        """Make the Gymnasium spaces from the sizes."""
        self.n_agents, self.n_actions, self.discrete = n_agents, n_actions, discrete
        self.obs_dim, self.state_dim = obs_dim, state_dim
        parts: dict[str, spaces.Space[Any]] = {
            "obs": spaces.Box(-np.inf, np.inf, (n_agents, obs_dim), np.float32),
            "state": spaces.Box(-np.inf, np.inf, (state_dim,), np.float32),
        }
        if discrete:
            parts["available_actions"] = spaces.MultiBinary((n_agents, n_actions))
            self.single_action_space = spaces.MultiDiscrete([n_actions] * n_agents)
        else:
            self.single_action_space = spaces.Box(-1.0, 1.0, (n_agents, n_actions), np.float32)
        self.single_observation_space = spaces.Dict(parts)

    @property
    def single_obs(self) -> np.ndarray:
        """What one controller of all joints observes, [N, ·]: an npz behaviour with continuous actions acts on it.

        Raises:
            MisodiceError: this environment has no such observation.
        """
        raise MisodiceError(
            f"engine {self.header.env.get('engine')} has no observation of the whole body, which an npz behaviour with "
            "continuous actions needs; use an actor of your own"
        )

    def from_actuators(self, actions: np.ndarray) -> np.ndarray:
        """Cut continuous actions of all joints [L, n·A] into the agents' [L, n, A]; here the agents stand in order."""
        return np.asarray(actions, np.float32).reshape(len(actions), self.n_agents, self.n_actions)

    def render(self) -> tuple[np.ndarray, ...]:
        """A picture of each environment as it is, uint8 [H, W, 3] (Gymnasium's `rgb_array`).

        Raises:
            MisodiceError: this engine is not drawn, or what draws it is not installed.
        """
        raise MisodiceError(f"engine {self.header.env.get('engine')} is not drawn: its environment has no `render`")


class Actor(Part, ABC):
    """Whatever acts for a team: a behaviour policy, or a trained one.

    A class of your own is named by its class path in `collect --sources`, and is made with the environment.
    """

    @abstractmethod
    def reset(self, n_envs: int, seed: int) -> None:
        """Called before each batch of N = `n_envs` episodes; all randomness comes from `seed`."""

    @abstractmethod
    def act(self, observation: Observation) -> np.ndarray:
        """Joint actions, int64 [N, n] or float32 [N, n, A]."""
