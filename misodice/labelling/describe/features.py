"""Which columns of the state belong to which unit, by the names of the features.

Names are `{unit}.{what}` with units `ally_0`, `enemy_3`, as the engines of misodice write them. What is known of a
unit: health, shield, cooldown (or energy), position, and type, which is any other feature that is 0 or 1 throughout.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

from misodice.data.episodes import Episodes
from misodice.errors import MisodiceError

QUANTITIES = {
    "health": ("health",),
    "shield": ("shield", "shields"),
    "cooldown": ("weapon_cooldown", "cooldown"),
    "energy": ("energy",),
    "x": ("position_x", "rel_x", "relative_x", "pos_x", "x"),
    "y": ("position_y", "rel_y", "relative_y", "pos_y", "y"),
}
MEANING = {name: quantity for quantity, names in QUANTITIES.items() for name in names}
# Neither a quantity above nor a type, though they may be 0 or 1 throughout.
IGNORED = re.compile(r"team|type|attack_prob|health_level|fov_\w+|last_action\w*")


@dataclass
class Unit:
    """One unit's columns in the state."""

    name: str
    columns: dict[str, int] = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)

    @property
    def team(self) -> str:
        return self.name.split("_")[0]

    def value(self, row: np.ndarray, quantity: str) -> float:
        return float(row[self.columns[quantity]]) if quantity in self.columns else 0.0

    def alive(self, row: np.ndarray) -> bool:
        return self.value(row, "health") > 0

    def kind(self, row: np.ndarray) -> str:
        return next((name for name, column in self.types.items() if row[column] > 0), "unit")

    def place(self, row: np.ndarray) -> np.ndarray | None:
        return row[[self.columns["x"], self.columns["y"]]] if {"x", "y"} <= self.columns.keys() else None


def units_of(episodes: Episodes) -> dict[str, list[Unit]]:
    """The units of the teams "ally" and "enemy", each in the order of its numbers.

    Raises:
        MisodiceError: the actions are continuous, or the state's features have no names of units with health.
    """
    units: dict[str, Unit] = {}
    for column, name in enumerate(episodes.header.state_features):
        match = re.fullmatch(r"((?:ally|enemy)_\d+)\.(\w+)", name)
        if match is None:
            continue
        unit = units.setdefault(match[1], Unit(match[1]))
        if match[2] in MEANING:
            unit.columns[MEANING[match[2]]] = column
        elif not IGNORED.fullmatch(match[2]) and np.isin(episodes.state[:, column], (0, 1)).all():
            unit.types[match[2]] = column
    ordered = sorted(units.values(), key=lambda unit: int(unit.name.split("_")[1]))
    teams = {team: [unit for unit in ordered if unit.team == team] for team in ("ally", "enemy")}
    _require_teams(episodes, teams)
    return teams


def _require_teams(episodes: Episodes, teams: dict[str, list[Unit]]) -> None:
    names = episodes.header.state_features
    rule = "the paper labels such tasks by a rule: use --labels.labeller RuleLabeller"
    if not episodes.discrete:
        raise MisodiceError(
            f"UnitDescriber: {episodes.header.env.get('task', 'the episodes file')} has continuous control, which "
            f"cannot be told in words a judge could use; {rule}, or give labeller.describer a class of your own"
        )
    healthy = all(units and all("health" in unit.columns for unit in units) for units in teams.values())
    if not healthy:
        found = ", ".join(names[:4]) + ", …" if names else "no names at all"
        raise MisodiceError(
            f"UnitDescriber: state_features of the episodes file: found {found}; expected names such as ally_0.health "
            "and enemy_0.health for every unit; name them when the file is made, or give labeller.describer a class of "
            f"your own, or {rule}"
        )
    if len(teams["ally"]) != episodes.n_agents or len(names) != episodes.state.shape[1]:
        raise MisodiceError(
            f"UnitDescriber: state_features of the episodes file: found {len(names)} names with {len(teams['ally'])} "
            f"allies, expected {episodes.state.shape[1]} names and {episodes.n_agents} allies; correct the file"
        )
