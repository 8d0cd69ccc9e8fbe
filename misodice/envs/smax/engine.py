"""The engine SMAX."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from misodice.envs.base import Actor, TeamEnv
from misodice.envs.battles import BattleEngine
from misodice.envs.engine import Source, bundled
from misodice.errors import MisodiceError
from misodice.runs.limits import TEXT, limited


class SMAX(BattleEngine):
    """SMAX, the game-free SMAC-like simulator of jaxmarl.

    Args:
        task: SMACv2 task such as zerg_5_vs_5, or SMAX scenario such as 5m_vs_6m.
    """

    name = "smax"
    batch_size = 100
    basic_actions = ("move north", "move east", "move south", "move west", "stop")

    @limited("env", task=TEXT)
    def __init__(self, task: str = "zerg_5_vs_5") -> None:
        self.task = task

    def make(self, num_envs: int) -> TeamEnv:
        if importlib.util.find_spec("jaxmarl") is None:
            raise MisodiceError("env SMAX needs jaxmarl: pip install 'misodice[smax]'")
        _start_jax()
        from misodice.envs.smax.env import SmaxEnv  # late: it brings jax

        return SmaxEnv(self.task, num_envs)

    def default_sources(self) -> list[Source]:
        known = self.behaviours()
        expert = f"{self.task}_expert"
        weak = next((name for quality in ("weak", "poor") if (name := f"{self.task}_{quality}") in known), None)
        first = Source(expert if expert in known else "heuristic", 200, "expert")
        if weak is None:
            return [first, Source("random", 1000, "random")]
        return [first, Source(weak, 500, "poor"), Source("random", 500, "random")]

    def behaviours(self) -> dict[str, Path]:
        return bundled(self.name)

    def scripted_actor(self, env: TeamEnv) -> Actor:
        from misodice.envs.smax.env import HeuristicActor, SmaxEnv  # late: it brings jax

        assert isinstance(env, SmaxEnv)
        return HeuristicActor(env)


def _start_jax() -> None:
    """Raise a MisodiceError where jax finds nothing to compute on: it says so in a traceback, and at the first use."""
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter for a platform that this jax is not built for
        said = next(iter(str(error).splitlines()), "it finds no such device")
        raise MisodiceError(
            f"env SMAX: jax does not start with JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS')} ({said}); unset the "
            "variable, or set it to cpu"
        ) from error
