"""SMAX, the game-free SMAC-like simulator of jaxmarl, as one jitted batch."""

from __future__ import annotations

import contextlib
import difflib
import functools
import io
import os
import re
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar
from unittest import mock

# A jax that has a GPU would take three quarters of its memory, which the networks and other runs need.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np

# It prints which of its other environments are absent, and on the way makes sys.__stdout__ and sys.__stderr__ current.
# Its tables of units are arrays of jax: they are made in 32 bits too (see `in_32_bits`).
with (
    jax.enable_x64(False),
    mock.patch.object(sys, "__stdout__", io.StringIO()),
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(sys.stderr),
):
    from jaxmarl.environments.smax import HeuristicEnemySMAX
    from jaxmarl.environments.smax.distributions import Distribution
    from jaxmarl.environments.smax.heuristic_enemy import create_heuristic_policy, get_heuristic_policy_initial_state
    from jaxmarl.environments.smax.smax_env import MAP_NAME_TO_SCENARIO

from misodice.data.episodes import Header
from misodice.envs.base import Actor, Observation, TeamEnv
from misodice.envs.smax.draw import draw_units
from misodice.errors import MisodiceError

P = ParamSpec("P")
R = TypeVar("R")
UNITS = ["marine", "marauder", "stalker", "zealot", "zergling", "hydralisk"]
RACES = {"terran": (0, 1), "protoss": (2, 3), "zerg": (4, 5)}
SIZES = ("5_vs_5", "10_vs_10", "10_vs_11", "20_vs_20", "20_vs_23")
STOP = 4
MOVES = ["north", "east", "south", "west", "stop"]


class RaceUnitTypes(Distribution):  # type: ignore[misc]
    """Each ally one of two types with probability ½; enemies mirror them, surplus enemies are drawn alike.

    jaxmarl 0.2.0 draws from all races and makes every surplus enemy a marine.
    """

    def __init__(self, n_allies: int, n_enemies: int, types: tuple[int, int]) -> None:
        super().__init__(n_allies, n_enemies, 32, 32)
        self.types = types

    def generate(self, key: jax.Array) -> jax.Array:
        size = max(self.n_allies, self.n_enemies)
        drawn = jnp.array(self.types, jnp.uint8)[jax.random.bernoulli(key, 0.5, (size,)).astype(int)]
        return jnp.concatenate([drawn[: self.n_allies], drawn[: self.n_enemies]])


def make_game(task: str) -> HeuristicEnemySMAX:
    """jaxmarl's environment of one task, against its `closest` heuristic.

    Raises:
        MisodiceError: unknown task; the nearest names are given.
    """
    match = re.fullmatch(r"(zerg|terran|protoss)_(\d+)_vs_(\d+)", task)
    if match:
        allies, enemies = int(match[2]), int(match[3])
        game = HeuristicEnemySMAX(
            num_allies=allies, num_enemies=enemies, smacv2_position_generation=True, smacv2_unit_type_generation=True
        )
        game._env.unit_type_generator = RaceUnitTypes(allies, enemies, RACES[match[1]])
        return game
    if task in MAP_NAME_TO_SCENARIO:
        return HeuristicEnemySMAX(scenario=MAP_NAME_TO_SCENARIO[task])
    known = [f"{race}_{size}" for race in RACES for size in SIZES] + list(MAP_NAME_TO_SCENARIO)
    near = difflib.get_close_matches(task, known, n=3) or known
    raise MisodiceError(f"env.task: unknown SMAX task {task!r}; nearest: {', '.join(near)}")


class Compiled:
    """`reset` and `step` of a batch of a task's games, jitted and vmapped.

    Args:
        game: of one task.
    """

    def __init__(self, game: HeuristicEnemySMAX) -> None:
        self.game = game
        self.reset = jax.jit(jax.vmap(self._reset_one))
        self.step = jax.jit(jax.vmap(self._step_one))

    def _reset_one(self, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        _, state = self.game.reset(key)
        # The enemy's first state is weakly typed; as it is, `step` would be compiled for it and again for all others.
        state = jax.tree.map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), state)
        return state, self._observe(state)

    def _step_one(self, key: jax.Array, state: Any, ended: jax.Array, actions: jax.Array) -> tuple[Any, ...]:
        key, step_key = jax.random.split(key)
        joint = {agent: actions[i] for i, agent in enumerate(self.game.agents)}
        # step_env, not step: step resets by itself and would lose the last observation.
        _, following, rewards, dones, _ = self.game.step_env(step_key, state, joint)
        following = jax.tree.map(lambda old, new: jnp.where(ended, old, new), state, following)
        reward = jnp.where(ended, 0.0, rewards[self.game.agents[0]])
        game = following.state
        alive = game.unit_alive
        wiped_out = ~alive[: self.game.num_allies].any() | ~alive[self.game.num_allies :].any()
        done = dones["__all__"] | ended
        return key, following, done, self._observe(following), reward, done & wiped_out, done & ~wiped_out

    def _observe(self, state: Any) -> dict[str, jax.Array]:
        # Not what the game returned: that is of the step after, where a game that has ended stands still.
        obs = self.game.get_obs(state)
        available = self.game.get_avail_actions(state)
        return {
            "obs": jnp.stack([obs[agent] for agent in self.game.agents]),
            "state": self.game.get_world_state(state).astype(jnp.float32),
            "available_actions": jnp.stack([available[agent] for agent in self.game.agents]).astype(bool),
        }


