"""The four slots of a run, and what may stand in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from misodice.errors import MisodiceError
from misodice.modules.stage import Stage

SLOTS = ("preference", "discriminator", "value", "policy")
"""Names of the stages in order."""


def check_kind(name: str, given: Any, kind: Any) -> None:
    """Raise a MisodiceError unless `given` is an object of class `kind`."""
    if not isinstance(given, kind):
        wanted = getattr(kind, "__name__", "Engine")
        called = f"; call it: {given.__name__}(…)" if isinstance(given, type) else ""
        raise MisodiceError(f"{name}: found {given!r}, expected an object of the class {wanted}{called}")


def check_slots(stages: Sequence[Stage]) -> None:
    """Raise a MisodiceError unless each stage is made for its slot and the last one acts."""
    for slot, stage in zip(SLOTS, stages, strict=True):
        name = getattr(stage, "name", None)
        if name != slot:
            raise MisodiceError(
                f"{slot}: {type(stage).__name__} has the name {name!r}, expected {slot!r}; set `name` in the class"
            )
    if not callable(getattr(stages[-1], "act", None)):
        raise MisodiceError(
            f"policy: {type(stages[-1]).__name__} has no act(obs, available_actions), which rollouts need; add it"
        )
