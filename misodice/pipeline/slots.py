"""The four slots of a run, and what may stand in them."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch.utilities.model_helpers import is_overridden

from misodice.errors import MisodiceError
from misodice.modules.stage import Stage

SLOTS = ("preference", "discriminator", "value", "policy")
"""Names of the stages in order."""


def check_slots(stages: Sequence[Stage]) -> None:
    """Raise a MisodiceError unless each stage is made for its slot and the last one acts."""
    for slot, stage in zip(SLOTS, stages, strict=True):
        name = getattr(stage, "name", None)
        if name != slot:
            raise MisodiceError(
                f"{slot}: {type(stage).__name__} has the name {name!r}, expected {slot!r}; set `name` in the class"
            )
        for what in ("reads", "writes"):
            columns = getattr(stage, what)
            if not isinstance(columns, (tuple, list)) or not all(isinstance(column, str) for column in columns):
                raise MisodiceError(
                    f"{slot}: {type(stage).__name__}.{what} is {columns!r}, expected a tuple of columns' names, such "
                    'as ("weight",)'
                )
        if stage.monitor and stage.trained and not is_overridden("validation_step", stage):
            raise MisodiceError(
                f"{slot}: {type(stage).__name__} has the monitor {stage.monitor!r}, but no validation_step that logs "
                "it; add it, or set monitor to None"
            )
    if not callable(getattr(stages[-1], "act", None)):
        raise MisodiceError(
            f"policy: {type(stages[-1]).__name__} has no act(obs, available_actions), which rollouts need; add it"
        )