def in_32_bits(method: Callable[P, R]) -> Callable[P, R]:
    """SMAX's states are of 32 bits; JAX_ENABLE_X64, which other work may have set, would mix them with 64."""

    @functools.wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.enable_x64(False):
            return method(*args, **kwargs)

    return wrapped


@functools.cache
def compiled(task: str) -> Compiled:
    """Of all environments of `task` in this process: it takes seconds to trace them."""
    return Compiled(make_game(task))


class SmaxEnv(TeamEnv):
    """N games of one task, stepped together by one jitted, vmapped function.

    Args:
        task: {race}_{n}_vs_{m}, or a SMAX scenario such as 5m_vs_6m.
        num_envs: games played at once.
    """

    has_outcome = True
    metadata = {**TeamEnv.metadata, "render_fps": 8}  # noqa: RUF012 - a step is half a second of the game

    @in_32_bits
    def __init__(self, task: str, num_envs: int) -> None:
        self.num_envs = num_envs
        self.compiled = compiled(task)
        self.game = game = self.compiled.game
        units = [f"ally_{i}" for i in range(game.num_allies)] + [f"enemy_{i}" for i in range(game.num_enemies)]
        own = ["health", "position_x", "position_y", "weapon_cooldown", *UNITS]
        seen = [
            *("health", "dx", "dy", "last_movement_x", "last_movement_y", "last_targeted", "weapon_cooldown"),
            *UNITS,
        ]
        others = [f"other_ally_{i}" for i in range(game.num_allies - 1)] + units[game.num_allies :]
        self.header = Header(
            env={"engine": "smax", "task": task, "version": version("jaxmarl")},
            obs_features=[f"{unit}.{what}" for unit in others for what in seen] + [f"own.{what}" for what in own],
            state_features=[f"{unit}.{what}" for unit in units for what in own]
            + [f"{unit}.{what}" for what in ("team", "type") for unit in units],
        )
        self.set_spaces(
            n_agents=game.num_allies,
            obs_dim=len(self.header.obs_features),
            state_dim=len(self.header.state_features),
            n_actions=5 + game.num_enemies,
            discrete=True,
        )

    @in_32_bits
    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        keys = jax.random.split(jax.random.key(0 if seed is None else seed), (2, self.num_envs))
        self._keys = keys[1]
        self._state, observation = self.compiled.reset(keys[0])
        self._ended = jnp.zeros(self.num_envs, bool)
        return _to_numpy(observation), {}

    @in_32_bits
    def step(self, actions: np.ndarray) -> tuple[Observation, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self._keys, self._state, self._ended, observation, reward, terminated, truncated = self.compiled.step(
            self._keys, self._state, self._ended, jnp.asarray(actions)
        )
        reward = np.asarray(reward)
        # The bonus for a win is 1, and a step's damage alone is less than that.
        won = reward >= 1.0
        return _to_numpy(observation), reward, np.asarray(terminated), np.asarray(truncated), {"won": won}

    def render(self) -> tuple[np.ndarray, ...]:
        game, env = self._state.state, self.game._env
        types = np.asarray(game.unit_types)
        full = np.asarray(env.unit_type_health)[types]
        return tuple(
            draw_units(
                size=(env.map_width, env.map_height),
                position=np.asarray(game.unit_positions)[i],
                radius=np.asarray(env.unit_type_radiuses)[types[i]],
                health=np.asarray(game.unit_health)[i] / full[i],
                name=[UNITS[kind] for kind in types[i]],
                n_allies=self.n_agents,
            )
            for i in range(self.num_envs)
        )


def _to_numpy(observation: dict[str, jax.Array]) -> Observation:
    return {name: np.asarray(values) for name, values in observation.items()}


class HeuristicActor(Actor):
    """SMAX's scripted player, on the allies' side."""

    @in_32_bits
    def __init__(self, env: SmaxEnv) -> None:
        policy = create_heuristic_policy(env.game._env, 0)
        self._act = jax.jit(jax.vmap(jax.vmap(policy)))
        self.n_agents = env.n_agents

    @in_32_bits
    def reset(self, n_envs: int, seed: int) -> None:
        self._key = jax.random.key(seed)
        self._state = jax.tree.map(
            lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (n_envs, self.n_agents, *jnp.shape(leaf))),
            get_heuristic_policy_initial_state(),
        )

    @in_32_bits
    def act(self, observation: Observation) -> np.ndarray:
        obs = jnp.asarray(observation["obs"])
        self._key, key = jax.random.split(self._key)
        actions, self._state = self._act(jax.random.split(key, obs.shape[:2]), self._state, obs)
        actions = np.asarray(actions, np.int64)
        allowed = np.take_along_axis(observation["available_actions"], actions[..., None], -1)[..., 0]
        return np.where(allowed, actions, STOP)
