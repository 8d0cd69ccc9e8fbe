"""What the engines of StarCraft battles have in common."""

from __future__ import annotations

from misodice.envs.engine import Engine


class BattleEngine(Engine):
    """Base class of SMAC, SMAX and StarCraft2: the same tasks, so a task stays when one replaces another."""

    shared_options = frozenset({"task"})
    discrete = True
