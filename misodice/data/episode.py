"""One episode."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, repr=False)
class Episode:
    """One episode of L steps: observations [L+1, …], actions and rewards [L, …]."""

    obs: np.ndarray
    state: np.ndarray
    actions: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    rewards: np.ndarray | None = None
    available_actions: np.ndarray | None = None
    won: bool | None = None
    source: str | None = None
    true_return: float | None = None
    """Only where it is not the sum of `rewards`, or where there are none."""

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {list(np.shape(getattr(self, name)))}" for name in ("obs", "state", "actions"))
        source = "" if self.source is None else f", source {self.source!r}"
        return f"Episode({len(self)} steps, {shapes}{source})"
