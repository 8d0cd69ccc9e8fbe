"""What is known of StarCraft II's tasks without the game or its package: options, names of features, where it lies."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from misodice.errors import MisodiceError

INSTALL = "see docs/install.md, or choose --env SMAX, the game-free engine"

# Race: unit types in the order of their bits in states and observations, their weights, and the type that must not
# make up a whole team. The 15 SMACv2 tasks are these at 5_vs_5, 10_vs_10, 10_vs_11, 20_vs_20 and 20_vs_23.
RACES: dict[str, tuple[list[str], list[float], list[str]]] = {
    "protoss": (["stalker", "zealot", "colossus"], [0.45, 0.45, 0.1], []),
    "terran": (["marine", "marauder", "medivac"], [0.45, 0.45, 0.1], ["medivac"]),
    "zerg": (["zergling", "hydralisk", "baneling"], [0.45, 0.45, 0.1], ["baneling"]),
}
ACTIONS = ["no_op", "stop", "north", "south", "east", "west"]
NO_OP, STOP = 0, 1


def task_options(task: str) -> dict[str, Any]:
    """Arguments of smacv2's environment for a task: {race}_{n}_vs_{m} of SMACv2, else a map of SMACv1.

    With these the 15 SMACv2 tasks have the dimensions of the paper's Table 2.
    """
    match = re.fullmatch(r"(protoss|terran|zerg)_(\d+)_vs_(\d+)", task)
    if match is None:
        return {"map_name": task}
    types, weights, exceptions = RACES[match[1]]
    teams: dict[str, Any] = {
        "dist_type": "weighted_teams",
        "unit_types": types,
        "weights": weights,
        "exception_unit_types": exceptions,
        "observe": True,
    }
    return {
        "map_name": f"10gen_{match[1]}",
        "conic_fov": False,
        "obs_own_pos": True,
        "use_unit_ranges": True,
        "min_attack_range": 2,
        "capability_config": {
            "n_units": int(match[2]),
            "n_enemies": int(match[3]),
            "team_gen": teams,
            "start_positions": {"dist_type": "surrounded_and_reflect", "p": 0.5, "map_x": 32, "map_y": 32},
        },
    }


def unit_types(task: str) -> list[str]:
    """Names of the type bits; none for SMACv1's maps, whose bits differ from map to map."""
    race = task.split("_")[0]
    return RACES[race][0] if "capability_config" in task_options(task) else []


def state_feature(name: str, types: list[str]) -> str:
    """One of smacv2's names of a state entry as {unit}.{what}: ally_health_0 is ally_0.health."""
    if match := re.fullmatch(r"(ally|enemy)_unit_type_(\d+)_bit_(\d+)", name):
        return f"{match[1]}_{match[2]}.{_type(types, int(match[3]))}"
    if match := re.fullmatch(r"ally_last_action_(\d+)_action_(\d+)", name):
        action = int(match[2])
        what = ACTIONS[action] if action < len(ACTIONS) else f"target_{action - len(ACTIONS)}"
        return f"ally_{match[1]}.last_action_{what}"
    if match := re.fullmatch(r"(ally|enemy)_(\w+)_(\d+)", name):
        return f"{match[1]}_{match[3]}.{_what(match[2])}"
    return name


def obs_feature(name: str, types: list[str]) -> str:
    """One of smacv2's names of an observation entry, which are agent 0's, as {unit}.{what} of any agent.

    The other allies stand in the order of their indices without the agent itself: other_ally_0, other_ally_1, …
    """
    if match := re.fullmatch(r"own_unit_type_bit_(\d+)", name):
        return f"own.{_type(types, int(match[1]))}"
    if match := re.fullmatch(r"move_action_(\w+)", name):
        return f"own.can_move_{match[1]}"
    if match := re.fullmatch(r"own_(\w+)", name):
        return f"own.{_what(match[1])}"
    unit, dot, what = state_feature(name, types).partition(".")
    if unit.startswith("ally_"):
        unit = f"other_ally_{int(unit.removeprefix('ally_')) - 1}"
    return unit + dot + what


def _type(types: list[str], bit: int) -> str:
    return types[bit] if bit < len(types) else f"unit_type_{bit}"


def _what(name: str) -> str:
    if name == "cooldown":
        return "weapon_cooldown"
    return name.replace("relative_", "rel_").replace("pos_", "position_")


def game_folder() -> Path:
    """Where pysc2 looks for the game: $SC2PATH, else ~/StarCraftII."""
    return Path(os.environ.get("SC2PATH", "~/StarCraftII")).expanduser()


def find_game() -> str:
    """The installed version of the game that pysc2 starts, such as Base75689.

    Raises:
        MisodiceError: no folder, no version in it, or no binary in the newest version.
    """
    folder = game_folder()
    if not folder.is_dir():
        raise MisodiceError(f"StarCraft II: no folder {folder}; set SC2PATH to where the game lies; {INSTALL}")
    versions = sorted((folder / "Versions").glob("Base*"))
    if not versions:
        raise MisodiceError(f"StarCraft II: {folder} has no Versions/Base*; unpack the game there; {INSTALL}")
    if not any(versions[-1].glob("SC2*")):
        raise MisodiceError(f"StarCraft II: {versions[-1]} has no SC2_x64; unpack the game there again; {INSTALL}")
    return versions[-1].name


def check_map(name: str) -> None:
    """Raises MisodiceError where the game lacks the map's file."""
    path = game_folder() / "Maps" / "SMAC_Maps" / f"{name}.SC2Map"
    if not path.is_file():
        raise MisodiceError(
            f"StarCraft II: the map {path} is missing; unpack SMAC_Maps into {path.parents[1]}; {INSTALL}"
        )
