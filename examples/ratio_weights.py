"""A weight stage of one's own that learns nothing: each transition is weighed by its own log_ratio.

misodice fit --config configs/smacv2_zerg.yaml --value examples.ratio_weights.RatioWeights --value.temperature 2
"""

from torch import Tensor

from misodice import Inputs, MisodiceError, Stage, StageData
from misodice.datamodules.batches import ValueBatch
from misodice.datamodules.successors import Successors
from misodice.modules import dice


class RatioWeights(Stage):
    """w = exp(log_ratio/temperature), normalised over D_U. What follows a transition does not count.

    Args:
        temperature: by what log_ratio is divided; a greater one makes the weights more alike.
        max_weight: clip of the normalised weights.
    """

    name = "value"
    writes = ("weight",)
    trained = False

    def __init__(self, temperature: float = 1.0, max_weight: float = 100.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise MisodiceError(f"RatioWeights: temperature is {temperature}, expected more than 0")
        self.temperature, self.max_weight = temperature, max_weight

    @property
    def reads(self) -> tuple[str, ...]:
        return ("log_ratio",)

    def datamodule(self, inputs: Inputs) -> StageData:
        return Successors(inputs.table, inputs.columns["log_ratio"], False, inputs.batch_size, inputs.seed)

    def predict_step(self, batch: ValueBatch, batch_idx: int) -> dict[str, Tensor]:
        return {"weight": batch.log_ratio.flatten(0, 1) / self.temperature}

    def finish(self, columns: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"weight": dice.normalise_weights(columns["weight"].double(), self.max_weight).float()}
