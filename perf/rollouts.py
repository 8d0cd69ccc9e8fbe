"""Steps per second of whole episodes beside the engine's own rate with random actions; a part of `make bench`."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from misodice.envs import SMAX, Actor, Engine, MaMuJoCo
from misodice.rollout.loop import rollout


class RandomMoves(Actor):
    """Random available actions; nothing else."""

    def __init__(self, env: Any) -> None:
        self.env = env

    def reset(self, n_envs: int, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def act(self, observation: dict[str, np.ndarray]) -> np.ndarray:
        if not self.env.discrete:
            shape = (*observation["obs"].shape[:2], self.env.n_actions)
            return self.rng.uniform(-1, 1, shape).astype(np.float32)
        available = observation["available_actions"]
        return (self.rng.random(available.shape) * available).argmax(axis=-1)


def smax_alone(task: str, num_envs: int, steps: int) -> float:
    """Steps per second of the game itself: vmapped and jitted, random actions drawn inside."""
    import jax

    from misodice.envs.smax.env import make_game

    game = make_game(task)

    def step(key: Any, state: Any) -> Any:
        # The observations too, which XLA would leave out where nobody asks for them.
        keys = jax.random.split(key, len(game.agents) + 1)
        available = game.get_avail_actions(state)
        actions = {
            agent: jax.random.categorical(each, jax.numpy.where(available[agent], 0.0, -1e9))
            for agent, each in zip(game.agents, keys[1:], strict=True)
        }
        return game.step(keys[0], state, actions)[:2]

    keys = jax.random.split(jax.random.PRNGKey(0), num_envs)
    _, states = jax.jit(jax.vmap(game.reset))(keys)
    vmapped = jax.jit(jax.vmap(step))
    _, states = jax.block_until_ready(vmapped(keys, states))
    started = time.perf_counter()
    for index in range(steps):
        observations, states = vmapped(jax.random.split(jax.random.PRNGKey(index), num_envs), states)
    jax.block_until_ready((observations, states))
    return steps * num_envs / (time.perf_counter() - started)


def _body_alone(task: str, partition: str, seed: int, steps: int) -> float:
    with contextlib.redirect_stderr(io.StringIO()):  # notes on the Adroit hand
        from gymnasium_robotics import mamujoco_v1

    # The body alone: MaMuJoCo's own step also looks each agent's joints up, which the paper's layout does without.
    env = mamujoco_v1.parallel_env(task, partition).single_agent_env
    env.reset(seed=seed)
    env.action_space.seed(seed)
    started = time.perf_counter()
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - started)


def mujoco_alone(task: str, partition: str, steps: int) -> float:
    """Steps per second of Gymnasium's bodies with random actions, a process for each core."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, multiprocessing.get_context("spawn")) as pool:
        return sum(pool.map(_body_alone, [task] * cores, [partition] * cores, range(cores), [steps] * cores))


def played(engine: Engine, num_envs: int, episodes: int) -> float:
    """Steps per second of whole episodes through misodice's own interface, observations kept."""
    env = engine.make(num_envs)
    actor = RandomMoves(env)
    list(rollout(env, actor, num_envs, 0))  # compiles
    started = time.perf_counter()
    steps = sum(len(episode) for episode in rollout(env, actor, episodes, 1))
    seconds = time.perf_counter() - started
    env.close()
    return steps / seconds


def rollouts() -> None:
    """The table of engines."""
    print("\n| engine | task | ratio | steps/s | engine alone |\n|---|---|---|---|---|")
    for task in ("zerg_5_vs_5", "terran_20_vs_23"):
        ours, alone = played(SMAX(task), 100, 400), smax_alone(task, 100, 200)
        print(f"| smax | {task} | {ours / alone:.2f} | {ours:,.0f} | {alone:,.0f} |", flush=True)
    for task, partition in (("Hopper", "3x1"), ("Ant", "2x4"), ("HalfCheetah", "6x1")):
        ours = played(MaMuJoCo(task, partition), 32, 32)
        alone = mujoco_alone(task, partition, 3000)
        print(f"| mamujoco | {task} {partition} | {ours / alone:.2f} | {ours:,.0f} | {alone:,.0f} |", flush=True)


if __name__ == "__main__":
    rollouts()
