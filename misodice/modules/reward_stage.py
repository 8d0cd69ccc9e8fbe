"""Phase 1's stage: a reward of every transition, learnt from pairs of episodes (paper 4, B.2, Algorithm 2)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAccuracy

from misodice.datamodules.batches import PairBatch, Transition
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.paired import PairedEpisodes
from misodice.errors import MisodiceError
from misodice.modules import dice
from misodice.modules.stage import Stage
from misodice.runs.limits import COUNT, FACTOR, SIZE, limited


class RewardStage(Stage):
    """Base class of what may stand in the preference slot; a subclass makes networks and writes `reward`.

    The better of two episodes has the greater sum of rewards: cross-entropy of that difference, and `regulariser` times
    the mean squared reward. Both go over real steps alone.

    Args:
        regulariser: weight of the mean squared reward.
        pairs: pairs of episodes in one step.
        max_steps: of a longer episode this many steps are drawn, evenly spread, and stand for all; else a pair of
            MuJoCo's episodes would cost 2000 transitions a step.
        patience: epochs without a lesser loss on the held-out pairs after which training stops; the best one is kept.
        lr: Adam's learning rate.
        epochs: passes over the pairs.

    Raises:
        MisodiceError: an option is out of its range.
    """

    name = "preference"
    writes: ClassVar[tuple[str, ...]] = ("reward",)
    monitor = "preference/held_out_loss"

    @limited(regulariser=FACTOR, pairs=SIZE, max_steps=SIZE, patience=COUNT)
    def __init__(
        self,
        regulariser: float = 0.5,
        pairs: int = 64,
        max_steps: int = 20,
        patience: int = 5,
        lr: float = 3e-4,
        epochs: int = 15,
    ) -> None:
        super().__init__(lr, epochs)
        self.regulariser, self.pairs, self.max_steps = regulariser, pairs, max_steps
        self.patience = patience
        self.accuracy = BinaryAccuracy()

    @property
    def needs_pairs(self) -> bool:
        return True

    def reward(self, transition: Transition) -> Tensor:
        """r(s, a, s′) of each transition, [M]."""
        raise MisodiceError(f"{type(self).__name__} has no reward(transition)")

    def datamodule(self, inputs: Inputs) -> PairedEpisodes:
        return PairedEpisodes(inputs.table, inputs.known_pairs, self.pairs, self.max_steps, inputs.seed)

    def margin(self, batch: PairBatch, reward: Tensor) -> Tensor:
        """Σr(first) − Σr(second) of each pair, [P]."""
        signed = reward * batch.weight * (1.0 - 2.0 * (batch.side % 2))
        return torch.zeros_like(batch.first).index_add(0, batch.side // 2, signed)

    def preference_loss(self, batch: PairBatch, reward: Tensor) -> tuple[Tensor, Tensor]:
        """The regularised loss and, apart, its cross-entropy alone."""
        cross_entropy = dice.preference_loss(self.margin(batch, reward), batch.first)
        return cross_entropy + self.regulariser * reward.square().mean(), cross_entropy

    def loss(self, batch: PairBatch) -> tuple[Tensor, dict[str, Tensor]]:
        loss, cross_entropy = self.preference_loss(batch, self.reward(batch.transition))
        return loss, {"loss": cross_entropy}

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        margin = self.margin(batch, self.reward(batch.transition))
        self.accuracy.update(margin, batch.first.long())
        loss = dice.preference_loss(margin, batch.first)
        self.log("preference/held_out_loss", loss, batch_size=len(margin), sync_dist=True)
        self.log("preference/held_out_accuracy", self.accuracy)

    def predict_step(self, batch: Transition, batch_idx: int) -> dict[str, Tensor]:
        return {"reward": self.reward(batch)}
