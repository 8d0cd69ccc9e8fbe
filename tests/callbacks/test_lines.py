"""The running stage as plain lines."""

import io
import re

import pytest
import torch
from lightning import Callback
from rich.console import Console

import misodice.callbacks.lines as module
from misodice.callbacks.clock import RunClock
from misodice.callbacks.lines import StageLines
from misodice.callbacks.watching import steps_left
from misodice.datamodules.successors import Successors
from misodice.modules import Value
from tests.helpers.small import table_of, train


class Named(Value):
    """Calls its loss by another name."""

    def loss(self, batch):
        loss, _ = super().loss(batch)
        return loss, {"error": loss}


def lines_of(stage: Value, **options) -> tuple[list[str], StageLines]:
    output = io.StringIO()
    clock = RunClock({"value": 1, "policy": 30})
    clock.begin("value")
    lines = StageLines("2/4 value", clock, Console(file=output, soft_wrap=True))
    data = Successors(table_of([4] * 7), torch.zeros(28), False, 4, seed=0)
    train(stage, data, lines, **{"epochs": 3} | options)
    return output.getvalue().splitlines(), lines


def test_every_epoch_where_they_are_long(monkeypatch):
    monkeypatch.setattr(module, "EPOCHS", 0.0)
    stage = Value()
    printed, lines = lines_of(stage)
    assert printed[0] == "2/4 value: training, 3 epochs of 7 steps"
    for epoch, line in enumerate(printed[1:], 1):
        pattern = rf"2/4 value: epoch {epoch}/3, loss -?[\d.e-]+, ~\d+:\d\d:\d\d left for all stages"
        assert re.fullmatch(pattern, line), line
    assert len(printed) == 3, "the last epoch's numbers are in the line of the end"
    done = lines.summary(stage, 61.0, 0.25)
    assert re.fullmatch(r"2/4 value: done in 0:01:01 \(3 epochs, loss -?[\d.e-]+; kept .*0.25\)", done), done


def test_few_lines_where_epochs_are_short():
    printed, _ = lines_of(Value(), epochs=30)
    assert 2 <= len(printed) <= 4, printed  # the first epoch, then one in five seconds


def test_a_long_epoch_has_a_line_in_between(monkeypatch):
    monkeypatch.setattr(module, "WITHIN", 0.0)
    printed, _ = lines_of(Value(), epochs=1)
    steps = [int(re.search(r"epoch 1/1, step (\d) of 7, loss ", line)[1]) for line in printed[1:]]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_a_loss_of_another_name_is_shown(monkeypatch):
    monkeypatch.setattr(module, "EPOCHS", 0.0)
    stage = Named()
    printed, lines = lines_of(stage)
    assert ", error " in printed[1]
    assert "error " in lines.summary(stage, 1.0, None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"epochs": 3}, [20, 14, 7, 0]),
        ({"epochs": -1, "max_steps": 10}, [9, 3]),
        ({"epochs": 3, "limit_train_batches": 2}, [5, 4, 2, 0]),
        ({"epochs": 100, "max_steps": 10, "accumulate_grad_batches": 2}, [20, 12, 4]),
        ({"epochs": -1, "limit_train_batches": 3, "max_time": {"seconds": 3}}, [float("inf")] * 3),
    ],
    ids=range(5),
)
def test_steps_that_are_left(options, expected):
    found: list[float] = []

    class Look(Callback):
        def on_train_batch_end(self, trainer, stage, outputs, batch, batch_idx):
            first_or_last = trainer.is_last_batch or not found
            if first_or_last:
                found.append(steps_left(trainer, batch_idx + 1))
            if len(found) == 3 and found[-1] == float("inf"):
                trainer.should_stop = True

    data = Successors(table_of([4] * 7), torch.zeros(28), False, 4, seed=0)
    train(Value(), data, Look(), **options)
    assert found[: len(expected)] == expected
