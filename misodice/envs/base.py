"""The one interface of all engines: Gymnasium's VectorEnv with a Dict observation.

An observation is {"obs": float32 [N, n, O], "state": float32 [N, S]} and, with discrete actions,
"available_actions": bool [N, n, A]. All N environments start together and nothing resets by itself
(`AutoresetMode.DISABLED`): an environment that has ended stands still, with reward 0, until the next `reset`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from misodice.data.episodes import Episode, Header
from misodice.errors import MisodiceError

Observation = dict[str, np.ndarray]


class TeamEnv(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """Base class of the engines.

    A subclass sets `num_envs`, `header`, and the two single spaces with `set_spaces`. `step` puts the outcome of games
    that are won or lost into info["won"], bool [N], and where a game itself can die into info["lost"], bool [N], which
    environments ended for that reason; `reset` then takes options["reset_mask"], bool [N], to begin only those again.
    One that can be drawn overrides `render` and puts the pictures of a second into metadata["render_fps"].
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012 - as Gymnasium declares it
    header: Header
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

    def render(self) -> tuple[np.ndarray, ...]:
        """A picture of each environment as it is, uint8 [H, W, 3] (Gymnasium's `rgb_array`).

        Raises:
            MisodiceError: this engine is not drawn, or what draws it is not installed.
        """
        raise MisodiceError(
            f"engine {self.header.env['engine']} is not drawn here, only smax and mamujoco are; StarCraft II saves "
            "replays of its own, which the game plays"
        )


class Actor(Protocol):
    """Whatever acts for a team: a behaviour policy or a trained one."""

    def reset(self, n_envs: int, seed: int) -> None:
        """Called before each batch of episodes; all randomness comes from `seed`."""

    def act(self, observation: Observation) -> np.ndarray:
        """Joint actions, int64 [N, n] or float32 [N, n, A]."""


def rollout(env: TeamEnv, actor: Actor, episodes: int, seed: int, source: str | None = None) -> Iterator[Episode]:
    """Play whole episodes, `env.num_envs` at a time, and yield each as it was.

    Every started episode counts: stopping at the first N to end would favour short ones. An episode whose game was
    lost (info["lost"]) is played again with the same seed.
    """
    for start in range(0, episodes, env.num_envs):
        wave_seed = int(np.random.SeedSequence([seed, start]).generate_state(1)[0] >> 1)
        wave = _play(env, actor, wave_seed, source)[: episodes - start]
        while None in wave:
            missing = np.array([i < len(wave) and wave[i] is None for i in range(env.num_envs)])
            again = _play(env, actor, wave_seed, source, missing)
            wave = [again[i] if episode is None else episode for i, episode in enumerate(wave)]
        yield from (episode for episode in wave if episode is not None)


def _play(
    env: TeamEnv, actor: Actor, seed: int, source: str | None, reset_mask: np.ndarray | None = None
) -> list[Episode | None]:
    """One episode of each environment, or of those in `reset_mask`; None where there is none or its game was lost."""
    observation, _ = env.reset(seed=seed, options=None if reset_mask is None else {"reset_mask": reset_mask})
    actor.reset(env.num_envs, seed)
    observations, actions, rewards, terminals, truncations = [observation], [], [], [], []
    running = np.ones(env.num_envs, bool) if reset_mask is None else reset_mask.copy()
    lost = ~running
    won = np.zeros(env.num_envs, bool)
    lengths = np.zeros(env.num_envs, int)
    while running.any():
        action = actor.act(observation)
        if not env.discrete:
            action = np.clip(action, -1.0, 1.0)  # what the environment does, and so what the episode tells
        observation, reward, terminated, truncated, info = env.step(action)
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        terminals.append(terminated)
        truncations.append(truncated)
        lengths += running
        ended = running & (terminated | truncated)
        if env.has_outcome:
            won |= ended & info["won"]
        lost |= ended & info.get("lost", False)
        running &= ~ended

    def rows(values: list[np.ndarray], i: int, count: int) -> np.ndarray:
        # Of this episode alone: stacked with the others it would be as long as the longest of them.
        return np.stack([value[i] for value in values[:count]])

    seen = {name: [each[name] for each in observations] for name in observation}
    return [
        None
        if lost[i]
        else Episode(
            obs=rows(seen["obs"], i, length + 1),
            state=rows(seen["state"], i, length + 1),
            available_actions=rows(seen["available_actions"], i, length + 1) if env.discrete else None,
            actions=rows(actions, i, length),
            rewards=rows(rewards, i, length),
            terminated=rows(terminals, i, length),
            truncated=rows(truncations, i, length),
            won=bool(won[i]) if env.has_outcome else None,
            source=source,
        )
        for i, length in enumerate(lengths)
    ]
