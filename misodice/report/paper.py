"""The paper's own figures, to stand beside ours and never among them (its Tables 4 to 14, in paper_tables.csv)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from misodice.report.groups import Row
from misodice.report.settings import labels_name

METHODS = {
    "bc_0": "bc_0.0",
    "bc_05": "bc_0.5",
    "bc_1": "bc_1.0",
    "omapl": "omapl",
    "indd": "indd",
    "marl_sl": "marl_sl",
    "misodice_vdn": "vdn",
    "misodice": "misodice",
}
LABELS = {
    "rule": "rule",
    "llm:gpt-4o": "llm:gpt-4o",
    "llm:gpt-4o-mini": "llm:gpt-4o-mini",
    "true source": "ground_truth",
}
STUDIES = {"K": "top_k", "α": "alpha"}

ENGINES = {
    "smax": "Ours are played in SMAX, the paper's in StarCraft II: another game, with returns of another scale (2 at "
    "best, the paper's 20). The two do not compare.",
    "mamujoco": "Ours are learnt from data that misodice made on the v5 bodies, the paper's from other data on the v2 "
    "bodies. The two do not compare.",
    "starcraft2": "Ours and the paper's are both played in StarCraft II; the paper's data are other episodes, and the "
    "version of the game may be another.",
}
"""Why the paper's figures stand in rows of their own, by engine of ours."""


@dataclass(frozen=True)
class PaperValue:
    """Mean and standard deviation as printed, and where."""

    mean: float
    std: float
    table: str


@cache
def _values() -> dict[tuple[str, str, str, str], PaperValue]:
    text = (files("misodice") / "report" / "paper_tables.csv").read_text(encoding="utf-8")
    return {
        (row["task"].removesuffix("-v2"), row["metric"], row["labels"], row["method"]): PaperValue(
            float(row["mean"]), float(row["std"]), row["table"]
        )
        for row in csv.DictReader(text.splitlines())
    }


def paper_values(row: Row, metric: str) -> tuple[str, dict[str, PaperValue]]:
    """What the paper prints for a row's task, labels, K and α, by our names of the methods.

    Win rates are per cent, as in the paper. A row that is in a setting the paper has no table of gets nothing.

    Returns:
        The paper's name of the labels, and the values.
    """
    study = next(iter(row.setting), None) if len(row.setting) == 1 else None
    if study in STUDIES:
        # The paper varies K and α under the labels of gpt-4o alone.
        labels = "llm:gpt-4o"
        names = {"misodice": f"misodice:{STUDIES[study]}={_number(study, row.setting[study])}"}
    elif row.setting and study != "labels":
        return "", {}
    else:
        labels, names = LABELS.get(labels_name(row.options), ""), METHODS
    found = {ours: _values().get((row.task, metric, labels, theirs)) for ours, theirs in names.items()}
    return labels, {ours: value for ours, value in found.items() if value is not None and ours in row.groups}


def _number(study: str, value: float) -> str:
    """As paper_tables.csv writes it: top_k=50; alpha=0.05, alpha=10.0."""
    return str(value) if study == "K" else "10.0" if value == 10 else f"{value:.2f}"
