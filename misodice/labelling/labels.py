"""The `labels` block: which pairs are asked, who answers them, and where the answers are kept."""

from __future__ import annotations

from typing import Literal

from misodice.labelling.base import Labeller
from misodice.labelling.rule import RuleLabeller
from misodice.runs.limits import PART, PATH, SIZE, limited, or_none, whole
from misodice.runs.parts import Part, check_kind


class Labels(Part):
    """Options of Phase 1's pairs (paper B.2).

    Args:
        labeller: RuleLabeller, OracleLabeller, LLMLabeller, RecordedLabeller, or the class path of your own.
        n_pairs: pairs of episodes, all of them where there are fewer; RecordedLabeller brings its own.
        seed: which pairs; it is not the run's seed, so that runs of several seeds may share answers that were paid for.
        held_out: share of the pairs with a winner that the preference stage is judged by and never trained on.
        path: preferences file to use and go on with; null is the run's own preferences.jsonl, or with --shared_stages
            one there that every run of the same data and labeller answers into, copied into the run when it is done.
        other_answers: what is done where that file holds answers of another labeller, or answers to other pairs that
            were paid for: stop; use them as they are; or set_aside, which keeps them under another name and asks anew.

    Raises:
        MisodiceError: an option is out of its range.
    """

    @limited("labels", n_pairs=SIZE, seed=whole(0), held_out=PART, path=or_none(PATH))
    def __init__(
        self,
        labeller: Labeller = RuleLabeller(),  # noqa: B008 - it holds no state; an object here is a default in --help
        n_pairs: int = 2000,
        seed: int = 0,
        held_out: float = 0.1,
        path: str | None = None,
        other_answers: Literal["stop", "use", "set_aside"] = "stop",
    ) -> None:
        check_kind("labels.labeller", labeller, Labeller)
        self.labeller, self.n_pairs, self.seed, self.held_out, self.path = labeller, n_pairs, seed, held_out, path
        self.other_answers = other_answers
