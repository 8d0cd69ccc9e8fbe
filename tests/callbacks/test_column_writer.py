"""The predict pass as columns."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.loggers import CSVLogger

from misodice.callbacks.column_writer import ColumnWriter
from misodice.data.columns import column_fingerprint, read_column
from misodice.datamodules.base import StageData
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.loader import Batches
from misodice.datamodules.table import TransitionTable
from misodice.modules import AgentMLP, IndependentMixer, Stage, Value
from tests.helpers.small import episodes_of

EPISODES = replace(episodes_of([4, 1, 5]), source=np.array(["expert", "poor", "poor"]))
TABLE = TransitionTable.of(EPISODES)


def predict(stage: Stage, writer: ColumnWriter, **options) -> None:
    torch.manual_seed(0)
    stage._build(TABLE.spec)
    inputs = Inputs(TABLE, {"log_ratio": torch.zeros(10)}, None, None, 4, 0)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", callbacks=[writer], **quiet | options)
    trainer.predict(stage, datamodule=stage.datamodule(inputs), return_predictions=False)


@pytest.mark.parametrize("independent", [False, True])
def test_columns_are_finished_marked_and_told_of_by_source(tmp_path, independent):
    mixer = {"mixer": IndependentMixer} if independent else {}
    stage = Value(network=partial(AgentMLP, hidden=(8,)), **mixer)
    writer = ColumnWriter(tmp_path / "columns.h5", "fffa", EPISODES)
    predict(stage, writer, logger=CSVLogger(tmp_path, name="", version=""))
    weight = read_column(tmp_path / "columns.h5", "weight")
    assert column_fingerprint(tmp_path / "columns.h5", "weight") == "fffa"
    assert weight.shape == ((10, 3) if independent else (10,))
    # Not log w, which the predict pass gives, but what the stage makes of the whole column.
    assert weight.mean() == pytest.approx(1.0, abs=1e-6)
    assert writer.metrics["value/weight_expert"] == pytest.approx(weight[:4].mean())
    assert writer.metrics["value/weight_poor"] == pytest.approx(weight[4:].mean())
    assert writer.metrics["value/max_weight"] == pytest.approx(weight.max())
    assert "value/weight_expert" in (tmp_path / "metrics.csv").read_text()


def all_items(items, mine, generator):
    """As if each of the processes served all of them."""
    return (items,)


class Padded(StageData):
    """The number of each transition, and the last one three times more, as in a distributed run."""

    def predict_dataloader(self):
        cpu = torch.device("cpu")
        return Batches(torch.arange(10), 4, torch.clone, cpu, 0, lambda: 0, 0, 13, shuffle=False, draw=all_items)


class Numbers(Stage):
    """Predicts what it is given."""

    name = "value"
    writes = ("number",)

    def datamodule(self, inputs):
        return Padded(inputs.table, inputs.batch_size, inputs.seed)

    def predict_step(self, batch, batch_idx):
        return {"number": batch}


def test_what_was_padded_is_cut_off_and_a_file_without_sources_has_no_means(tmp_path):
    writer = ColumnWriter(tmp_path / "columns.h5", "fffa", replace(EPISODES, source=None))
    predict(Numbers(), writer)
    assert read_column(tmp_path / "columns.h5", "number").tolist() == list(range(10))
    assert writer.metrics == {}
