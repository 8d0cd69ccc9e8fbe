"""Names of what a SMACv2 task's numbers mean, without the game: for files that others made of it."""

from __future__ import annotations

from misodice.envs.starcraft2.tasks import ACTIONS, obs_feature, state_feature, task_options, unit_types


def smacv2_features(task: str) -> tuple[list[str], list[str]] | None:
    """Names of a SMACv2 task's observation and state, in the package's order; None for SMACv1's maps.

    They are those that the engine `starcraft2` writes, so descriptions for a judge work on imported files too.
    """
    teams = task_options(task).get("capability_config")
    if teams is None:
        return None
    allies, enemies, types = range(teams["n_units"]), range(teams["n_enemies"]), unit_types(task)
    shield = ["shield"] if task.startswith("protoss") else []

    def unit(team: str, index: int, *what: str) -> list[str]:
        bits = [f"{team}_unit_type_{index}_bit_{bit}" for bit in range(len(types))]
        return [*(f"{team}_{name}_{index}" for name in what), *bits]

    obs = [f"move_action_{way}" for way in ("north", "south", "east", "west")]
    for enemy in enemies:
        obs += unit("enemy", enemy, "shootable", "distance", "relative_x", "relative_y", "health", *shield)
    for ally in allies[1:]:
        obs += unit("ally", ally, "visible", "distance", "relative_x", "relative_y", "health", *shield)
    obs += [f"own_{name}" for name in ("health", *shield, "pos_x", "pos_y")]
    obs += [f"own_unit_type_bit_{bit}" for bit in range(len(types))]
    state: list[str] = []
    for ally in allies:
        state += unit("ally", ally, "health", "cooldown", "relative_x", "relative_y", *shield)
    for enemy in enemies:
        state += unit("enemy", enemy, "health", "relative_x", "relative_y", *shield)
    n_actions = len(ACTIONS) + len(enemies)
    state += [f"ally_last_action_{ally}_action_{action}" for ally in allies for action in range(n_actions)]
    return [obs_feature(name, types) for name in obs], [state_feature(name, types) for name in state]
