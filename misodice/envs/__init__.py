"""Engines: what a config's `env` may be, and the interface of what they make."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from misodice.envs.base import Actor, Observation, TeamEnv
from misodice.envs.engine import Engine, Outline, Source
from misodice.envs.mamujoco.engine import MaMuJoCo
from misodice.envs.smac import SMAC
from misodice.envs.smax.engine import SMAX
from misodice.envs.starcraft2.engine import StarCraft2
from misodice.errors import MisodiceError
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
        None where it names none, or one that is not built in, or no task.

    Raises:
        MisodiceError: an option has a value that the engine does not take.
    """
    engine = IN_FILES.get(str(env.get("engine")))
    if engine is None or not isinstance(env.get("task"), str):
        return None
    options = {name: env[name] for name in parameters_of(engine) if name in env}
    kinds = get_type_hints(engine.__init__)
    for name, value in options.items():
        if not _is_a(value, kinds[name]):
            raise MisodiceError(
                f"the file's header: env option {name!r} of {engine.name} is {value!r}, expected "
                f"{getattr(kinds[name], '__name__', kinds[name])}; correct the attribute env of the file, or name the "
                "environment by --env"
            )
    made: Engine = engine(**options)
    return made


def _is_a(value: object, kind: Any) -> bool:
    """Whether a value is of the kind that a constructor's annotation says."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if isinstance(kind, UnionType) or get_args(kind):
        return any(_is_a(value, each) for each in get_args(kind))
    return isinstance(value, kind) and not (isinstance(value, bool) and kind is int)
