"""Figures as SVG with a transparent ground and lines of the page's own text colour, so that they read light and dark.

One small picture a task rather than one wide one: they stand beside each other on a screen and below each other on a
phone.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from misodice.report.aggregates import Aggregate
from misodice.report.groups import METHODS, Group, Row, method_order
from misodice.report.statistics import Estimate
from misodice.report.tables import NAMES

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


def _legend(axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        axes.figure.legend(handles, labels, loc="outside lower center", ncols=3)


def learning_curves(name: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """Return, and win rate where there is one, over the policy's epochs; the band is the range of the seeds.

    In the base setting a line is a method; in a study it is a setting of the last method.
    """
    for index, what in ((1, "return"), (2, "win rate")):
        for task, here in _by_task(rows).items():
            last = list(here[-1].groups)[-1]
            if len(here) == 1:
                lines = [(NAMES.get(method, method), method, group) for method, group in here[0].groups.items()]
            else:
                lines = [(row.text, "", row.groups[last]) for row in here if last in row.groups]
            curves = [(label, method, *_curve(group, index)) for label, method, group in lines]
            curves = [curve for curve in curves if len(curve[2])]
            if curves:
                draw = partial(_draw_curves, curves=curves, what=what, task=task)
                yield make_picture(f"{name}_{task}_{what.replace(' ', '_')}_curve", f"{what} over epochs, {task}", draw)


def _draw_curves(axes: Any, curves: Sequence[tuple[str, str, np.ndarray, np.ndarray]], what: str, task: str) -> None:
    for place, (label, method, epochs, values) in enumerate(curves):
        look = _look(method, place)
        axes.plot(epochs, values.mean(axis=0), label=label, linewidth=1.5, **look)
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=look["color"], alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch of the policy", ylabel=what, title=task)
    axes.locator_params("x", integer=True)
    _legend(axes)


def _by_task(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {task: [row for row in rows if row.task == task] for task in dict.fromkeys(row.task for row in rows)}


def _curve(group: Group, index: int) -> tuple[np.ndarray, np.ndarray]:
    """The epochs at which every seed was evaluated [P], and the seeds' values there [seeds, P]."""
    curves = [{point[0]: point[index] for point in run.curve if point[index] is not None} for run in group.runs]
    curves = [curve for curve in curves if curve]
    epochs = sorted(set(curves[0]).intersection(*curves[1:])) if curves else []
    return np.array(epochs), np.array([[curve[epoch] for epoch in epochs] for curve in curves], float)


def box_plots(name: str, rows: Sequence[Row]) -> Iterator[Picture]:
    """Final return, and win rate where there is one, of every setting of a study: a box over seeds, a dot a seed."""
    for metric in ("return", "win_rate"):
        for task, here in _by_task(rows).items():
            if any(group.values(metric) for row in here for group in row.groups.values()):
                draw = partial(_draw_boxes, rows=here, metric=metric, task=task)
                words = f"final {metric.replace('_', ' ')} by setting, {task}"
                yield make_picture(f"{name}_{task}_{metric}_box", words, draw)


def _draw_boxes(axes: Any, rows: Sequence[Row], metric: str, task: str) -> None:
    methods = method_order(method for row in rows for method in row.groups)
    width = 0.8 / len(methods)
    for place, method in enumerate(methods):
        colour = _look(method, place)["color"]
        at = [i + (place - (len(methods) - 1) / 2) * width for i in range(len(rows))]
        seeds = [row.groups[method].values(metric) if method in row.groups else [] for row in rows]
        ink = {part: {"color": colour} for part in ("medianprops", "boxprops", "whiskerprops", "capprops")}
        axes.boxplot(seeds, positions=at, widths=0.8 * width, manage_ticks=False, showfliers=False, **ink)
        dots = [(x, value) for x, values in zip(at, seeds, strict=True) for value in values]
        axes.scatter(*np.reshape(dots, (-1, 2)).T, s=9, color=colour, label=NAMES.get(method, method))
    labels = [", ".join(str(value) for value in row.setting.values()) for row in rows]
    slanted = {"rotation": 30, "ha": "right"} if max(map(len, labels)) > 8 else {}
    axes.set_xticks(range(len(rows)), labels, **slanted)
    axes.set(xlabel=", ".join(rows[0].setting), ylabel=metric.replace("_", " "), title=task)
    _legend(axes)


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

        draw = partial(_draw_estimates, found=found, label=label, chance=0.5 if what == "improvement" else None)
        yield make_picture(f"{name}_{what}", f"{label} of each method", draw, (4.0, 0.8 + 0.28 * len(found)))


def _draw_estimates(axes: Any, found: Sequence[tuple[str, Estimate]], label: str, chance: float | None) -> None:
    for place, (method, estimate) in enumerate(found):
        look = _look(method, place)
        axes.plot(estimate.value, place, **look)
        if estimate.low is not None:
            axes.hlines(place, estimate.low, estimate.high, color=look["color"], linewidth=2)
    axes.set_yticks(range(len(found)), [NAMES.get(method, method) for method, _ in found])
    axes.set(title=label, ylim=(-0.6, len(found) - 0.4))
    if chance is not None:
        axes.axvline(chance, color=INK, linewidth=0.8, linestyle="--")
        axes.set_xlim(-0.03, 1.03)
