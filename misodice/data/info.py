"""What `misodice info` says of an episodes file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from misodice.data.episodes import Episodes
from misodice.data.outputs import check_output
from misodice.errors import MisodiceError
from misodice.runs.console import Table, console
from misodice.runs.files import whole
from misodice.runs.pictures import check_matplotlib, new_figure

BINS = 40
PICTURES = ("png", "pdf", "svg", "jpg", "jpeg", "webp", "tif", "tiff", "eps", "ps")
"""Suffixes of pictures that matplotlib writes by itself."""
MOST_NAMES, LONGEST_NAME = 12, 40
"""Sources in a legend, and characters of a name there."""


def info(path: str, plot: str | None, overwrite: bool = False) -> None:
    """Print an episodes file's sizes, as the paper's Table 2 has them, and the returns of its sources.

    Args:
        path: the file.
        plot: picture of the returns' histogram to write (.png); None writes none.
        overwrite: whether a picture that is there is replaced.

    Raises:
        MisodiceError: the file cannot be read, has no returns to plot, or the picture cannot be written.
    """
    if plot is not None:
        _check_plot(Path(plot), overwrite)
    episodes = Episodes.read(path)
    if plot is not None and episodes.returns is None:
        raise MisodiceError(f"{path}: field 'episode/return' is missing, which --plot shows; leave --plot out")
    say = console()
    env = episodes.header.env
    table = Table(title=path)
    for name in ("engine", "task", "trajectories", "samples", "agents", "state", "obs", "actions"):
        table.add_column(name)
    sizes = (episodes.n_episodes, episodes.n_transitions, episodes.n_agents, episodes.state.shape[1])
    names = (str(env.get(name) or "–") for name in ("engine", "task"))
    table.add_row(*names, *map(str, (*sizes, episodes.obs.shape[2], episodes.n_actions)))
    say.print(table)
    returns = Table("source", "episodes", "return", "length", "win rate")
    source = np.full(episodes.n_episodes, "all") if episodes.source is None else episodes.source
    for name in np.unique(source):
        chosen = source == name
        returns.add_row(
            str(name),
            str(chosen.sum()),
            "–" if episodes.returns is None else _spread(episodes.returns[chosen]),
            _spread(episodes.length[chosen]),
            "–" if episodes.won is None else f"{episodes.won[chosen].mean():.2f}",
        )
    say.print(returns)
    for what in ("obs_features", "state_features"):
        names = getattr(episodes.header, what)
        say.print(f"{what} ({len(names)}): {', '.join(names)}")
    if plot is not None:
        _histogram(episodes, source, path, Path(plot))
        say.print(f"written: {plot}")


def _spread(values: np.ndarray) -> str:
    values = values.astype(np.float64)
    return f"{values.mean():.2f} ± {values.std():.2f}"


def _check_plot(plot: Path, overwrite: bool) -> None:
    """Refuse before any work what could not be written after it."""
    if plot.suffix.removeprefix(".").lower() not in PICTURES:
        raise MisodiceError(
            f"--plot {plot}: suffix {plot.suffix!r}, expected one of {', '.join(PICTURES)}; correct the name"
        )
    check_matplotlib()
    check_output(plot, overwrite)


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Edges of a histogram's bins, float64 [BINS + 1]; values that are equal in float32 stand in the middle."""
    low, high = float(values.min()), float(values.max())
    least = 1e-6 * max(abs(low), abs(high))
    if high - low <= least:
        middle, half = (low + high) / 2, max(0.5, BINS * least)
        low, high = middle - half, middle + half
    return np.linspace(low, high, BINS + 1)


def _histogram(episodes: Episodes, source: np.ndarray, path: str, plot: Path) -> None:
    assert episodes.returns is not None
    # In float32, as the file has them, 40 bins of returns that are nearly equal have no width.
    returns = episodes.returns.astype(np.float64)
    figure = new_figure(6, 3.5)
    axes = figure.subplots()
    names = list(np.unique(source))
    shares = [returns[source == name] for name in names]
    axes.hist(shares, bins=list(bin_edges(returns)), stacked=True, label=[_literal(name) for name in names])
    axes.set(xlabel="return", ylabel="episodes", title=_literal(episodes.header.env.get("task") or path))
    if len(names) <= MOST_NAMES:  # more would leave no room for the picture
        axes.legend()
    with whole(plot, plot.suffix) as temporary:
        figure.savefig(temporary, dpi=150)


def _literal(text: object) -> str:
    """Text in which matplotlib sees no formula, and that a legend does not leave out."""
    short = str(text) if len(str(text)) <= LONGEST_NAME else f"{str(text)[:LONGEST_NAME]}…"
    escaped = short.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
