"""The progress bar's words."""

import torch

from misodice.callbacks.progress import StageProgress
from misodice.datamodules.successors import Successors
from misodice.modules import Value
from tests.helpers.small import table_of, train


def test_it_names_the_stage_and_its_place():
    stage, progress = Value(), StageProgress("2/3 value")
    data = Successors(table_of([4, 3]), torch.zeros(7), False, 4, seed=0)
    trainer = train(stage, data, progress, enable_progress_bar=True)
    found = progress.get_metrics(trainer, stage)
    assert found["stage"] == "2/3 value"
    assert "v_num" not in found
