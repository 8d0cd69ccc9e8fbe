"""Figures as SVG with a transparent ground and lines of the page's own text colour, so that they read light and dark.

One small picture a task rather than one wide one: they stand beside each other on a screen and below each other on a
phone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from misodice.benchmark.aggregates import Aggregate
from misodice.benchmark.groups import METHODS, Group, Row, method_order
from misodice.benchmark.statistics import Estimate
from misodice.benchmark.tables import NAMES

INK = "#010203"
"""Stands for the text's colour until the SVG is written."""
COLOURS = ("#8b8b8b", "#a16207", "#0891b2", "#8b5cf6", "#16a34a", "#db2777", "#ea580c", "#3b82f6")
"""At least 3:1 against white and against the page's dark ground; the paper's methods in their order."""
MARKERS = "ovsD^PXo"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "misodice",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.2,
    "savefig.transparent": True,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}


@dataclass(frozen=True)
class Picture:
    """One SVG: the name of its file without the ending, what it shows in words, and the drawing."""

    name: str
    alt: str
    svg: str


def make_picture(name: str, alt: str, draw: Any, size: tuple[float, float] = (4.0, 3.0)) -> Picture:
    """Run `draw(axes)` on an empty figure of `size` inches."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    return Picture(name, alt, svg)


def _look(method: str, place: int) -> dict[str, Any]:
    index = METHODS.index(method) if method in METHODS else place % len(COLOURS)
    return {"color": COLOURS[index], "marker": MARKERS[index], "markersize": 4}


def _legend(axes: Any, columns: int = 3) -> None:
    axes.figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def learning_curves(name: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """Return, and win rate where there is one, over the policy's epochs; the band is the range of the seeds.

    In a base setting a line is a method; in a study it is a setting of the last method.
    """
    for task in dict.fromkeys(row.task for row in rows):
        here = [row for row in rows if row.task == task]
        if len(here) == 1:
            lines = {(NAMES.get(m, m), m): group for m, group in here[0].groups.items()}
        else:
            last = method_order(method for row in here for method in row.groups)[-1]
            lines = {(row.text, f"setting {row.text}"): row.groups[last] for row in here if last in row.groups}
        for index, what in ((1, "return"), (2, "win rate")):
            curves = {key: curve for key, group in lines.items() if len(curve := _curve(group, index)[0])}
            if not curves:
                continue

            def draw(
                axes: Any, lines: dict[Any, Group] = lines, index: int = index, what: str = what, task: str = task
            ) -> None:
                for place, ((label, method), group) in enumerate(lines.items()):
                    epochs, values = _curve(group, index)
                    if len(epochs):
                        look = _look(method, place)
                        axes.plot(epochs, values.mean(axis=0), label=label, linewidth=1.5, **look)
                        axes.fill_between(
                            epochs, values.min(axis=0), values.max(axis=0), color=look["color"], alpha=0.15
                        )
                axes.set(xlabel="epoch of the policy", ylabel=what, title=task)
                _legend(axes)

            yield make_picture(f"{name}_{task}_{what.replace(' ', '_')}_curve", f"{what} over epochs, {task}", draw)


def _curve(group: Group, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The epochs at which every seed was evaluated [P], and the seeds' values there [seeds, P]."""
    curves = [{point[0]: point[index] for point in run.curve if point[index] is not None} for run in group.runs]
    curves = [curve for curve in curves if curve]
    epochs = sorted(set(curves[0]).intersection(*curves[1:])) if curves else []
    return np.array(epochs), np.array([[curve[epoch] for epoch in epochs] for curve in curves], float)


def box_plots(name: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """Final return, and win rate where there is one, of every setting of a study: a box over seeds, a dot a seed."""
    for task in dict.fromkeys(row.task for row in rows):
        here = [row for row in rows if row.task == task]
        methods = method_order(method for row in here for method in row.groups)
        for metric in ("return", "win_rate"):
            if not any(group.values(metric) for row in here for group in row.groups.values()):
                continue

            def draw(
                axes: Any, here: list[Row] = here, methods: list[str] = methods, metric: str = metric, task: str = task
            ) -> None:
                width = 0.8 / len(methods)
                for place, method in enumerate(methods):
                    colour = _look(method, place)["color"]
                    at = [i + (place - (len(methods) - 1) / 2) * width for i in range(len(here))]
                    seeds = [row.groups[method].values(metric) if method in row.groups else [] for row in here]
                    ink = {"color": colour, "linewidth": 1}
                    axes.boxplot(
                        seeds,
                        positions=at,
                        widths=width * 0.8,
                        manage_ticks=False,
                        showfliers=False,
                        medianprops=ink,
                        boxprops=ink,
                        whiskerprops=ink,
                        capprops=ink,
                    )
                    dots = [(x, value) for x, values in zip(at, seeds, strict=True) for value in values]
                    axes.scatter(*zip(*dots, strict=True), s=9, color=colour, label=NAMES.get(method, method))
                labels = [", ".join(str(value) for value in row.setting.values()) for row in here]
                long = max(map(len, labels)) > 8
                axes.set_xticks(range(len(here)), labels, rotation=30 if long else 0, ha="right" if long else "center")
                axes.set(xlabel=", ".join(here[0].setting), ylabel=metric.replace("_", " "), title=task)
                _legend(axes)

            yield make_picture(
                f"{name}_{task}_{metric}_box", f"final {metric.replace('_', ' ')} by setting, {task}", draw
            )


def aggregate_plots(name: str, aggregates: Sequence[Aggregate], ours: str) -> Iterator[Picture]:
    """A dot a method with its 95 % interval: interquartile mean, optimality gap, probability of improvement."""
    title = f"P({NAMES.get(ours, ours)} better)"
    for what, label in (
        ("interquartile_mean", "interquartile mean"),
        ("optimality_gap", "optimality gap"),
        ("improvement", title),
    ):
        found = [(a.method, estimate) for a in aggregates if (estimate := getattr(a, what)) is not None]
        if not found:
            continue

        def draw(axes: Any, found: list[tuple[str, Estimate]] = found, what: str = what, label: str = label) -> None:
            for place, (method, estimate) in enumerate(found):
                look = _look(method, place)
                axes.plot(estimate.value, place, **look)
                if estimate.low is not None:
                    axes.hlines(place, estimate.low, estimate.high, color=look["color"], linewidth=2)
            axes.set_yticks(range(len(found)), [NAMES.get(method, method) for method, _ in found])
            axes.set(title=label, ylim=(-0.6, len(found) - 0.4))
            if what == "improvement":
                axes.axvline(0.5, color=INK, linewidth=0.8, linestyle="--")
                axes.set_xlim(-0.03, 1.03)

        yield make_picture(f"{name}_{what}", f"{label} of each method", draw, (4.0, 0.8 + 0.28 * len(found)))
