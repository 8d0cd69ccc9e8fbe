"""How good the labels of the runs are: before anything is learnt (win counts) and after (recovered reward)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from misodice.report.figures import COLOURS, INK, Picture, make_picture
from misodice.report.groups import Group
from misodice.report.runs import Run
from misodice.report.settings import TASK, labels_name
from misodice.report.tables import markdown_table

MADE_BY = (*TASK, "data.k", "data.ranking", "labels.", "preference.")
"""The options that labels depend on; methods that share them and the seed share the labels too."""
FIGURES = {
    "quality": "quality of D_E",
    "kendall_tau": "Kendall τ to the true returns",
    "pair_accuracy": "held-out pairs right",
    "ties": "share of ties",
}


@dataclass(frozen=True)
class LabelLine:
    """The labels of one task and setting: for each of `FIGURES` the seeds' values, of win counts and in the end."""

    name: str
    seeds: int
    before: dict[str, list[float]]
    after: dict[str, list[float]]

    def text(self, figure: str) -> str:
        """The means, "before → after" where there are both."""
        means = [f"{np.mean(values):.2f}" for values in (self.before[figure], self.after[figure]) if values]
        return " → ".join(means) or "–"


def label_lines(groups: Sequence[Group]) -> list[LabelLine]:
    """One line for each way in which the runs' D_E was found."""
    found: dict[tuple[Any, ...], dict[int, Run]] = defaultdict(dict)
    for group in groups:
        for run in group.runs:
            if run.labels.get("labeller") is not None:
                made_by = {
                    name: v for name, v in run.options.items() if name.startswith(MADE_BY) and name != "data.name"
                }
                found[(run.task, *sorted(made_by.items()))].setdefault(run.seed, run)
    lines = [_line(list(seeds.values())) for seeds in found.values()]
    return sorted(lines, key=lambda line: line.name)


def _line(runs: list[Run]) -> LabelLine:
    first = runs[0]
    options = first.options
    parts = [first.task, labels_name(options), f"K = {options['data.k']}"]
    if options["data.ranking"] == "preference":
        parts.append(str(options.get("preference.class_path")).rpartition(".")[2])
    before: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    after: dict[str, list[float]] = {figure: [] for figure in FIGURES}
    for run in runs:
        labels = run.labels
        values = {name: labels.get(name) for name in ("quality", "kendall_tau", "ties")}
        values["pair_accuracy"] = (labels.get("pair_accuracy") or {}).get("held_out")
        for name, value in values.items():
            after[name] += [] if value is None else [float(value)]
        for name, value in (labels.get("win_counts") or {}).items():
            if name in FIGURES and value is not None and options["data.ranking"] == "preference":
                before[name].append(float(value))
    return LabelLine(", ".join(parts), len(runs), before, after)


def label_table(lines: Sequence[LabelLine]) -> str:
    """All of it as Markdown."""
    rows = ([line.name, str(line.seeds), *(line.text(figure) for figure in FIGURES)] for line in lines)
    caption = "Labels: means over seeds; win counts alone → recovered reward where both are known."
    return markdown_table(caption, [["labels", "seeds", *FIGURES.values()], *rows])


def label_plots(name: str, lines: Sequence[LabelLine]) -> Iterator[Picture]:
    """A picture for each figure: hollow is win counts alone, full is what D_E was taken by; bars span the seeds."""
    for figure, title in FIGURES.items():
        if not any(line.after[figure] for line in lines):
            continue

        draw = partial(_draw, lines=lines, figure=figure)
        yield make_picture(f"{name}_{figure}", f"{title} of each task's labels", draw, (4.0, 0.8 + 0.36 * len(lines)))


def _draw(axes: Any, lines: Sequence[LabelLine], figure: str) -> None:
    colour = COLOURS[-1]
    for place, line in enumerate(lines):
        for values, face in ((line.before[figure], "none"), (line.after[figure], colour)):
            if values:
                axes.hlines(place, min(values), max(values), color=colour, linewidth=1.5)
                axes.plot(np.mean(values), place, "o", color=colour, markerfacecolor=face)
    axes.set_yticks(range(len(lines)), [line.name.replace(", ", "\n", 1) for line in lines], fontsize=8)
    axes.set(title=FIGURES[figure], ylim=(len(lines) - 0.4, -0.6))
    if figure == "pair_accuracy":
        axes.axvline(0.5, color=INK, linewidth=0.8, linestyle="--")
