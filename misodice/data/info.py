"""What `misodice info` says of an episodes file."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.table import Table

from misodice.data.episodes import Episodes
from misodice.errors import MisodiceError


def info(path: str, plot: str | None) -> None:
    """Print an episodes file's sizes, as the paper's Table 2 has them, and the returns of its sources.

    Args:
        path: the file.
        plot: picture of the returns' histogram to write (.png); None writes none.

    Raises:
        MisodiceError: the file cannot be read, or has no returns to plot.
    """
    episodes = Episodes.read(path)
    console = Console()
    env = episodes.header.env
    table = Table(title=path)
    for name in ("engine", "task", "trajectories", "samples", "agents", "state", "obs", "actions"):
        table.add_column(name)
    sizes = (episodes.n_episodes, episodes.n_transitions, episodes.n_agents, episodes.state.shape[1])
    names = (str(env.get(name, "–")) for name in ("engine", "task"))
    table.add_row(*names, *map(str, (*sizes, episodes.obs.shape[2], episodes.n_actions)))
    console.print(table)
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
    console.print(returns)
    for what in ("obs_features", "state_features"):
        names = getattr(episodes.header, what)
        console.print(f"{what} ({len(names)}): {', '.join(names)}", soft_wrap=True, highlight=False)
    if plot:
        _histogram(episodes, source, path, plot)
        console.print(f"written: {plot}")


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}"


def _histogram(episodes: Episodes, source: np.ndarray, path: str, plot: str) -> None:
    if episodes.returns is None:
        raise MisodiceError(f"{path}: field 'episode/return' is missing, which --plot shows")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MisodiceError("--plot needs matplotlib: pip install 'misodice[plot]'") from error
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    names = list(np.unique(source))
    axes.hist([episodes.returns[source == name] for name in names], bins=40, stacked=True, label=names)
    axes.set(xlabel="return", ylabel="episodes", title=f"{episodes.header.env.get('task', path)}")
    axes.legend()
    figure.savefig(plot, dpi=150)
