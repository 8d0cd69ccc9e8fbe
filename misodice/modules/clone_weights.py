"""The baseline BC in the value slot: weights that name D_E and need no training."""

from __future__ import annotations

import torch
from torch import Tensor

from misodice.datamodules.batches import ExpertFlags
from misodice.datamodules.experts_and_union import ExpertMarks
from misodice.datamodules.inputs import Inputs
from misodice.modules import dice
from misodice.modules.stage import Stage
from misodice.runs.limits import SHARE, limited


class CloneWeights(Stage):
    r"""Weights of behaviour cloning (paper 7): nothing is learnt.

    .. math:: w = \beta\, 1[D_E] / |D_E| + (1 - \beta) / |D_U|

    Args:
        beta: β: 0 clones all of D_U, 1 clones D_E alone.

    Raises:
        MisodiceError: beta is no share.
    """

    name = "value"
    writes = ("weight",)
    trained = False

    @limited(beta=SHARE)
    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        self.beta = beta

    @property
    def needs_experts(self) -> bool:
        return self.beta > 0

    def datamodule(self, inputs: Inputs) -> ExpertMarks:
        return ExpertMarks(inputs.table, inputs.experts, inputs.batch_size, inputs.seed)

    def predict_step(self, batch: ExpertFlags, batch_idx: int) -> dict[str, Tensor]:
        return {"weight": batch.expert}

    def finish(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        """Weights of mean 1 from the marks of the whole of D_U."""
        expert = columns["weight"]
        return {"weight": dice.bc_weights(expert > 0, self.beta) if self.beta else torch.ones_like(expert)}

    def column_metrics(self, columns: dict[str, Tensor]) -> dict[str, float]:
        return dice.weight_metrics(columns["weight"])
