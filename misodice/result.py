"""What a finished run came to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from misodice.errors import MisodiceError
from misodice.runs.files import read_json


@dataclass(frozen=True)
class Result:
    """The summary of a run.

    Args:
        run_dir: the run's folder.
        summary: all of summary.json.
    """

    run_dir: Path
    summary: dict[str, Any]

    @classmethod
    def read(cls, run_dir: str | Path) -> Self:
        """The result of a finished run.

        Raises:
            MisodiceError: the run is not finished.
        """
        summary = read_json(Path(run_dir) / "summary.json")
        if summary is None:
            raise MisodiceError(f"{run_dir}: has no summary.json, so the run is not finished; call fit() first")
        return cls(Path(run_dir), summary)

    @property
    def returns(self) -> list[float] | None:
        """Return of each greedy episode; None where nothing was rolled out."""
        returns: list[float] | None = self._rollout("returns")
        return returns

    @property
    def return_mean(self) -> float | None:
        """Their mean."""
        mean: float | None = self._rollout("return_mean")
        return mean

    @property
    def win_rate(self) -> float | None:
        """Share of the episodes that were won; None where nothing is won, or nothing was rolled out."""
        rate: float | None = self._rollout("win_rate")
        return rate

    @property
    def normalised_score(self) -> float | None:
        """0 is the mean return of the data's poor episodes, 1 that of its experts; None where that is not known."""
        score: float | None = self._rollout("normalised_score")
        return score

    @property
    def labels(self) -> dict[str, Any]:
        """How good D_E is: quality, kendall_tau, precision_at_k, auroc and others."""
        found: dict[str, Any] = self.summary["labels"]
        return found

    @property
    def policy_path(self) -> Path:
        """Checkpoint of the policy."""
        return self.run_dir / "policy" / "last.ckpt"

    def _rollout(self, name: str) -> Any:
        return (self.summary["rollout"] or {}).get(name)

    def __repr__(self) -> str:
        figures = {name: self._rollout(name) for name in ("return_mean", "normalised_score")}
        parts = [f"{name}={value:.2f}" for name, value in figures.items() if value is not None]
        return f"Result({', '.join([str(self.run_dir), *parts])})"
