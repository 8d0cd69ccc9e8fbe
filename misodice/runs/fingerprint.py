"""What changes a result, and a short hash of it: for stages, for resuming, for labels, for the cells of a grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from misodice.runs.parts import config_of
from misodice.runs.source import source_digest

SHOWN = ("logger", "enable_", "default_root_dir", "log_every", "profiler", "max_time")
"""Trainer options by the start of their names: they say how to show or where to write, and change no result."""
FASTER = ("data.minibatches",)
"""Options by their dotted names that say how fast a result is there, and change none."""
STAGE_LENGTH = ("epochs", "patience")
TRAINER_LENGTH = ("max_epochs", "max_steps", "min_epochs", "min_steps")


def fingerprint(*parts: Any) -> str:
    """Short hash of options and objects: their classes, constructor arguments and, outside installed packages, source.

    Raises:
        MisodiceError: an object cannot be described (see `config_of`).
    """
    met: list[Any] = []
    described = config_of(parts, met)
    content = json.dumps([canonical(described), source_digest(met)], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def that_count(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The Trainer options that may change a result."""
    return {name: value for name, value in trainer.items() if not name.startswith(SHOWN)}


def canonical(value: Any) -> Any:
    """A whole number is the same as an int and as a float: `alpha=2` in Python is `alpha: 2.0` in config.yaml."""
    if isinstance(value, dict):
        return {key: canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [canonical(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
