"""Engines: which there are, and how one is made from the config's `env` block."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from typing import Literal

from misodice.envs.base import TeamEnv
from misodice.envs.starcraft2.tasks import game_folder
from misodice.errors import MisodiceError


@dataclass
class EnvConfig:
    """Which environment.

    Args:
        engine: "smax" (game-free), "starcraft2", "mamujoco", or "auto": the game where it is installed, else smax.
        task: SMACv2 task such as zerg_5_vs_5, SMAX scenario such as 5m_vs_6m, or MaMuJoCo scenario such as Hopper.
        partition: of a MaMuJoCo body into agents, such as 3x1.
        layout: of MaMuJoCo observations: "paper" is the full state and an id for every agent; null uses `agent_obsk`.
        agent_obsk: how many neighbouring joints a MaMuJoCo agent sees, with layout null.
        games: processes of StarCraft II at once, about 1 GB of memory each. A seed's episodes depend on it.
    """

    engine: Literal["auto", "smax", "starcraft2", "mamujoco"] = "auto"
    task: str = "zerg_5_vs_5"
    partition: str | None = None
    layout: Literal["paper"] | None = "paper"
    agent_obsk: int | None = None
    games: int = 4


def resolve_engine(config: EnvConfig) -> Literal["smax", "starcraft2", "mamujoco"]:
    """The engine that "auto" stands for on this machine."""
    if config.engine != "auto":
        return config.engine
    return "starcraft2" if game_folder().is_dir() and importlib.util.find_spec("smacv2") else "smax"


def make_env(config: EnvConfig, num_envs: int) -> TeamEnv:
    """Make `num_envs` environments behind the one interface; of StarCraft II at most `config.games`.

    Raises:
        MisodiceError: the task is unknown, or the engine is not installed.
    """
    engine = resolve_engine(config)
    if engine == "starcraft2":
        # Engines are imported late: each brings a heavy package that the others do not need.
        from misodice.envs.starcraft2.env import Starcraft2Env, require_starcraft2

        if config.games < 1:
            raise MisodiceError(f"env.games: found {config.games}, expected at least 1")
        require_starcraft2()
        return Starcraft2Env(config.task, min(num_envs, config.games))
    package, extra = {"smax": ("jaxmarl", "smax"), "mamujoco": ("gymnasium_robotics", "mamujoco")}[engine]
    if importlib.util.find_spec(package) is None:
        raise MisodiceError(f"env.engine {engine} needs {package}: pip install 'misodice[{extra}]'")
    if engine == "smax":
        from misodice.envs.smax.env import SmaxEnv

        return SmaxEnv(config.task, num_envs)
    try:
        from misodice.envs.mamujoco.env import MamujocoEnv
    except (RuntimeError, ImportError, AttributeError) as error:
        raise MisodiceError(
            f"MuJoCo cannot be loaded with MUJOCO_GL={os.environ.get('MUJOCO_GL')} ({error}); unset it, or set it "
            "to egl (with libegl1 installed) or osmesa (with libosmesa6)"
        ) from error

    return MamujocoEnv(config.task, config.partition, config.layout, config.agent_obsk, num_envs)
