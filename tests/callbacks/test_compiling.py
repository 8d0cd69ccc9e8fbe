"""torch.compile of a stage's loss."""

import torch

from misodice.callbacks.compiling import Compile
from misodice.datamodules.successors import Successors
from misodice.modules import Value
from tests.helpers.small import table_of, train


def test_the_loss_is_compiled_while_it_trains_and_no_longer(monkeypatch):
    compiled, called = [], []

    def compile_(function, **options):
        compiled.append((function, options))
        return lambda batch: called.append(len(batch)) or function(batch)

    monkeypatch.setattr(torch, "compile", compile_)
    stage = Value()
    before = stage.loss
    train(stage, Successors(table_of([4, 3]), torch.zeros(7), False, 4, seed=0), Compile("default", dynamic=False))
    assert compiled == [(before, {"mode": "default", "dynamic": False})]
    assert called == [4, 3]
    assert "loss" not in vars(stage)
