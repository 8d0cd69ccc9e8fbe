"""Engines: what a config's `env` may be, and the interface of what they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from misodice.envs.base import Actor, Observation, TeamEnv
from misodice.envs.engine import Engine, Outline, Source
from misodice.envs.mamujoco.engine import MaMuJoCo
from misodice.envs.smac import SMAC
from misodice.envs.smax.engine import SMAX
from misodice.envs.starcraft2.engine import StarCraft2
from misodice.runs.parts import parameters_of

__all__ = [
    "SMAC",
    "SMAX",
    "Actor",
    "Engine",
    "MaMuJoCo",
    "Observation",
    "Outline",
    "Source",
    "StarCraft2",
    "TeamEnv",
    "engine_of_file",
]

IN_FILES: dict[str, type[Engine]] = {engine.name: engine for engine in (SMAX, StarCraft2, MaMuJoCo)}


def engine_of_file(env: Mapping[str, Any]) -> Engine | None:
    """The built-in engine that the header of an episodes file names.

    Args:
        env: the header's `env`.

    Returns:
        None where it names none, or one that is not built in.
    """
    engine = IN_FILES.get(str(env.get("engine")))
    if engine is None or not isinstance(env.get("task"), str):
        return None
    made: Engine = engine(**{name: env[name] for name in parameters_of(engine) if name in env})
    return made
