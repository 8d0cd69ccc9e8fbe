"""The engine StarCraft2."""

from __future__ import annotations

from misodice.envs.base import Actor, TeamEnv
from misodice.envs.battles import BattleEngine
from misodice.envs.engine import Outline, Source
from misodice.envs.starcraft2.features import smacv2_features
from misodice.envs.starcraft2.tasks import task_options
from misodice.runs.limits import COUNT, TEXT, limited


class StarCraft2(BattleEngine):
    """StarCraft II itself, through the smacv2 package.

    Args:
        task: SMACv2 task such as zerg_5_vs_5, or SMACv1 map such as 5m_vs_6m.
        games: processes of the game at once, about 1 GB of memory each. The episodes of a seed depend on it.
    """

    name = "starcraft2"
    basic_actions = ("no-op", "stop", "move north", "move south", "move east", "move west")

    @limited("env", task=TEXT, games=COUNT)
    def __init__(self, task: str = "zerg_5_vs_5", games: int = 4) -> None:
        self.task, self.games = task, games

    def make(self, num_envs: int) -> TeamEnv:
        from misodice.envs.starcraft2.env import Starcraft2Env, require_starcraft2  # late: only here is it needed

        require_starcraft2()
        return Starcraft2Env(self.task, min(num_envs, self.games))

    def default_sources(self) -> list[Source]:
        return [Source("heuristic", 200, "expert"), Source("random", 1000, "random")]

    def scripted_actor(self, env: TeamEnv) -> Actor:
        from misodice.envs.starcraft2.env import HeuristicActor, Starcraft2Env

        assert isinstance(env, Starcraft2Env)
        return HeuristicActor(env)

    def outline(self) -> Outline:
        """Known without the game; the sizes of SMACv1's maps are not."""
        env = {"engine": self.name, "task": self.task, "options": task_options(self.task)}
        names = smacv2_features(self.task)
        if names is None:
            return Outline(env)
        return Outline(env, *names, sizes={"observation": len(names[0]), "state": len(names[1])})
