"""The runs under some folders, as `fit` and `benchmark` leave them; what cannot be used is told, and why."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from misodice.errors import MisodiceError
from misodice.report.settings import flatten
from misodice.runs.differences import dotted

METRICS = {"return": "return_mean", "win_rate": "win_rate", "normalised_score": "normalised_score"}
"""What a run is judged by, as the tables name it, and its field in summary.json."""


@dataclass(frozen=True)
class Run:
    """One finished run.

    Args:
        folder: where it lies.
        method, task, engine, seed: which it is.
        version: of the engine that the rollouts were played on; None where the run did not record it.
        versions: of the packages.
        options: every setting that may change the result, by dotted name (see `flatten`), without seeds and paths.
        variant: the benchmark's name for what this cell varies; None for plain runs and for cells that vary nothing.
        rollout, labels: those parts of summary.json.
        curve: (epoch, rollout/return, rollout/win_rate or None) of each evaluation.
        config: config.yaml as it stands.
    """

    folder: Path
    method: str
    task: str
    engine: str
    seed: int
    version: str | None
    versions: dict[str, str]
    options: dict[str, Any]
    variant: str | None
    rollout: dict[str, Any]
    labels: dict[str, Any]
    curve: list[tuple[int, float, float | None]]
    config: str = field(repr=False)

    def value(self, metric: str) -> float | None:
        """One of `METRICS`; None where it does not apply."""
        found: float | None = self.rollout.get(METRICS[metric])
        return found


@dataclass(frozen=True)
class Problem:
    """What is not in the tables, and why."""

    what: str
    state: Literal["failed", "unfinished", "missing", "skipped"]
    reason: str


def read_runs(roots: Sequence[Path]) -> tuple[list[Run], list[Problem]]:
    """Every finished run under `roots`, and everything that is not one.

    Raises:
        MisodiceError: a root does not exist, or nothing under them is a run.
    """
    for root in roots:
        if not root.is_dir():
            raise MisodiceError(f"runs: {root} is no folder; name one that `misodice fit` or `benchmark` wrote into")
    folders = sorted({folder for root in roots for folder in _folders(root)})
    runs: list[Run] = []
    problems: list[Problem] = []
    for folder in folders:
        try:
            found = _read(folder, problems)
        except MisodiceError as error:
            found = Problem(str(folder), "skipped", str(error))
        if isinstance(found, Run):
            runs.append(found)
        else:
            problems.append(found)
    for root in roots:
        problems += _missing(root, folders)
    if not runs and not problems:
        raise MisodiceError(
            f"runs: nothing under {', '.join(map(str, roots))} has a summary.json, as finished runs have; name a "
            "folder that `misodice fit` or `benchmark` wrote into"
        )
    return runs, problems


def _folders(root: Path) -> Iterator[Path]:
    for name in ("summary.json", "cell.json", "config.yaml"):
        yield from (path.parent.resolve() for path in root.rglob(name))


def _read(folder: Path, problems: list[Problem]) -> Run | Problem:
    """The run in `folder`; files that only its curves miss go into `problems`.

    Raises:
        MisodiceError: a file that it cannot do without is broken.
    """
    cell = _json(folder / "cell.json") if (folder / "cell.json").is_file() else {}
    if cell.get("status", "done") != "done":
        # What may lie there besides is of an earlier try.
        failed = cell["status"] == "failed"
        tries = f" (tries: {cell['tries']})" if cell.get("tries") else ""
        reason = f"{cell.get('reason') or 'no reason was given'}{tries}"
        return Problem(
            str(folder), "failed" if failed else "unfinished", reason if failed else "it runs still, or was killed"
        )
    if not (folder / "summary.json").is_file():
        return Problem(str(folder), "unfinished", "there is no summary.json: fit has not ended, or it failed")
    summary = _json(folder / "summary.json")
    if "rollout" in summary and summary["rollout"] is None:
        return Problem(str(folder), "skipped", "it was trained without an environment, so it has no returns")
    rollout = _field(folder, summary, "rollout", dict)
    mean = rollout.get("return_mean")
    if not isinstance(mean, (int, float)) or not math.isfinite(mean):
        raise MisodiceError(f"{folder}/summary.json: rollout.return_mean is {mean!r}, expected a number")
    config, options = _config(folder)
    data = summary.get("data") or {"digest": options["data.path"], "path": options["data.path"]}
    env = summary.get("env") or {key: value for key, value in options.items() if key.startswith("env.")}
    env = {key.removeprefix("env."): value for key, value in env.items()}
    curve = _curve(folder, problems)
    return Run(
        folder=folder,
        method=_field(folder, summary, "method", str),
        task=_field(folder, summary, "task", str),
        engine=_field(folder, summary, "engine", str),
        seed=_field(folder, summary, "seed", int),
        version=env.get("version"),
        versions=_field(folder, summary, "versions", dict),
        options=flatten(options, env, data),
        variant=cell.get("variant"),
        rollout=rollout,
        labels=summary.get("labels") or {},
        curve=curve,
        config=config,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MisodiceError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise MisodiceError(f"{path}: holds a {type(content).__name__}, expected an object")
    return content


def _field(folder: Path, summary: dict[str, Any], name: str, kind: type) -> Any:
    if not isinstance(summary.get(name), kind):
        raise MisodiceError(f"{folder}/summary.json: {name!r} is {summary.get(name)!r}, expected {kind.__name__}")
    return summary[name]


def _config(folder: Path) -> tuple[str, dict[str, Any]]:
    """config.yaml as text, and its options by dotted name."""
    try:
        text = (folder / "config.yaml").read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise MisodiceError(f"{folder}/config.yaml: cannot be read ({error}), so its settings are unknown") from error
    if not isinstance(content, dict):
        raise MisodiceError(f"{folder}/config.yaml: holds no options, so its settings are unknown")
    options = dotted(content)
    expected = ("data.path", "data.k", "data.ranking", "labels.labeller.class_path")
    for name in expected:
        if name not in options:
            raise MisodiceError(f"{folder}/config.yaml: {name} is missing; expected the file that `fit` writes")
    return text, options


def _curve(folder: Path, problems: list[Problem]) -> list[tuple[int, float, float | None]]:
    path = folder / "metrics.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("rollout/return")]
        return [
            (
                int(row["epoch"]) + 1,
                float(row["rollout/return"]),
                float(row["rollout/win_rate"]) if row.get("rollout/win_rate") else None,
            )
            for row in rows
        ]
    except (OSError, KeyError, ValueError) as error:
        problems.append(Problem(str(path), "skipped", f"no learning curve: {error}"))
        return []


def _missing(root: Path, folders: Sequence[Path]) -> Iterator[Problem]:
    """Cells that a grid expects and that have left nothing."""
    for path in sorted(root.rglob("grid.json")):
        try:
            cells = _json(path)["cells"]
            expected = [(path.parent / cell["folder"]).resolve() for cell in cells]
        except (MisodiceError, KeyError, TypeError) as error:
            yield Problem(str(path), "skipped", f"no list of the expected cells: {error}")
            continue
        yield from (Problem(str(cell), "missing", "has not run") for cell in expected if cell not in folders)
