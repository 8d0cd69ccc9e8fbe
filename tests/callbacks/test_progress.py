"""The bar on a terminal."""

import torch
from rich.console import Console

import misodice.callbacks.progress as module
from misodice.callbacks.clock import RunClock
from misodice.callbacks.progress import StageBar
from misodice.datamodules.successors import Successors
from misodice.modules import Value
from tests.helpers.small import table_of, train
from tests.helpers.terminal import Terminal


class Long(Value):
    """A stage whose numbers are as long as numbers get."""

    name = "discriminator"
    monitor = "discriminator/held_out_loss"

    def loss(self, batch):
        loss, _ = super().loss(batch)
        return loss, {"loss": loss * 0 - 1.2347e-10}

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        logged = {"discriminator/held_out_loss": -1.2345e10, "rollout/return": -1.2345e10, "rollout/win_rate": 0.12345}
        self.log_dict(logged)


def bar_of(stage: Value, width: int, monkeypatch, epochs: int = 3, steps: int = 7) -> Terminal:
    monkeypatch.setattr(module, "BAR", 0.0)
    terminal = Terminal()
    clock = RunClock({"discriminator": 1, "policy": 10**9})
    clock.begin("discriminator")
    bar = StageBar("2/4 discriminator", clock, Console(file=terminal, force_terminal=True, width=width))
    data = Successors(table_of([4] * steps), torch.zeros(4 * steps), False, 4, seed=0)
    train(stage, data, bar, epochs=epochs, enable_progress_bar=True)
    return terminal


def test_eighty_columns_hold_everything(monkeypatch):
    """The longest name, the longest numbers, and years to come."""
    screens = bar_of(Long(), 80, monkeypatch).screens
    bars = [line for lines in screens for line in lines if "2/4 discriminator" in line]
    numbers = [line for lines in screens for line in lines if "held_out_loss" in line]
    assert any("epoch 3/3" in line and "left" in line and "7/7" in line for line in bars), bars[-3:]
    whole = "loss -1.235e-10  held_out_loss -1.234e+10  return -1.234e+10  win_rate 0.1235"
    assert any(whole in line for line in numbers), numbers[-3:]
    assert max(map(len, bars + numbers)) <= 80


def test_forty_columns_cut_no_number(monkeypatch):
    screens = bar_of(Long(), 40, monkeypatch).screens
    text = ["".join(line for line in lines[1:]) for lines in screens]
    whole = "loss -1.235e-10  held_out_loss -1.234e+10  return -1.234e+10  win_rate 0.1235"
    assert any(whole in each for each in text), text[-3:]


def test_the_loss_is_read_at_intervals_alone(monkeypatch):
    """Once an epoch, and every `log_every_n_steps` steps if a second has passed."""
    reads: list[bool] = []
    shown = StageBar.shown
    monkeypatch.setattr(
        StageBar, "shown", lambda self, stage, running=False: reads.append(running) or shown(self, stage)
    )
    monkeypatch.setattr(module, "BAR", 0.0)
    monkeypatch.setattr(module, "NUMBERS", 0.0)
    terminal = Terminal()
    bar = StageBar("1/1 value", RunClock({}), Console(file=terminal, force_terminal=True, width=80))
    data = Successors(table_of([4] * 60), torch.zeros(240), False, 4, seed=0)
    train(Value(), data, bar, epochs=2, enable_progress_bar=True, log_every_n_steps=20)
    assert reads == [False, True, True, True] * 2  # 60 steps an epoch
    reads.clear()
    monkeypatch.setattr(module, "NUMBERS", 1e9)
    train(Value(), data, bar, epochs=2, enable_progress_bar=True, log_every_n_steps=1)
    assert reads == [False, False]


def test_nothing_is_left_and_other_processes_show_nothing(monkeypatch):
    terminal = bar_of(Value(), 80, monkeypatch)
    assert terminal.getvalue().rstrip().endswith("\x1b[2K") or "\x1b[?25h" in terminal.getvalue(), "the cursor is back"
    silent = Terminal()
    bar = StageBar("1/1 value", RunClock({}), Console(file=silent, force_terminal=True, width=80))
    bar.disable()
    train(Value(), Successors(table_of([4]), torch.zeros(4), False, 4, seed=0), bar, enable_progress_bar=True)
    assert silent.getvalue() == ""
