"""A grid's YAML file and the cells that it names."""

from __future__ import annotations

import re
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import yaml
from jsonargparse import ArgumentParser

from misodice.envs import Source
from misodice.errors import MisodiceError
from misodice.grid.cell import Cell
from misodice.grid.setting import Setting
from misodice.runs.configs import find_config
from misodice.runs.files import write_json
from misodice.runs.parts import config_of

Option = None | bool | int | float | str | list | dict  # type: ignore[type-arg]
"""A plain value: with `Any` jsonargparse would make an object of every class_path in it."""


@dataclass
class Task:
    """One row of the tables.

    Args:
        config: a config file, or several, each over the one before; from the grid's folder or the current one.
        options: dotted options of `misodice fit`, over the config.
        collect: make the task's own episodes file from these sources, once for all its cells.
    """

    config: str | list[str]
    options: dict[str, Option] = field(default_factory=dict)
    collect: list[Source] | None = None


@dataclass
class Grid:
    """What the YAML file says.

    Args:
        name: the folder of the results, under the root.
        tasks: by name.
        methods: names of overlays in configs/methods/, `misodice` for the config as it is, or paths of overlays.
        seeds: of each method on each task.
        options: dotted options of all cells; a task's and a variant's own go over them.
        variants: named sets of options, such as k_50: {data.k: 50}; every method is run with each.
        num_cpus: processor cores of one cell, and threads of its training.
        num_gpus: of one cell; 0.25 lets four cells share one.
    """

    name: str
    tasks: dict[str, Task]
    methods: list[str]
    seeds: list[int]
    options: dict[str, Option] = field(default_factory=dict)
    variants: dict[str, dict[str, Option]] = field(default_factory=dict)
    num_cpus: int = 1
    num_gpus: float = 0.0

    def cells(self, folder: Path, root: Path) -> list[Cell]:
        """Every cell, in the order in which they are begun.

        Cells beside each other differ in task or seed, so that those that run at the same time do not wait for each
        other's shared stages; `misodice` trains the most of those and is first.

        Args:
            folder: of the grid's file.
            root: where results go.

        Raises:
            MisodiceError: a config, an overlay or a data file is not there, or `env` holds what no engine has.
        """
        overlays = {Path(method).stem: _overlay(method, folder) for method in self.methods}
        configs = {name: _configs(task, folder) for name, task in self.tasks.items()}
        variants: dict[str | None, dict[str, Option]] = dict(self.variants.items()) or {None: {}}
        cells = []
        for method in sorted(overlays, key=lambda method: method != "misodice"):
            for (variant, its), seed, (name, task) in product(variants.items(), self.seeds, self.tasks.items()):
                options = self.options | task.options | its
                setting = Setting(name, (*configs[name], *overlays[method]), options, task.collect)
                cells.append(
                    Cell(
                        home=root / self.name,
                        task=name,
                        variant=variant,
                        method=method,
                        seed=seed,
                        configs=list(setting.configs),
                        options=options,
                        env=config_of(setting.engine),
                        sources=setting.plain_sources,
                        data=setting.data(root / self.name / "data"),
                        fingerprint=setting.fingerprint,
                    )
                )
        return cells


def read_grid(path: Path) -> Grid:
    """Read and check a grid's file.

    Raises:
        MisodiceError: a field of the file is missing, unknown, empty, twice there or of a wrong type.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Grid)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise MisodiceError(f"{path}: cannot be read as YAML ({said}); docs/benchmark.md shows a grid") from error
    if not isinstance(content, dict):
        raise MisodiceError(
            f"{path}: found {content!r:.50}, expected name, tasks, methods and seeds (docs/benchmark.md)"
        )
    try:
        grid = Grid(**vars(parser.instantiate(parser.parse_path(path))))
    except ArgumentError as error:
        raise MisodiceError(f"{path}: {error}; docs/benchmark.md says what a grid holds") from error
    names = [Path(method).stem for method in grid.methods]
    for field_name, values in (("tasks", list(grid.tasks)), ("methods", names), ("seeds", grid.seeds)):
        if not values or len(set(values)) < len(values):
            raise MisodiceError(f"{path}: {field_name}: found {values}, expected at least one, and none twice")
    for field_name, found, pattern in (
        ("name", [grid.name], r"[\w.-]+"),
        ("tasks", list(grid.tasks), r"[\w-]+"),
        ("variants", list(grid.variants), r"[\w.-]+"),
    ):
        wrong = [name for name in found if not re.fullmatch(pattern, name) or name.startswith(".")]
        if wrong:
            raise MisodiceError(
                f"{path}: {field_name}: found {wrong[0]!r}, expected letters, digits, _ and - (and . but in a task): "
                "it names a folder"
            )
    if grid.num_cpus < 1 or grid.num_gpus < 0:
        raise MisodiceError(
            f"{path}: num_cpus is {grid.num_cpus} and num_gpus {grid.num_gpus}, expected at least 1 and 0"
        )
    return grid


def write_cells(cells: Sequence[Cell]) -> None:
    """grid.json: every cell that is expected, so that a report can say what is missing. `folder` is relative to it."""
    home = cells[0].home
    expected = [
        {
            **{"task": cell.task, "variant": cell.variant, "method": cell.method, "seed": cell.seed},
            "folder": str(cell.folder.relative_to(home)),
        }
        for cell in cells
    ]
    write_json(home / "grid.json", {"name": home.name, "cells": expected})


def _configs(task: Task, folder: Path) -> list[Path]:
    given = [task.config] if isinstance(task.config, str) else task.config
    return [find_config(name, "tasks.config", folder).resolve() for name in given]


def _overlay(method: str, folder: Path) -> list[Path]:
    if method == "misodice":
        return []
    if method.endswith(".yaml"):
        return [find_config(method, "methods", folder).resolve()]
    return [find_config(f"methods/{method}", "methods", folder.parent).resolve()]
