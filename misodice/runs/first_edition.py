"""Configs of version 0.1, which named the engine by a word: `env: {engine: smax, task: …}`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ENGINES = {"auto": "SMAC", "smax": "SMAX", "starcraft2": "StarCraft2", "mamujoco": "MaMuJoCo"}


def in_todays_form(content: Any) -> tuple[Any, str | None]:
    """What a config says in today's form, and one line on what was read in another way; None where nothing was.

    Args:
        content: of a YAML file, whatever it is.
    """
    env = content.get("env") if isinstance(content, dict) else None
    if not isinstance(env, Mapping) or env.get("engine") not in ENGINES:
        return content, None
    engine = ENGINES[env["engine"]]
    options = {name: value for name, value in env.items() if name != "engine"}
    note = (
        f"env: {{engine: {env['engine']}, …}} is the form of misodice 0.1; read as env: {{class_path: {engine}, "
        "init_args: {…}}"
    )
    return content | {"env": {"class_path": engine, "init_args": options}}, note
