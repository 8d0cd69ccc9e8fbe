"""The engine SMAC: the game where it is installed, else its free stand-in."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from misodice.envs.base import Actor, TeamEnv
from misodice.envs.battles import BattleEngine
from misodice.envs.engine import Engine, Outline, Source
from misodice.envs.smax.engine import SMAX
from misodice.envs.starcraft2.engine import StarCraft2
from misodice.envs.starcraft2.tasks import game_folder
from misodice.runs.limits import COUNT, TEXT, limited
from misodice.runs.processes import CAN_INHERIT


class SMAC(BattleEngine):
    """StarCraft II where the game and the smacv2 package are installed, else SMAX. With a file, the file's engine.

    Args:
        task: SMACv2 task such as zerg_5_vs_5, or a scenario of both engines such as 5m_vs_6m.
        games: processes of StarCraft II at once, about 1 GB of memory each. The episodes of a seed depend on it.
    """

    name = "smac"

    @limited("env", task=TEXT, games=COUNT)
    def __init__(self, task: str = "zerg_5_vs_5", games: int = 4) -> None:
        self.task, self.games = task, games

    def resolve(self, console: Console | None = None) -> Engine:
        if CAN_INHERIT and game_folder().is_dir() and importlib.util.find_spec("smacv2"):
            return StarCraft2(self.task, self.games)
        if console is not None:
            console.print("StarCraft II not found: using smax, the game-free engine (see docs/concepts.md)")
        return SMAX(self.task)

    def for_file(self, env: Mapping[str, Any]) -> Engine:
        made_by = {SMAX.name: SMAX(self.task), StarCraft2.name: StarCraft2(self.task, self.games)}
        return made_by.get(str(env.get("engine"))) or self.resolve()

    def make(self, num_envs: int) -> TeamEnv:
        return self.resolve().make(num_envs)

    def data_name(self) -> str:
        return self.resolve().data_name()

    def default_sources(self) -> list[Source]:
        return self.resolve().default_sources()

    def behaviours(self) -> dict[str, Path]:
        return self.resolve().behaviours()

    def scripted_actor(self, env: TeamEnv) -> Actor:
        return self.for_file(env.header.env).scripted_actor(env)

    def outline(self) -> Outline:
        """That of the game, which other projects' files were made with."""
        return StarCraft2(self.task, self.games).outline()
