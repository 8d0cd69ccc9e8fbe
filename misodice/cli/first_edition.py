"""Configs and options of version 0.1, which named the engine by a word: `env: {engine: smax, task: …}`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

ENGINES = {"auto": "SMAC", "smax": "SMAX", "starcraft2": "StarCraft2", "mamujoco": "MaMuJoCo"}
OPTION = "--env.engine"
MOVED = {
    "env.engine": "env names a class: SMAC, SMAX, StarCraft2, MaMuJoCo, or your own Engine",
    "policy.by_episode": "it is now a part of the policy: policy.weighting, ByEpisode",
    "policy.top_p": "it is now a part of the policy: policy.weighting, TopP",
}
"""Options of version 0.1 that have another name now."""

_load = get_loader("yaml")


def _load_either(text: str) -> Any:
    """What YAML text says, in today's form."""
    content = _load(text)
    env = content.get("env") if isinstance(content, dict) else None
    if not isinstance(env, Mapping) or env.get("engine") not in ENGINES:
        return content
    engine = ENGINES[env["engine"]]
    options = {name: value for name, value in env.items() if name != "engine"}
    _tell(f"env: {{engine: {env['engine']}, …}}", f"env: {{class_path: {engine}, init_args: {{…}}}}")
    return content | {"env": {"class_path": engine, "init_args": options}}


# jsonargparse makes one line of these alone: text that is no YAML, and a file that is no text.
set_loader("yaml", _load_either, exceptions=(yaml.YAMLError, UnicodeDecodeError))


def in_todays_form(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--env CLASS` for `--env.engine WORD`.

    Args:
        arguments: the command and its options.
    """
    words = list(arguments)
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name != OPTION:
            continue
        given = value if equals else "".join(words[index + 1 : index + 2])
        if given not in ENGINES:
            return words  # the parser refuses it
        rest = words[:index] + words[index + (1 if equals else 2) :]
        # Alone, "auto" was the engine of the file.
        own = any(each.startswith("--env.") for each in rest)
        engine = ENGINES[given] if own or given != "auto" else "null"
        _tell(f"{OPTION} {given}", f"--env {engine}")
        # Before the engine's own options: naming a class drops those of another one.
        return [*rest[:1], "--env", engine, *rest[1:]]
    return words


def _tell(found: str, read_as: str) -> None:
    print(f"{found} is the form of misodice 0.1; read as {read_as}", file=sys.stderr)
