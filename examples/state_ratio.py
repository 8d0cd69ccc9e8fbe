"""A ratio stage of one's own: it tells D_E from D_U by the state alone, and takes no notice of actions.

misodice fit --config configs/smacv2_zerg.yaml --discriminator examples.state_ratio.StateRatio
"""

from torch import Tensor, nn

from misodice import Inputs, Stage
from misodice.datamodules.batches import DiscriminatorBatch, Spec, Step
from misodice.datamodules.experts_and_union import ExpertsAndUnion
from misodice.modules import dice


class StateRatio(Stage):
    """log ρ_E(s)/ρ_U(s): the logit of a classifier of states.

    Args:
        hidden: width of the hidden layer.
        lr: Adam's learning rate.
        epochs: passes over D_U at most.
        patience: epochs without a better held-out loss after which training stops.
    """

    name = "discriminator"
    writes = ("log_ratio",)
    monitor = "discriminator/held_out_loss"

    def __init__(self, hidden: int = 256, lr: float = 3e-4, epochs: int = 20, patience: int = 5) -> None:
        super().__init__(lr, epochs)
        self.hidden, self.patience = hidden, patience

    @property
    def needs_experts(self) -> bool:
        return True

    def datamodule(self, inputs: Inputs) -> ExpertsAndUnion:
        return ExpertsAndUnion(inputs.table, inputs.known_experts, inputs.batch_size, inputs.seed)

    def build(self, spec: Spec) -> None:
        self.network = nn.Sequential(nn.Linear(spec.state_dim, self.hidden), nn.ReLU(), nn.Linear(self.hidden, 1))

    def forward(self, step: Step) -> Tensor:
        logit: Tensor = self.network(self.standardise_state(step.state)).squeeze(-1)
        return logit

    def loss(self, batch: DiscriminatorBatch) -> tuple[Tensor, dict[str, Tensor]]:
        loss = dice.discriminator_loss(self(batch.step), batch.expert, batch.union)
        return loss, {"loss": loss}

    def validation_step(self, batch: DiscriminatorBatch, batch_idx: int) -> None:
        self.log("discriminator/held_out_loss", self.loss(batch)[0], batch_size=len(batch), sync_dist=True)

    def predict_step(self, batch: Step, batch_idx: int) -> dict[str, Tensor]:
        return {"log_ratio": self(batch)}
