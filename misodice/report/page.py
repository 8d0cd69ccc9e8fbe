"""The page: one static HTML file with everything in it, that opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from misodice.errors import MisodiceError
from misodice.report.aggregates import Aggregate, aggregate, aggregate_rows
from misodice.report.figures import Picture, aggregate_plots, box_plots, learning_curves
from misodice.report.groups import Group, World
from misodice.report.label_quality import FIGURES, LabelLine, label_lines, label_plots
from misodice.report.paper import ENGINES
from misodice.report.runs import Problem
from misodice.report.tables import NAMES, Table, make_tables


@dataclass(frozen=True)
class Part:
    """A heading, its tables and its pictures."""

    anchor: str
    title: str
    tables: list[Table]
    pictures: list[Picture]


@dataclass(frozen=True)
class Section:
    """What the page shows of one world."""

    world: World
    anchor: str
    title: str
    apart: str
    note: str
    main: Part
    aggregates: list[Aggregate]
    aggregate_pictures: list[Picture]
    studies: list[Part]
    labels: list[LabelLine]
    label_pictures: list[Picture]
    labels_png: list[tuple[str, str]]

    @property
    def tables(self) -> list[Table]:
        return self.main.tables + [table for study in self.studies for table in study.tables]

    @property
    def pictures(self) -> list[Picture]:
        of_studies = [picture for study in self.studies for picture in study.pictures]
        return self.main.pictures + self.aggregate_pictures + of_studies + self.label_pictures


def make_sections(worlds: Sequence[World], ours: str) -> list[Section]:
    """All tables and pictures of every world; names of files begin with the engine, and a number if it comes twice."""
    sections = []
    for world in worlds:
        same = [other for other in worlds if other.engine == world.engine]
        anchor = world.engine if len(same) == 1 else f"{world.engine}_{same.index(world) + 1}"
        sections.append(_section(world, anchor, _apart(world, same), ours))
    return sections


def _section(world: World, anchor: str, apart: str, ours: str) -> Section:
    aggregates = aggregate(world.base, ours)
    labels = label_lines(world.groups)
    studies = []
    for names, rows in world.studies.items():
        title = ", ".join(names)
        name = f"{anchor}_{'_'.join(names).replace('α', 'alpha')}"
        studies.append(
            Part(name, title, make_tables(name, rows), [*box_plots(name, rows), *learning_curves(name, rows)])
        )
    return Section(
        world=world,
        anchor=anchor,
        title=f"{world.engine} {world.version or '(version not recorded)'}",
        apart=apart,
        note=ENGINES.get(world.engine, ""),
        main=Part(anchor, "", make_tables(anchor, world.base), list(learning_curves(anchor, world.base))),
        aggregates=aggregates,
        aggregate_pictures=list(aggregate_plots(anchor, aggregates, ours)),
        studies=studies,
        labels=labels,
        label_pictures=list(label_plots(f"{anchor}_labels", labels)),
        labels_png=_labels_png(world),
    )


def _apart(world: World, same: Sequence[World]) -> str:
    """Why runs of one engine stand in several sections: the versions that differ."""
    all_versions = [{"engine": other.version, **other.versions} for other in same]
    own = {"engine": world.version, **world.versions}
    return ", ".join(
        f"{name} {value}" for name, value in own.items() if any(other.get(name) != value for other in all_versions)
    )


def _labels_png(world: World) -> list[tuple[str, str]]:
    """(which run, data URI) of one picture of the ranking for each task."""
    pictures = []
    for row in world.base:
        runs = [run for group in reversed(row.groups.values()) for run in group.runs]
        run = next((run for run in runs if (run.folder / "labels.png").is_file()), None)
        if run is not None:
            data = base64.b64encode((run.folder / "labels.png").read_bytes()).decode()
            pictures.append((f"{run.task}, {run.method}, seed {run.seed}", f"data:image/png;base64,{data}"))
    return pictures


def render(sections: Sequence[Section], problems: Sequence[Problem], roots: Sequence[Path], ours: str) -> str:
    """The whole page as text.

    Raises:
        MisodiceError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MisodiceError("misodice report needs jinja2: pip install 'misodice[report]'") from error
    environment = Environment(
        loader=PackageLoader("misodice", "report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["method"] = lambda name: NAMES.get(name, name)
    environment.filters["seeds"] = _seeds
    page: str = environment.get_template("report.html.jinja").render(
        sections=sections,
        problems=problems,
        roots=roots,
        ours=ours,
        figures=FIGURES,
        aggregate_rows=aggregate_rows,
    )
    return page


def _seeds(group: Group) -> str:
    return ", ".join(str(run.seed) for run in group.runs)
