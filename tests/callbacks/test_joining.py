"""When the run's metrics.csv is written."""

import torch

import misodice.callbacks.joining as module
from misodice.callbacks.joining import JoinMetrics
from misodice.datamodules.successors import Successors
from misodice.modules import Value
from tests.helpers.small import table_of, train


class Clock:
    """Seconds that go on by one at each look."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


def written(monkeypatch, every: float, epochs: int = 6) -> list[tuple[int, int]]:
    """Epoch and step at each writing, of epochs of 7 steps."""
    monkeypatch.setattr(module, "time", Clock())
    monkeypatch.setattr(module, "EVERY", every)
    monkeypatch.setattr(module, "SHARE", 0.0)
    stage, moments = Value(), []
    joining = JoinMetrics(lambda: moments.append((stage.current_epoch, stage.global_step)))
    train(stage, Successors(table_of([4] * 7), torch.zeros(28), False, 4, seed=0), joining, epochs=epochs)
    return moments


def test_after_each_epoch(monkeypatch):
    assert written(monkeypatch, 0.0) == [(epoch, 7 * epoch) for epoch in range(1, 6)]


def test_what_comes_too_soon_is_written_after_a_later_step(monkeypatch):
    moments = written(monkeypatch, 4.0)
    assert moments[0] == (1, 7)
    assert moments[1][0] == 2
    assert moments[1][1] > 14, "in the second epoch's midst, once it was due"
    assert written(monkeypatch, 1e9) == [(1, 7)]
