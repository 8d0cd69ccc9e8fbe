"""matplotlib, imported late and with its own complaints told."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from misodice.errors import MisodiceError


def new_figure(width: float, height: float) -> Any:
    """An empty figure of matplotlib; its picture needs no screen.

    Args:
        width: in inches.
        height: in inches.

    Raises:
        MisodiceError: matplotlib is not installed, or does not start with the variables that are set.
    """
    check_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def check_matplotlib() -> None:
    """Raise a MisodiceError where no picture can be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise MisodiceError("pictures need matplotlib: pip install 'misodice[plot]'")
    try:
        import matplotlib  # noqa: F401 - that it can be imported is what is asked
    except (ValueError, OSError) as error:
        backend = os.environ.get("MPLBACKEND")
        hint = f"unset MPLBACKEND, which is {backend!r}" if backend else "look at its file matplotlibrc"
        raise MisodiceError(f"matplotlib does not start ({' '.join(str(error).split())[:200]}); {hint}") from error
