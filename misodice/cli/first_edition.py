"""Configs and options of version 0.1, which named the engine by a word: `env: {engine: smax, task: …}`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader

from misodice.runs.first_edition import ENGINES, in_todays_form

OPTION = "--env.engine"
MOVED = {
    "env.engine": "env names a class: SMAC, SMAX, StarCraft2, MaMuJoCo, or your own Engine",
    "policy.by_episode": "it is now a part of the policy: policy.weighting, ByEpisode",
    "policy.top_p": "it is now a part of the policy: policy.weighting, TopP",
}
"""Options of version 0.1 that have another name now."""

_load = get_loader("yaml")


def _load_either(text: str) -> Any:
    content, note = in_todays_form(_load(text))
    if note:
        print(note, file=sys.stderr)
    return content


# jsonargparse makes one line of these alone: text that is no YAML, and a file that is no text.
set_loader("yaml", _load_either, exceptions=(yaml.YAMLError, UnicodeDecodeError))


def words_in_todays_form(arguments: Sequence[str]) -> list[str]:
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
        print(f"{OPTION} {given} is the form of misodice 0.1; read as --env {engine}", file=sys.stderr)
        # Before the engine's own options: naming a class drops those of another one.
        return [*rest[:1], "--env", engine, *rest[1:]]
    return words
