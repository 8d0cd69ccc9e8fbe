"""Runs into groups (equal settings, several seeds), groups into rows (one task and setting, all methods side by side).

A world is one engine and one set of package versions: nothing is compared or averaged across worlds. In each, the base
setting is the one with the most methods; what differs from it becomes a study of the options that differ.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from misodice.report.runs import Problem, Run
from misodice.report.settings import ROW, TASK, difference, shown
from misodice.runs.differences import Options

METHODS = ("bc_0", "bc_05", "bc_1", "omapl", "indd", "marl_sl", "misodice_vdn", "misodice")
"""The paper's columns in the paper's order."""
USUAL = {"data.k": 200, "value.alpha": 0.05, "labels.labeller.flip": 0.0}
"""The paper's defaults, which make the base setting where as many runs speak for another."""


@dataclass(frozen=True)
class Group:
    """The runs of one method on one task that differ in their seed alone, by rising seed."""

    runs: tuple[Run, ...]

    @property
    def first(self) -> Run:
        return self.runs[0]

    def values(self, metric: str) -> list[float]:
        """`metric` of each seed; empty where it does not apply."""
        return [value for run in self.runs if (value := run.value(metric)) is not None]


@dataclass(frozen=True)
class Row:
    """One task in one setting.

    Args:
        task: its name.
        groups: by method, in the order of `METHODS`.
        setting: the options that make the row one of a study, as they are written; empty in the base setting.
    """

    task: str
    groups: dict[str, Group]
    setting: dict[str, Any] = field(default_factory=dict)

    @property
    def options(self) -> Options:
        """Of the last method: MisoDICE where it is there."""
        return list(self.groups.values())[-1].first.options

    @property
    def text(self) -> str:
        """The setting in words."""
        return ", ".join(f"{name} = {value}" for name, value in self.setting.items())


@dataclass(frozen=True)
class World:
    """What may be compared: an engine of one version, with packages of one version.

    Args:
        engine: its name.
        version: the engine's.
        versions: the packages'.
        base: rows of the base setting, one a task.
        studies: rows by the names of the options that differ from the base; the base's own rows are among them.
    """

    engine: str
    version: str | None
    versions: dict[str, str]
    base: list[Row]
    studies: dict[tuple[str, ...], list[Row]]

    @property
    def groups(self) -> list[Group]:
        """Every group once, those of the base first."""
        rows = self.base + [row for rows in self.studies.values() for row in rows]
        return list({id(group): group for row in rows for group in row.groups.values()}.values())


def method_order(methods: Iterable[str]) -> list[str]:
    """The paper's order; others before misodice, by name."""
    known = {name: index for index, name in enumerate(METHODS)}
    return sorted(set(methods), key=lambda name: (known.get(name, len(METHODS) - 1.5), name))


def sort_runs(runs: Sequence[Run]) -> tuple[list[World], list[Problem]]:
    """The worlds of `runs`; a run that repeats another's settings and seed is left out and said."""
    kept: dict[tuple[Any, ...], dict[int, Run]] = defaultdict(dict)
    problems: list[Problem] = []
    for run in runs:
        same = kept[((run.engine, run.version, _key(run.versions)), run.task, run.method, _key(run.options))]
        if run.seed in same:
            reason = f"its settings and its seed are those of {same[run.seed].folder}"
            problems.append(Problem(str(run.folder), "skipped", reason))
        else:
            same[run.seed] = run
    by_world: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
    for (world, *_), seeds in kept.items():
        by_world[world].append(Group(tuple(run for _, run in sorted(seeds.items()))))
    # The most groups of an engine first: what a few runs of another version came to is of less interest.
    ordered = sorted(by_world.items(), key=lambda item: (item[0][0], -len(item[1]), str(item[0])))
    return [_make_world(groups) for _, groups in ordered], problems


def _key(options: Options) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted((name, value) for name, value in options.items() if name != "data.name"))


def _most_common(groups: Sequence[Group], names: tuple[str, ...]) -> dict[str, Any]:
    """The options that begin with `names`, as most groups have them.

    Cells of a benchmark that vary nothing count before those that do; where there is a draw, `USUAL` decides.
    """
    parts = [{n: v for n, v in group.first.options.items() if n.startswith(names)} for group in groups]
    keys = [_key(part) for part in parts]
    plain = Counter(key for key, group in zip(keys, groups, strict=True) if group.first.variant is None)
    count = Counter(keys)

    def rank(index: int) -> tuple[Any, ...]:
        defaults = sum(parts[index].get(name) == value for name, value in USUAL.items())
        return plain[keys[index]], count[keys[index]], defaults, str(keys[index])

    return parts[max(range(len(parts)), key=rank)]


def _make_world(groups: list[Group]) -> World:
    # A baseline may lack an option of ROW, such as value.alpha: the methods that have it say what is usual.
    has = {name for name in ROW if any(name in group.first.options for group in groups)}
    shared = _most_common([group for group in groups if has <= set(group.first.options)] or groups, ROW)
    rows: dict[tuple[Any, ...], dict[str, Group]] = defaultdict(dict)
    for task in sorted({group.first.task for group in groups}):
        here = [group for group in groups if group.first.task == task]
        common = shared | _most_common(here, TASK)
        for method in method_order(group.first.method for group in here):
            own = [group for group in here if group.first.method == method]
            known = {name for group in own for name in group.first.options}
            wanted = {name: value for name, value in common.items() if name in known}
            fitting = [g for g in own if not difference({n: g.first.options.get(n) for n in wanted}, wanted)]
            base = _most_common(fitting or own, ("",)) | wanted
            for group in own:
                changed = difference(group.first.options, base)
                rows[(task, tuple(sorted(changed.items(), key=str)))][method] = group
    base_rows = [Row(task, row) for (task, changed), row in rows.items() if not changed]
    varied = [(Row(task, row), {name for name, _ in changed}) for (task, changed), row in rows.items() if changed]
    first = groups[0].first
    return World(first.engine, first.version, first.versions, base_rows, _studies(base_rows, varied))


def _studies(base: Sequence[Row], varied: Sequence[tuple[Row, set[str]]]) -> dict[tuple[str, ...], list[Row]]:
    """Rows by the options that differ from the base's, each with the base's rows of its tasks and methods beside."""
    by_names: dict[tuple[str, ...], list[tuple[Row, set[str]]]] = defaultdict(list)
    for row, changed in varied:
        by_names[tuple(shown(row.options, changed))].append((row, changed))
    studies: dict[tuple[str, ...], list[Row]] = {}
    for names, members in sorted(by_names.items()):
        options = set().union(*(changed for _, changed in members))
        tasks, methods = {row.task for row, _ in members}, {method for row, _ in members for method in row.groups}
        beside = [
            Row(row.task, {method: group for method, group in row.groups.items() if method in methods})
            for row in base
            if row.task in tasks and methods & set(row.groups)
        ]
        rows = [replace(row, setting=shown(row.options, options)) for row in (*beside, *(row for row, _ in members))]
        studies[names] = sorted(
            _tell_apart(rows), key=lambda row: (row.task, [_order(v) for v in row.setting.values()])
        )
    return studies


def _tell_apart(rows: list[Row]) -> list[Row]:
    """Rows of one task that are written alike also get the options by which they differ."""
    result = []
    for row in rows:
        twins = [other for other in rows if (other.task, other.text) == (row.task, row.text) and other is not row]
        names = set().union(*(difference(row.options, twin.options) for twin in twins))
        result.append(replace(row, setting=row.setting | {name: row.options.get(name) for name in sorted(names)}))
    return result


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, (int, float))
    return not number, float(value) if number else 0.0, str(value)
