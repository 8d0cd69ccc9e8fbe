"""The weights of behaviour cloning."""

import numpy as np
import pytest
import torch

from misodice.datamodules.experts import Experts
from misodice.datamodules.inputs import Inputs
from misodice.errors import MisodiceError
from misodice.modules import CloneWeights
from tests.helpers.small import served, table_of

LENGTHS = [4, 1, 5]
EXPERT = np.array([True, False, False])


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_weights_name_d_e_and_have_mean_one(beta):
    stage = CloneWeights(beta)
    held_out = np.array([True, False, False])  # for the discriminator, and of no matter here
    experts = Experts(EXPERT, held_out) if stage.needs_experts else None
    data = served(stage.datamodule(Inputs(table_of(LENGTHS), {}, experts, None, 4, 0)))
    predicted = torch.cat([stage.predict_step(batch, 0)["weight"] for batch in data.predict_dataloader()])
    weight = stage.finish({"weight": predicted})["weight"]
    # β/|D_E| + (1 − β)/|D_U|, times |D_U|.
    assert torch.allclose(weight, torch.tensor([(1 - beta) + beta * 10 / 4] * 4 + [1 - beta] * 6))
    assert weight.mean().item() == pytest.approx(1.0)
    assert stage.column_metrics({"weight": weight})["value/max_weight"] == pytest.approx(weight.max().item())


def test_it_learns_nothing_and_asks_for_experts_only_where_they_count():
    assert not CloneWeights.trained
    assert CloneWeights(0.1).needs_experts
    assert not CloneWeights(0.0).needs_experts
    assert CloneWeights.writes == ("weight",)


@pytest.mark.parametrize("beta", [-0.1, 1.5, float("nan")])
def test_what_is_no_share_is_refused(beta):
    with pytest.raises(MisodiceError, match=r"value\.beta: found .*, expected a share from 0 to 1"):
        CloneWeights(beta)
