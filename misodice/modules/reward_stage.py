"""Phase 1's stage: a reward of every transition, learnt from pairs of episodes (paper 4, B.2, Algorithm 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torchmetrics.classification import BinaryAccuracy

from misodice.datamodules.batches import PairBatch, Transition
from misodice.modules import dice
from misodice.modules.stage import Stage

if TYPE_CHECKING:
    from misodice.datamodules.loader import Batches
    from misodice.datamodules.table import Transitions


class Preference(Stage):
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
    """

    name = "preference"
    writes: ClassVar[tuple[str, ...]] = ("reward",)
    monitor = "preference/held_out_loss"

    def __init__(self, regulariser: float, pairs: int, max_steps: int, patience: int, lr: float, epochs: int) -> None:
        super().__init__(lr, epochs)
        self.regulariser, self.pairs, self.max_steps = regulariser, pairs, max_steps
        self.patience = patience

    def reward(self, transition: Transition) -> Tensor:
        """r(s, a, s′) of each transition, [M]."""
        raise NotImplementedError(f"{type(self).__name__} has no reward(transition)")

    def holds_out(self, data: Transitions) -> bool:
        return bool(data.pairs.held_out.any())

    def build_metrics(self) -> None:
        self.accuracy = BinaryAccuracy()

    def train_batches(self, data: Transitions) -> Batches[PairBatch]:
        return data.pairs.batches(self.pairs, self.max_steps, held_out=False)

    def val_batches(self, data: Transitions) -> Batches[PairBatch]:
        return data.pairs.batches(self.pairs, self.max_steps, held_out=True)

    def predict_batches(self, data: Transitions) -> Batches[Transition]:
        return data.transition_batches()

    def margin(self, batch: PairBatch, reward: Tensor) -> Tensor:
        """Σr(first) − Σr(second) of each pair, [P]."""
        signed = reward * batch.weight * (1.0 - 2.0 * (batch.side % 2))
        return torch.zeros_like(batch.first).index_add(0, batch.side // 2, signed)

    def preference_loss(self, batch: PairBatch, reward: Tensor) -> tuple[Tensor, Tensor]:
        """The regularised loss and, apart, its cross-entropy alone."""
        cross_entropy = dice.preference_loss(self.margin(batch, reward), batch.first)
        return cross_entropy + self.regulariser * reward.square().mean(), cross_entropy

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        margin = self.margin(batch, self.reward(batch.transition))
        self.accuracy.update(margin, batch.first.long())
        loss = dice.preference_loss(margin, batch.first)
        self.log("preference/held_out_loss", loss, batch_size=len(margin), sync_dist=True)
        self.log("preference/held_out_accuracy", self.accuracy)
