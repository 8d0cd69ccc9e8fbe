"""In what the options of two runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from misodice.runs.fingerprint import FASTER, SHOWN, STAGE_LENGTH, TRAINER_LENGTH, canonical

Options = Mapping[str, Any]

OUTSIDE = (
    "run_dir",
    "method",
    "ckpt_path",
    "weights_only",
    "retrain",
    "replace",
    "config",
    "data.path",
    "labels.path",
    "labels.other_answers",
    "shared_stages",
)
"""Options that name a run, a file or a folder, or say what is done with an earlier result."""
MOST = 5
"""Differences that are listed; two runs of other classes differ in dozens."""


def dotted(options: Options) -> dict[str, Any]:
    """Options by dotted name. An argument of a class is named like an option: value.alpha, not value.init_args.alpha.

    Args:
        options: nested blocks as in a config file, dotted names, or both.
    """
    found: dict[str, Any] = {}
    for key, value in options.items():
        name = ".".join(part for part in key.split(".") if part != "init_args")
        if isinstance(value, Mapping) and value:
            found |= {".".join(filter(None, [name, below])): inner for below, inner in dotted(value).items()}
        elif name:
            found[name] = value
    return found


def changes_nothing(name: str) -> bool:
    """Whether an option of this dotted name says how or where something is shown, or how fast it is made."""
    return name in FASTER or (name.startswith("trainer.") and name.removeprefix("trainer.").startswith(SHOWN))


def _is_length(name: str) -> bool:
    block, _, option = name.rpartition(".")
    return option in (TRAINER_LENGTH if block == "trainer" else STAGE_LENGTH)


def differences(before: Options, now: Options, longer: bool = False) -> list[str]:
    """In words: "value.alpha is 0.5, was 0.05". Names, paths and how something is shown do not count.

    Args:
        before: options of a finished run, as its config.yaml has them.
        now: those of a new one.
        longer: whether how long the stages train does not count either.
    """
    old, new = (dotted(json.loads(json.dumps(canonical(dict(each)), default=str))) for each in (before, now))
    names = [name for name in {**old, **new} if name not in OUTSIDE and not changes_nothing(name)]
    if longer:
        names = [name for name in names if not _is_length(name)]
    changed = [name for name in names if old.get(name) != new.get(name)]
    # Where a class differs, its arguments differ for that reason.
    classes = [name.removesuffix("class_path") for name in changed if name.endswith(".class_path")]
    told = [name for name in changed if not any(name.startswith(c) and name != f"{c}class_path" for c in classes)]
    words = [f"{name.removesuffix('.class_path')} is {new.get(name)}, was {old.get(name)}" for name in told]
    return words[:MOST] + ([f"and {len(words) - MOST} more"] if len(words) > MOST else [])
