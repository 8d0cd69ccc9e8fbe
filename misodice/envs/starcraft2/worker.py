"""A process of its own for one game of StarCraft II: `python -m misodice.envs.starcraft2.worker FD TASK`.

It speaks pickled tuples over the connection whose file descriptor it is given. First it sends ("spec", sizes and
names), launches the game unasked, and then answers each request (method of `Game`, its arguments…) with ("ok", result).
Whatever goes wrong is sent as ("failed", text) and ends the process: another one takes its place.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from importlib.metadata import version
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import numpy as np

from misodice.envs.starcraft2.process import GRACE_SECONDS
from misodice.envs.starcraft2.tasks import NO_OP, STOP, find_game, task_options
from misodice.errors import MisodiceError

LAUNCH_SEED = 0

Observed = tuple[np.ndarray, np.ndarray, np.ndarray]
"""obs [n, O] float32, state [S] float32, available_actions [n, A] bool."""


class GameDiedError(Exception):
    """The package wanted to restart the game by itself, which leaves it without units in mid-episode."""


class Game:
    """smacv2's environment with what it leaves to chance put under a seed."""

    def __init__(self, task: str) -> None:
        from smacv2.env import StarCraft2Env
        from smacv2.env.starcraft2.maps import smac_maps
        from smacv2.env.starcraft2.wrapper import StarCraftCapabilityEnvWrapper

        # The wrapper writes into the configuration it is given.
        options = deepcopy(task_options(task))
        maps = smac_maps.get_smac_map_registry()
        if options["map_name"] not in maps:
            generated = "{protoss,terran,zerg}_{5_vs_5,10_vs_10,10_vs_11,20_vs_20,20_vs_23}"
            known = ", ".join(name for name in maps if not name.startswith("10gen"))
            raise MisodiceError(f"env.task: unknown StarCraft II task {task!r}; known: {generated}, {known}")
        self.map_file = maps[options["map_name"]]["map_name"]
        # continuing_episode only makes `info` tell a time limit from a defeat; heuristic_rest makes the heuristic walk
        # to a target out of range instead of choosing an attack that is not available.
        options |= {"continuing_episode": True, "heuristic_rest": True, "seed": LAUNCH_SEED}
        self.env = (StarCraftCapabilityEnvWrapper if "capability_config" in options else StarCraft2Env)(**options)
        self.game: Any = getattr(self.env, "env", self.env)
        self.game.full_restart = _refuse_restart

    def spec(self) -> dict[str, Any]:
        """What is known before the game runs."""
        info = self.env.get_env_info()
        return {
            "sizes": [int(info[key]) for key in ("n_agents", "obs_shape", "state_shape", "n_actions")],
            "obs_features": list(self.env.get_obs_feature_names()),
            "state_features": list(self.env.get_state_feature_names()),
            "map_file": self.map_file,
            "version": f"smacv2 {version('smacv2')}, StarCraft II {find_game()}",
        }

    def launch(self) -> None:
        """Start the game and play one idle episode.

        The package scales all rewards of a process by the enemies of its first episode. One fixed first episode puts
        every game of a task on the same scale; the sum is taken again because the package adds the enemies anew each
        time it finds that not all units have been created yet.
        """
        _, _, available = self.reset(LAUNCH_SEED)
        game = self.game
        health = sum(unit.health_max + unit.shield_max for unit in game.enemies.values())
        game.max_reward = game.n_enemies * game.reward_death_value + game.reward_win + health
        over = False
        while not over:
            (_, _, available), _, terminated, truncated, _ = self.step(available.argmax(axis=-1))
            over = terminated or truncated

    def reset(self, seed: int) -> Observed:
        """Begin an episode whose team, places and order of observing follow from `seed`."""
        random.seed(seed)
        np.random.seed(seed % 2**32)
        children = iter(np.random.SeedSequence(seed).spawn(64))
        for distribution in getattr(self.env, "env_key_to_distribution_map", {}).values():
            _seed_generators(distribution, children)
        observed = self.env.reset()
        self.game.heuristic_targets = [None] * self.game.n_agents
        # The wrapper returns None when it had to try twice.
        return self._observe(observed[0] if observed else self.env.get_obs())

    def step(self, actions: np.ndarray) -> tuple[Observed, float, bool, bool, bool]:
        """Observation, reward, terminated, truncated, won."""
        reward, over, info = self.env.step([int(action) for action in actions])
        truncated = bool(info.get("episode_limit", False))
        won = bool(info["battle_won"])
        # Once a step: the package's get_obs draws from the global generators and remembers who saw whom.
        return self._observe(self.env.get_obs()), float(reward), bool(over) and not truncated, truncated, won

    def heuristic(self) -> np.ndarray:
        """The package's scripted player's choice, int64 [n]; what is not available becomes stop, or no-op when dead."""
        chosen = np.full(self.game.n_agents, NO_OP, np.int64)
        for agent, available in enumerate(self.env.get_avail_actions()):
            if not available[NO_OP]:
                _, action = self.game.get_agent_action_heuristic(agent, STOP)
                chosen[agent] = action if available[action] else STOP
        return chosen

    def _observe(self, obs: list[np.ndarray]) -> Observed:
        available = np.array(self.env.get_avail_actions(), bool)
        return np.stack(obs).astype(np.float32), self.env.get_state().astype(np.float32), available


def _refuse_restart() -> None:
    raise GameDiedError("the game's process ended or broke its protocol")


def _seed_generators(owner: Any, seeds: Iterator[np.random.SeedSequence]) -> None:
    """A new seeded generator in place of each one that a distribution, or one inside it, made for itself."""
    from smacv2.env.starcraft2.distributions import Distribution

    for name, value in list(vars(owner).items()):
        if isinstance(value, np.random.Generator):
            setattr(owner, name, np.random.default_rng(next(seeds)))
        elif isinstance(value, Distribution):
            _seed_generators(value, seeds)


def end_with_parent() -> None:
    """End this process group, the game with it, once the parent's end of stdin is closed, however the parent ended."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.killpg(0, signal.SIGKILL)

    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=wait, daemon=True).start()


def _end(signum: int, frame: FrameType | None) -> None:
    # The game is in the same group and has had the same signal: waited for, it leaves no zombie.
    with suppress(ChildProcessError):
        os.wait()
    os._exit(0)


def serve(connection: Connection, task: str) -> None:
    """Answer requests until the connection is closed."""
    try:
        game = Game(task)
        connection.send(("spec", game.spec()))
        game.launch()
        while True:
            method, *arguments = connection.recv()
            connection.send(("ok", getattr(game, method)(*arguments)))
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001 - a dying game surfaces as errors of five libraries; all mean the same
        connection.send(
            ("failed", str(error) if isinstance(error, MisodiceError) else f"{type(error).__name__}: {error}")
        )


if __name__ == "__main__":
    end_with_parent()
    serve(Connection(int(sys.argv[1])), sys.argv[2])
