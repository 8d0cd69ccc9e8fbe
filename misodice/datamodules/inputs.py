"""What a stage may learn from: the table, the columns of earlier stages, D_E, and the labelled pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from misodice.data.pairs import LabelledPairs
from misodice.datamodules.experts import Experts
from misodice.datamodules.table import TransitionTable
from misodice.errors import MisodiceError


class ReadColumns(dict[str, Tensor]):
    """The columns that a stage reads.

    Args:
        stage: whose they are, for messages.
        columns: [T] or [T, n] each.
    """

    def __init__(self, stage: str, columns: Mapping[str, Tensor]) -> None:
        super().__init__(columns)
        self.stage = stage

    def __missing__(self, name: str) -> Tensor:
        raise MisodiceError(
            f"{self.stage} asks for column {name!r}, but its `reads` is {tuple(self)}; add {name!r} to `reads`"
        )


@dataclass(frozen=True)
class Inputs:
    """All that a stage makes its datamodule from.

    Args:
        table: D_U.
        columns: those that the stage reads, [T] or [T, n], on the table's device.
        experts: D_E; None where the stage needs none.
        pairs: labelled pairs of episodes; None where the stage needs none.
        batch_size: transitions a step and process.
        seed: of every draw.
    """

    table: TransitionTable
    columns: Mapping[str, Tensor]
    experts: Experts | None
    pairs: LabelledPairs | None
    batch_size: int
    seed: int

    @property
    def known_experts(self) -> Experts:
        """D_E.

        Raises:
            MisodiceError: the stage has not said that it needs D_E.
        """
        if self.experts is None:
            raise MisodiceError("D_E was asked for by a stage whose needs_experts is false; let it return true")
        return self.experts

    @property
    def known_pairs(self) -> LabelledPairs:
        """The labelled pairs.

        Raises:
            MisodiceError: the stage is no RewardStage.
        """
        if self.pairs is None:
            raise MisodiceError("labelled pairs were asked for by a stage that is no RewardStage; make it one")
        return self.pairs
